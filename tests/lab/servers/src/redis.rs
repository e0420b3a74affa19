//! Redis, as durable as production runs it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::command::{must, program};
use crate::port;
use crate::server::{Program, Ready, Server};

/// A private Redis: every write is on disk before it is answered, nothing is evicted.
pub struct Redis {
    server: Server,
}

impl Redis {
    /// A new, empty server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments of `redis-server` (`["--appendonly", "no"]`), which overrule the defaults.
    /// Port and directory cannot be set.
    pub fn start_with(args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { server: Server::start(&Arguments(args)) }
    }

    /// The server that the tests of this process share; each keeps to a [`Redis::fresh_prefix`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `redis://127.0.0.1:PORT/`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// A prefix for keys that no other test has.
    pub fn fresh_prefix(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("t{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a command by `redis-cli` and gives the answer. Panics when Redis answers with an error.
    pub fn cli(&self, args: &[&str]) -> String {
        let port = self.port().to_string();
        must(program("redis-cli").args(["-e", "-p", &port]).args(args))
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

struct Arguments(Vec<String>);

impl Program for Arguments {
    const NAME: &'static str = "Redis";

    fn prepare(&self, dir: &Path) -> Ready {
        const DURABLE: [&str; 8] = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--maxmemory-policy",
            "noeviction",
            "--save",
            "",
        ];
        let [port] = port::free();
        let (args, dir) = (self.0.clone(), dir.to_owned());
        Ready {
            port,
            command: Box::new(move || {
                let mut command = program("redis-server");
                command.args(DURABLE).args(&args);
                command
                    .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
                    .arg(&dir);
                command
            }),
            serves: Box::new(move || serves(port).unwrap_or(false)),
        }
    }
}

/// Anything but "still loading" is an answer: who may log in is not asked here.
fn serves(port: u16) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    connection.write_all(b"PING\r\n")?;
    let mut answer = [0; 64];
    let length = connection.read(&mut answer)?;
    Ok(length > 0 && !answer.starts_with(b"-LOADING"))
}
