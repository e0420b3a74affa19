//! Where the server is, and how its address is written.

use std::path::PathBuf;

use drs_backend::BackendError;
use drs_model::Secret;

use crate::failure::Failure;

const FORMS: &str = "Write redis://USER@HOST:PORT or redis+sentinel://USER@HOST:PORT,HOST:PORT/MASTER, \
    with rediss for TLS.";

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://USER@HOST:PORT/DATABASE`, where only the host is needed (port 6379, database 0), or
    /// `redis+sentinel://USER@HOST:PORT,HOST:PORT/MASTER/DATABASE`, which names Sentinels (port 26379)
    /// and the master that they know. `rediss` in place of `redis` is TLS. Never a password.
    pub url: String,
    /// The password of the user, for the server; Sentinels are asked without one.
    pub password: Option<Secret>,
    /// The file (PEM) with the authorities whose signatures are trusted; `None`: those of this machine.
    pub ca_file: Option<PathBuf>,
    /// What all keys begin with, in braces, so that all lie in one hash slot. Default `drs`.
    pub prefix: String,
}

impl RedisConfig {
    /// What all keys begin with unless another prefix is set.
    pub const PREFIX: &str = "drs";

    /// A server by its URL, with the default of everything else.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password: None, ca_file: None, prefix: Self::PREFIX.to_owned() }
    }
}

/// A URL that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    /// The server, or the Sentinels: hosts and ports.
    pub(crate) servers: Vec<(String, u16)>,
    /// The master's name among the Sentinels.
    pub(crate) master: Option<String>,
    pub(crate) database: u32,
}

impl Address {
    /// Reads a URL. What it says in an error holds no secret.
    pub(crate) fn read(url: &str) -> Result<Self, BackendError> {
        Self::parse(url).map_err(|reason| {
            let reason = format!("its URL is not understood: {reason}");
            Failure::refused(reason, FORMS).told("Redis")
        })
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        let no_form = "it begins with none of redis, rediss, redis+sentinel, rediss+sentinel";
        let (scheme, rest) = url.split_once("://").ok_or(no_form)?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(no_form),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("it holds a password, which belongs into the password setting");
            }
            Some((user, rest)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), rest),
            None => (None, rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = match (sentinel, path.trim_end_matches('/')) {
            (false, database) => (None, database),
            (true, "") => return Err("the name of the master is missing behind the Sentinels"),
            (true, path) => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                (Some(master.to_owned()), database)
            }
        };
        let port = if sentinel { 26379 } else { 6379 };
        let servers = hosts.split(',').map(|host| server(host, port)).collect::<Result<_, _>>()?;
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| "the database is a number")?,
        };
        let address = Self { tls, user, servers, master, database };
        if address.servers.len() > 1 && !sentinel {
            return Err("several hosts are Sentinels, redis+sentinel://");
        }
        Ok(address)
    }

    /// The server as errors name it.
    pub(crate) fn what(&self) -> String {
        let servers: Vec<String> =
            self.servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let servers = servers.join(", ");
        match &self.master {
            Some(master) => format!("Redis {master} of the Sentinels at {servers}"),
            None => format!("Redis at {servers}"),
        }
    }
}

fn server(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| "a port is a number up to 65535")?)
        }
        _ => (text, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err("a host is missing") } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).expect(url)
    }

    #[test]
    fn a_server_is_named_with_what_is_needed() {
        let address = parse("redis://redis.example");
        assert_eq!(address.servers, [("redis.example".to_owned(), 6379)]);
        assert_eq!((address.tls, address.database, address.user), (false, 0, None));
        let address = parse("rediss://drs@[::1]:7000/3");
        assert_eq!(address.servers, [("::1".to_owned(), 7000)]);
        assert_eq!((address.tls, address.database, address.user), (true, 3, Some("drs".into())));
        assert_eq!(address.master, None);
    }

    #[test]
    fn sentinels_are_named_with_their_master() {
        let address = parse("rediss+sentinel://drs@a:1,b/main/2");
        assert_eq!(address.servers, [("a".to_owned(), 1), ("b".to_owned(), 26379)]);
        assert_eq!((address.master.as_deref(), address.database), (Some("main"), 2));
        assert_eq!(address.what(), "Redis main of the Sentinels at a:1, b:26379");
    }

    #[test]
    fn what_is_wrong_is_said_without_a_secret() {
        let wrong = [
            ("redis://drs:hunter2@host", "password setting"),
            ("redis://:hunter2@host", "password setting"),
            ("http://hunter2", "none of redis"),
            ("hunter2", "none of redis"),
            ("redis://a,b", "redis+sentinel://"),
            ("redis+sentinel://a,b", "name of the master"),
            ("redis://host:hunter2", "number up to 65535"),
            ("redis://host/hunter2", "database is a number"),
            ("redis:///1", "host is missing"),
        ];
        for (url, reason) in wrong {
            let error = Address::read(url).expect_err(url).to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
