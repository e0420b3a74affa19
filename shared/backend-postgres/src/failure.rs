//! What may go wrong between the server and a port, and how a caller is told.

use std::error::Error as _;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use drs_backend::BackendError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

/// Why a statement failed; the server is named when the caller is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Postgres(#[from] Error),
    #[error(transparent)]
    Answer(#[from] BackendError),
}

impl Failure {
    /// The key of a table that the statement would have broken.
    pub(crate) fn broken_key(&self) -> Option<&str> {
        let Self::Postgres(error) = self else { return None };
        let refusal = error.as_db_error()?;
        let foreign = *refusal.code() == SqlState::FOREIGN_KEY_VIOLATION;
        foreign.then(|| refusal.constraint().unwrap_or_default())
    }

    /// The failure as the ports tell it.
    pub(crate) fn told(self, what: &str) -> BackendError {
        match self {
            Self::Answer(error) => error,
            Self::Postgres(error) => match error.as_db_error() {
                Some(refusal) => said(refusal, what),
                None => unavailable(what, chain(&error)),
            },
        }
    }
}

/// What is said of a server that takes the connection and is silent.
pub(crate) const SLOW: &str = "it did not answer in time";

pub(crate) fn unavailable(what: &str, reason: impl Into<String>) -> BackendError {
    BackendError::Unavailable { what: what.to_owned(), reason: reason.into() }
}

fn refused(what: &str, reason: impl Into<String>, remedy: &str) -> BackendError {
    BackendError::Refused {
        what: what.to_owned(),
        reason: reason.into(),
        remedy: remedy.to_owned(),
    }
}

/// Why there is no connection.
pub(crate) fn unconnected(error: &PoolError, what: &str) -> BackendError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => {
            unavailable(what, "every connection of this process is busy")
        }
        PoolError::Timeout(_) => unavailable(what, SLOW),
        PoolError::Backend(error) => not_let_in(error, what),
        other => unavailable(what, other.to_string()),
    }
}

fn not_let_in(error: &Error, what: &str) -> BackendError {
    if let Some(refusal) = error.as_db_error() {
        return said(refusal, what);
    }
    // What is no error of the network is a part of the configuration that does not fit the server.
    let network = match error.source().map(|source| source.downcast_ref::<io::Error>()) {
        Some(Some(error)) => !error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        Some(None) => false,
        None => true,
    };
    if network {
        return unavailable(what, chain(error));
    }
    let remedy = "Compare the user, the password, `sslmode` and the certificate authority that are \
                  configured with what the server wants.";
    refused(what, chain(error), remedy)
}

/// What the server itself says.
fn said(refusal: &DbError, what: &str) -> BackendError {
    let code = refusal.code();
    let reason = format!("{} (SQLSTATE {})", refusal.message(), code.code());
    if [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(&code)
    {
        let remedy =
            "Check the user in its URL and the password; the server decides by pg_hba.conf.";
        return refused(what, reason, remedy);
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        let remedy = "Make the database (`createdb`), or name another one in the URL.";
        return refused(what, reason, remedy);
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        let remedy = "Let the user own the database, or a schema `drs` in it: \
                      CREATE SCHEMA drs AUTHORIZATION user.";
        return refused(what, reason, remedy);
    }
    if [&SqlState::DATA_CORRUPTED, &SqlState::INDEX_CORRUPTED].contains(&code) {
        return BackendError::Damaged { what: what.to_owned(), reason };
    }
    unavailable(what, reason)
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
