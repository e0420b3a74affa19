//! What may go wrong between the file and a port, and how a caller is told.

use drs_backend::BackendError;
use drs_model::IllegalTransition;
use rusqlite::ErrorCode;

/// Why an operation on the file failed; the path is added when the caller is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("a stored {what} cannot be read: {reason}")]
    Record { what: &'static str, reason: String },
    #[error(transparent)]
    Answer(#[from] BackendError),
}

impl From<IllegalTransition> for Failure {
    fn from(illegal: IllegalTransition) -> Self {
        Self::Answer(illegal.into())
    }
}

impl Failure {
    /// A stored value that does not read back: `what` says which sort of value.
    pub(crate) fn record(what: &'static str, reason: impl ToString) -> Self {
        Self::Record { what, reason: reason.to_string() }
    }

    /// The failure as the ports tell it.
    pub(crate) fn told(self, path: &str) -> BackendError {
        match self {
            Self::Sqlite(error) => told(&error, path),
            Self::Answer(error) => error,
            Self::Record { .. } => {
                BackendError::Damaged { what: path.to_owned(), reason: self.to_string() }
            }
        }
    }
}

/// An error of SQLite as the ports tell it.
pub(crate) fn told(error: &rusqlite::Error, path: &str) -> BackendError {
    let (what, mut reason) = (path.to_owned(), error.to_string());
    if let Some(failure) = error.sqlite_error() {
        reason.push_str(&format!(" (SQLite's code {})", failure.extended_code));
    }
    let damaged = match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => true,
        _ => false,
    };
    if damaged {
        BackendError::Damaged { what, reason }
    } else {
        BackendError::Unavailable { what, reason }
    }
}
