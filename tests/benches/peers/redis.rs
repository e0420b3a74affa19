//! Counting what is done, without a process for each look.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result};

/// A connection to Redis that asks for numbers.
pub(crate) struct Counter(BufReader<TcpStream>);

impl Counter {
    /// On one database of a server.
    pub(crate) fn on(port: u16, database: usize) -> Result<Self> {
        let mut counter = Self(BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?));
        counter.answer(&format!("SELECT {database}"))?;
        Ok(counter)
    }

    /// Removes everything from the database.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.answer("FLUSHDB").map(drop)
    }

    /// What a command answers, which is a number.
    pub(crate) fn count(&mut self, command: &str) -> Result<usize> {
        let answer = self.answer(command)?;
        answer.strip_prefix(':').context(answer.clone())?.parse().context("a number")
    }

    fn answer(&mut self, command: &str) -> Result<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
