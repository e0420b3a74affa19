//! What may go wrong with the server, and how a caller is told.

use std::io;
use std::time::Duration;

use drs_backend::BackendError;
use lapin::ErrorKind;

/// Why the server cannot be used; which server is added when a caller is told.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Trouble {
    /// It may pass by itself.
    #[error("{0}")]
    Away(String),
    /// It stays until somebody changes the configuration, here or there.
    #[error("{reason}")]
    Refused { reason: String, remedy: &'static str },
}

// Reply codes of AMQP 0-9-1.
const CONNECTION_FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
const NOT_IMPLEMENTED: u16 = 540;

impl Trouble {
    pub(crate) fn silent(what: &str, waited: Duration) -> Self {
        Self::Away(format!("no answer to {what} within {} s", waited.as_secs()))
    }

    pub(crate) fn full() -> Self {
        Self::Away("it takes no messages now, it is low on memory or disk".to_owned())
    }

    pub(crate) fn told(self, server: &str) -> BackendError {
        let what = server.to_owned();
        match self {
            Self::Away(reason) => BackendError::Unavailable { what, reason },
            Self::Refused { reason, remedy } => {
                BackendError::Refused { what, reason, remedy: remedy.to_owned() }
            }
        }
    }

    fn refused(reason: String, remedy: &'static str) -> Self {
        Self::Refused { reason, remedy }
    }
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) => answered(said.get_id(), said.get_message().as_str()),
            ErrorKind::IOError(error) => broken(error),
            ErrorKind::MissingHeartbeatError => Self::Away("it gives no sign of life".to_owned()),
            ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidChannel(_) => Self::Away("the connection is lost".to_owned()),
            _ => Self::Away(error.to_string()),
        }
    }
}

/// What the server said before it closed.
fn answered(code: u16, text: &str) -> Trouble {
    // Its words begin with the name of the code, as in `NOT_ALLOWED - vhost prod not found`.
    let words = text.split_once(" - ").map_or(text, |(_, words)| words).trim();
    match code {
        ACCESS_REFUSED if words.contains("Login was refused") => Trouble::refused(
            "it does not know this user with this password".to_owned(),
            "Check user and password; `rabbitmqctl authenticate_user` tells whether they fit.",
        ),
        ACCESS_REFUSED => Trouble::refused(
            words.to_owned(),
            "Let the user configure, write and read `drs\\..*` and write `amq\\.default`: `rabbitmqctl set_permissions`.",
        ),
        // As in `access to vhost 'prod' refused for user 'drs': connection limit (8) is reached`: another one may
        // leave.
        NOT_ALLOWED if words.contains("limit") => Trouble::Away(words.to_owned()),
        NOT_ALLOWED => Trouble::refused(
            words.to_owned(),
            "Make the virtual host (`rabbitmqctl add_vhost`) and let the user in (`rabbitmqctl set_permissions`), or name another one.",
        ),
        PRECONDITION_FAILED => Trouble::refused(
            words.to_owned(),
            "It was made with other settings: remove it there when it is empty; it is made anew.",
        ),
        NOT_IMPLEMENTED => Trouble::refused(
            words.to_owned(),
            "Use RabbitMQ 3.10 or newer, with all its feature flags on.",
        ),
        CONNECTION_FORCED => Trouble::Away(format!("it closed the connection ({words})")),
        _ => Trouble::Away(words.to_owned()),
    }
}

fn broken(error: &io::Error) -> Trouble {
    match error.kind() {
        // TLS: what was said cannot be trusted, or is no TLS at all.
        io::ErrorKind::InvalidData => Trouble::refused(
            format!("no trusted connection: {error}"),
            "Check that the port speaks TLS, that its certificate names this host, and the CA file.",
        ),
        io::ErrorKind::ConnectionRefused => {
            Trouble::Away("nobody listens there (connection refused)".to_owned())
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe => Trouble::Away("the connection broke".to_owned()),
        _ => Trouble::Away(error.to_string()),
    }
}
