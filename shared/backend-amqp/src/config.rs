//! How the server is reached, checked before anything is sent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drs_backend::BackendError;
use drs_model::{Lane, Secret};
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::types::Heartbeat;
use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::trouble::Trouble;

/// How RabbitMQ is reached, and which jobs are taken from it.
#[derive(Debug, Clone)]
pub struct AmqpConfig {
    /// `amqp://USER@HOST[:PORT][/VHOST]`, or `amqps://` for TLS. The port is 5672, with TLS 5671; the virtual
    /// host `/` when it is left out. No password: it would show wherever the URL does.
    pub url: String,
    /// The user's password. Without a user and a password it is `guest` with `guest`, whom RabbitMQ lets
    /// in from its own machine only.
    pub password: Option<Secret>,
    /// Lanes whose jobs are taken. Default `main`. What is published goes to the lane of its job.
    pub lanes: Vec<Lane>,
    /// Certificates (PEM) of who may vouch for the server. Default: the authorities of this machine.
    pub ca_file: Option<PathBuf>,
    /// How often both sides give a sign of life; the server may ask for more. After two to three times this
    /// long without one the connection is given up. Default 10 s.
    pub heartbeat: Duration,
    /// How the connections are called in RabbitMQ's list of them. Default `drs`.
    pub name: String,
}

impl AmqpConfig {
    /// The defaults for a server.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            lanes: vec![Lane::default()],
            ca_file: None,
            heartbeat: Duration::from_secs(10),
            name: "drs".to_owned(),
        }
    }

    /// With a password.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// With these lanes in place of `main`.
    #[must_use]
    pub fn with_lanes(mut self, lanes: Vec<Lane>) -> Self {
        self.lanes = lanes;
        self
    }
}

/// The server in the form in which the client library wants it.
pub(crate) struct Target {
    /// For people: `RabbitMQ at HOST:PORT`.
    pub(crate) server: String,
    /// Its connections are called so.
    pub(crate) name: String,
    /// Whose jobs are taken.
    pub(crate) lanes: Vec<Lane>,
    uri: AMQPUri,
    ca_file: Option<PathBuf>,
}

impl Target {
    pub(crate) fn of(config: &AmqpConfig) -> Result<Self, BackendError> {
        let wrong = |reason: &str, remedy: &str| BackendError::Refused {
            what: "the address of RabbitMQ".to_owned(),
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        };
        let shape = "Write it as amqp://USER@HOST:PORT/VHOST, or amqps:// for TLS.";
        let Some((_, rest)) = config.url.split_once("://") else {
            return Err(wrong("it is no URL", shape));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            let remedy = "Leave the password out of the URL and give it by itself.";
            return Err(wrong("there is a password in it", remedy));
        }
        // What the parser says is not passed on: it may repeat what it was given.
        let parsed: Result<AMQPUri, String> = config.url.parse();
        let mut uri = parsed.map_err(|_| wrong("it is no URL of the kind amqp or amqps", shape))?;
        if host.is_empty() {
            return Err(wrong("it names no host", shape));
        }
        if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // The parser takes names and IPv4 addresses, and `localhost` for everything else.
            uri.authority.host = address.to_owned();
        }
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        if let Some(password) = &config.password {
            uri.authority.userinfo.password = password.reveal().to_owned();
        } else if !user.is_empty() {
            let remedy = "Give the password beside the URL.";
            return Err(wrong(&format!("there is no password for its user {user:?}"), remedy));
        }
        let seconds = config.heartbeat.as_secs().clamp(1, Heartbeat::MAX.into());
        uri.query.heartbeat = Heartbeat::try_from(seconds).ok();
        let server = format!("RabbitMQ at {}:{}", uri.authority.host, uri.authority.port);
        let (name, lanes) = (config.name.clone(), config.lanes.clone());
        Ok(Self { server, name, lanes, uri, ca_file: config.ca_file.clone() })
    }

    pub(crate) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    /// What verifies the server, where TLS is spoken. Read anew: certificates are exchanged while programs
    /// run.
    pub(crate) fn verifier(&self) -> Result<Option<RustlsConnector>, Trouble> {
        if self.uri.scheme == AMQPScheme::AMQP {
            return Ok(None);
        }
        let trusted = match &self.ca_file {
            Some(path) => {
                RustlsConnectorConfig::default().with_parsable_certificates(of_file(path)?)
            }
            None => RustlsConnectorConfig::new_with_native_certs().map_err(untrusting)?,
        };
        trusted.connector_with_no_client_auth().map(Some).map_err(untrusting)
    }
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let wrong = |reason: String| Trouble::Refused {
        reason: format!("the CA file {} {reason}", path.display()),
        remedy: "Name a file with certificates in PEM form.",
    };
    match read {
        Ok(found) if Vec::is_empty(&found) => Err(wrong("holds no certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}

fn untrusting(error: io::Error) -> Trouble {
    Trouble::Refused {
        reason: format!("nobody may vouch for it: {error}"),
        remedy: "Name the certificate of the server's authority (ca_file).",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, String> {
        let config = AmqpConfig::at(url).with_password(Secret::new("hunter2"));
        Target::of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_taken_apart() {
        for (url, server, vhost) in [
            ("amqp://drs@mq.example:5673/prod", "RabbitMQ at mq.example:5673", "prod"),
            ("amqp://drs@127.0.0.1/%2f", "RabbitMQ at 127.0.0.1:5672", "/"),
            ("amqps://drs@mq.example", "RabbitMQ at mq.example:5671", "/"),
            ("amqp://drs@mq.example/", "RabbitMQ at mq.example:5672", "/"),
            ("amqp://drs@[::1]:5672", "RabbitMQ at ::1:5672", "/"),
        ] {
            let target = target(url).expect(url);
            assert_eq!((target.server.as_str(), target.uri.vhost.as_str()), (server, vhost));
            assert_eq!(target.uri.authority.userinfo.username, "drs");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_repeated() {
        for url in
            ["", "mq.example", "http://mq.example", "amqp://", "amqp://drs:hunter2@mq.example"]
        {
            let said = target(url).err().unwrap_or_else(|| panic!("{url:?} was taken"));
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_user_has_a_password() {
        let refused = Target::of(&AmqpConfig::at("amqp://drs@mq.example")).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("no password")));
        assert!(Target::of(&AmqpConfig::at("amqp://mq.example")).is_ok());
    }
}
