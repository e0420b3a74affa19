//! What may go wrong between the server and a port, and how a caller is told.

use drs_backend::BackendError;
use redis::{ErrorKind, RedisError};

/// Why an operation failed; which server is added when the caller is told.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The server did not do it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// It cannot be reached as it is configured, or it is not the server that is meant.
    #[error("{0}")]
    Refused(String),
    /// What is stored does not read back.
    #[error("a stored {what} cannot be read: {reason}")]
    Record { what: &'static str, reason: String },
}

/// What servers say, and what is to be done about it.
const ADVICE: [(&str, &str); 10] = [
    ("WRONGPASS", WRONG_LOGIN),
    ("NOAUTH", WRONG_LOGIN),
    (
        "NOPERM",
        "its user may not do this: grant it all commands of the groups @read, @write and @scripting on the keys of DR Switch",
    ),
    ("READONLY", "it is a read-only replica: name the master, or the Sentinels that know it"),
    (
        "MISCONF",
        "it refuses to write because it could not save to its disk: free some space and read its log",
    ),
    ("OOM", "its memory is used up (maxmemory): give it more, nothing may be evicted"),
    ("LOADING", "it is starting and reads its data: wait"),
    ("MASTERDOWN", "it is a replica that lost its master: name the Sentinels, or wait"),
    ("BUSY", "it is busy with somebody else's script: wait, or end that with SCRIPT KILL"),
    ("unknown command", "it is too old or some commands are renamed: Redis 6.2 or newer is needed"),
];

const WRONG_LOGIN: &str = "it refuses the user or the password: check both settings";

impl Failure {
    /// A stored value that does not read back: `what` says which sort of value.
    pub(crate) fn record(what: &'static str, reason: impl ToString) -> Self {
        Self::Record { what, reason: reason.to_string() }
    }

    /// The failure as the ports tell it; `what` names the server.
    pub(crate) fn told(self, what: &str) -> BackendError {
        let (what, reason) = (what.to_owned(), self.to_string());
        match self {
            Self::Record { .. } => BackendError::Damaged { what, reason },
            Self::Refused(_) => BackendError::Unavailable { what, reason },
            Self::Redis(error) => BackendError::Unavailable { what, reason: explained(&error) },
        }
    }
}

/// The error in one line, with what is to be done.
fn explained(error: &RedisError) -> String {
    let said = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let said = said.replace(['\r', '\n'], " ");
    if error.kind() == ErrorKind::AuthenticationFailed {
        return format!("{WRONG_LOGIN} ({said})");
    }
    match ADVICE.iter().find(|(code, _)| said.contains(code)) {
        Some((_, advice)) => format!("{advice} ({said})"),
        None => said,
    }
}

/// Whether the connection is of no more use: broken, silent, or to a server that is no master now.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
}
