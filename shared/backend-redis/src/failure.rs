//! What may go wrong between the server and a port, and how a caller is told.

use drs_backend::BackendError;
use redis::{ErrorKind, RedisError};

/// Why an operation failed; which server is added when the caller is told.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The server did not do it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// It is not there as it is meant to be, and may be later.
    #[error("{0}")]
    NotYet(String),
    /// What is configured does not fit it.
    #[error("{reason}")]
    Refused { reason: String, remedy: String },
    /// What is stored does not read back.
    #[error("a stored {what} cannot be read: {reason}")]
    Record { what: &'static str, reason: String },
}

/// Something that servers say.
struct Saying {
    /// A part of their words.
    word: &'static str,
    /// What it means.
    reason: &'static str,
    /// What to do about it.
    remedy: &'static str,
    /// Whether it may pass.
    passes: bool,
}

const fn refusal(word: &'static str, reason: &'static str, remedy: &'static str) -> Saying {
    Saying { word, reason, remedy, passes: false }
}

const fn condition(word: &'static str, reason: &'static str, remedy: &'static str) -> Saying {
    Saying { word, reason, remedy, passes: true }
}

const LOGIN: Saying = refusal(
    "WRONGPASS",
    "it refuses the user or the password",
    "Check the user in the URL and the password setting.",
);

const SAYINGS: [Saying; 11] = [
    LOGIN,
    Saying { word: "NOAUTH", ..LOGIN },
    refusal(
        "NOPERM",
        "its user may not do this",
        "Grant it the commands of @connection, @read, @write and @scripting, and TIME, on the keys of DR Switch.",
    ),
    refusal(
        "certificate",
        "its certificate is not trusted",
        "Name the file with the authority that signed it, and the server by a name that the certificate holds.",
    ),
    refusal(
        "unknown command",
        "it lacks a command",
        "Use Redis 6.2 or newer, without renamed commands.",
    ),
    condition(
        "READONLY",
        "it is a read-only replica",
        "name the master, or the Sentinels that know who that is",
    ),
    condition(
        "MASTERDOWN",
        "it is a replica that lost its master",
        "name the master, or the Sentinels that know who that is",
    ),
    condition(
        "MISCONF",
        "it does not write because it could not save to its disk",
        "free some space and read its log",
    ),
    condition("OOM", "its memory is used up (maxmemory)", "give it more, nothing may be evicted"),
    condition("LOADING", "it is starting and reads its data", "wait"),
    condition("BUSY", "it runs somebody else's script", "wait, or end that with SCRIPT KILL"),
];

impl Failure {
    /// A stored value that does not read back: `what` says which sort of value.
    pub(crate) fn record(what: &'static str, reason: impl ToString) -> Self {
        Self::Record { what, reason: reason.to_string() }
    }

    /// A refusal of ours: what is configured cannot be used.
    pub(crate) fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), remedy: remedy.into() }
    }

    /// The failure as the ports tell it; `what` names the server.
    pub(crate) fn told(self, what: &str) -> BackendError {
        let what = what.to_owned();
        match self {
            Self::Record { .. } => BackendError::Damaged { what, reason: self.to_string() },
            Self::NotYet(reason) => BackendError::Unavailable { what, reason },
            Self::Refused { reason, remedy } => BackendError::Refused { what, reason, remedy },
            Self::Redis(error) => explained(&error, what),
        }
    }
}

fn explained(error: &RedisError, what: String) -> BackendError {
    let said = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let said = said.replace(['\r', '\n'], " ");
    if said.contains("DAMAGED record") {
        return BackendError::Damaged { what, reason: said };
    }
    let known = match error.kind() {
        ErrorKind::AuthenticationFailed => Some(&LOGIN),
        _ => SAYINGS.iter().find(|saying| said.contains(saying.word)),
    };
    match known {
        None => BackendError::Unavailable { what, reason: said },
        Some(Saying { reason, remedy, passes: true, .. }) => {
            BackendError::Unavailable { what, reason: format!("{reason}: {remedy} ({said})") }
        }
        Some(Saying { reason, remedy, .. }) => BackendError::Refused {
            what,
            reason: format!("{reason} ({said})"),
            remedy: (*remedy).to_owned(),
        },
    }
}

/// Whether the connection is of no more use: broken, silent, or to a server that is no master now.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
}
