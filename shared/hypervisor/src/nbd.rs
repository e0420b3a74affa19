//! A small NBD client: fixed newstyle handshake, structured replies, `base:allocation`.
//!
//! Protocol: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>. [`Reader`] makes
//! one pass over an export in rising order and leaves out what reads as zeros; [`Writer`] writes
//! extents in any order. Both keep several requests in flight on one connection.
//!
//! # Invariants
//! - The server is not trusted: every length is checked against what was asked before memory is
//!   taken for it, every reply must belong to a request in flight.
//! - Memory is bounded whatever the size of the disk: [`IN_FLIGHT`] times
//!   [`Extent::BYTES_MAX`](drs_model::Extent::BYTES_MAX) of data and one window of the allocation
//!   map.
//! - An answer that takes longer than [`STALL`] is a broken connection.

mod connection;
mod handshake;
mod reader;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

use std::time::Duration;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// Requests in flight on one connection.
const IN_FLIGHT: usize = 8;

/// Longest wait for the next byte of an answer, or for room to send.
const STALL: Duration = Duration::from_secs(120);

/// Why an NBD connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NbdError {
    /// The connection broke.
    #[error("{}", broken(.0))]
    Io(#[from] std::io::Error),
    /// Nothing moved for [`STALL`].
    #[error("the NBD server did not answer within {} s", STALL.as_secs())]
    Stalled,
    /// The server broke the protocol.
    #[error("the NBD server broke the protocol: {0}")]
    Protocol(String),
    /// The server refused the export.
    #[error("the NBD server refused: {0}")]
    Refused(String),
    /// The server could not carry out a request.
    #[error("{what} at byte {offset} failed: {}", meaning(*.errno, .message))]
    Server {
        /// `reading`, `writing`, `flushing` or `mapping`.
        what: &'static str,
        /// Where in the disk.
        offset: u64,
        /// The error number of the protocol (those of Linux).
        errno: u32,
        /// The server's own words, may be empty.
        message: String,
    },
}

impl NbdError {
    /// Whether the server's storage is full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Server { errno: 28, .. })
    }

    fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol(text.into())
    }
}

fn broken(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the NBD server closed the connection".into(),
        _ => format!("the connection to the NBD server broke: {error}"),
    }
}

fn meaning(errno: u32, message: &str) -> String {
    let text = match errno {
        1 => "operation not permitted",
        5 => "input/output error",
        12 => "the server is out of memory",
        22 => "invalid request",
        28 => "no space left",
        75 => "value too large",
        95 => "operation not supported",
        108 => "the server is shutting down",
        _ => "",
    };
    match (text, message) {
        ("", "") => format!("error {errno}"),
        ("", message) => format!("error {errno} ({message})"),
        (text, "") => text.to_owned(),
        (text, message) => format!("{text} ({message})"),
    }
}
