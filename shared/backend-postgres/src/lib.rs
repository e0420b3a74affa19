//! The catalogue and the history on PostgreSQL: what a cluster knows for good, shared by all its processes.
//!
//! Each method of a port is one SQL statement in a transaction of its own; what must hold between records is
//! held by keys of the tables, so that processes may change them at the same time. Everything lies in a
//! schema of its own, `drs`, and is named in full: other tables of the database are not touched, and no
//! `search_path` is relied upon.
//!
//! # Invariants
//! - What a method answered is as durable as the server makes a commit (`synchronous_commit`).
//! - Any number of processes may connect at once to a database without tables or with older ones: one
//!   migrates, under an advisory lock and in one transaction, the others find it done.
//! - A database of a newer version is refused and not changed.
//! - A connection is asked whether it is alive before a statement goes out on it, and replaced when it is
//!   not: a restart of the server costs no call that comes after it.
//! - The first call connects and migrates; each host of the URL has 5 s for that.
//! - Nothing waits for ever: a connection 10 s longer than that, a statement 10 s (12 s where the server is silent), the
//!   migrations 5 min.
//! - Passwords are in no URL, error or log.
//!
//! # Crash points
//! A statement whose connection broke has happened in full or not at all, and the caller is told neither: it
//! gets [`BackendError::Unavailable`] and may ask again. Nothing is sent twice by this crate.
//!
//! # Behind a connection pooler
//! PgBouncer must pool sessions, and let `options` pass (`ignore_startup_parameters`) or the statement
//! time-out is the server's.
//!
//! Deliberately absent: retries, and any rule about jobs.

mod catalog;
mod config;
mod connect;
mod database;
mod failure;
mod history;
mod schema;
mod tls;

use std::sync::Arc;

use drs_backend::BackendError;

pub use config::PostgresConfig;
use database::Database;

/// Catalogue and history in one database. Cheap to clone; its connections are closed when the last clone is
/// gone.
#[derive(Clone)]
pub struct PostgresCatalog {
    database: Arc<Database>,
}

impl PostgresCatalog {
    /// A catalogue that connects when it is first used, and brings the tables up to date then.
    ///
    /// # Errors
    /// [`BackendError::Refused`] when the configuration is not right.
    pub fn open(config: &PostgresConfig) -> Result<Self, BackendError> {
        Ok(Self { database: Arc::new(Database::open(config)?) })
    }

    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// As [`PostgresCatalog::open`] and [`PostgresCatalog::reach`].
    pub async fn connect(config: &PostgresConfig) -> Result<Self, BackendError> {
        let catalog = Self::open(config)?;
        catalog.reach().await?;
        Ok(catalog)
    }

    /// The server, as errors name it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.database.what()
    }

    /// Asks the server whether it answers. The first question connects and brings the tables up to date.
    ///
    /// # Errors
    /// [`BackendError::Refused`] when the server does not let us in, [`BackendError::TooNew`] for a database
    /// of a newer version, [`BackendError::Unavailable`] when the server cannot be reached or does not answer
    /// in time.
    pub async fn reach(&self) -> Result<(), BackendError> {
        self.database.rows("SELECT", &[]).await.map(drop)
    }
}
