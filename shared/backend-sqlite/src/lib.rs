//! Every port of the job core in one SQLite file: the embedded default, with no server to install.
//!
//! What the operations decide is written once, in `drs_protocol::store`; this crate keeps the rows
//! and runs each operation in a transaction of its own (`BEGIN IMMEDIATE`).
//!
//! # Invariants
//! - Job state and catalogue are on the disk before a caller is answered (`synchronous=FULL`).
//!   Messages, logs and progress (`NORMAL`) survive a crash of the process, but the latest may be
//!   lost in a power cut: the sweeper publishes again, and no decision rests on the others.
//! - Any number of processes may have the file open; the file's own lock puts their transactions in
//!   a row. A process waits for its turn for 5 s, then answers "unavailable".
//! - One thread of a process writes; what waits at the same time shares a transaction, and an
//!   operation that fails is undone alone. Two more connections read.
//! - The file is for its owner alone (mode 0600, and so is what SQLite puts beside it). It must lie
//!   on a local disk: SQLite's WAL does not work across machines.
//! - A file of a newer version is refused and not changed.
//!
//! # Crash points
//! Before the commit nothing has happened; behind it everything has, whether or not the caller was
//! told, and every operation may be repeated. A message that a dead process took comes again after
//! 60 s, or at once when its job is published again (by `sweep`, or by `reap` behind `bury`).
//!
//! Deliberately absent: retries, time-outs of its own, and any rule about jobs.

mod catalog;
mod database;
mod dispatch;
mod events;
mod failure;
mod file;
mod job_store;
mod rows;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;

use drs_backend::{Backend, BackendError};
use tokio::sync::Notify;

use database::Database;

/// All ports on one file. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Clone)]
pub struct SqliteBackend {
    database: Database,
    /// Tells the waiting workers of this process that a message came.
    published: Arc<Notify>,
}

impl SqliteBackend {
    /// Opens the file, or makes it (its folder must be there), and brings its tables up to date.
    /// Blocks for that long.
    ///
    /// # Errors
    /// [`BackendError::TooNew`] for a file of a newer version, [`BackendError::Damaged`] when it is
    /// no SQLite file, [`BackendError::Unavailable`] when it cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        Ok(Self { database: Database::open(path)?, published: Arc::new(Notify::new()) })
    }

    /// The file as the ports of the job core.
    #[must_use]
    pub fn backend(&self) -> Backend {
        let ports = Arc::new(self.clone());
        Backend {
            store: ports.clone(),
            dispatch: ports.clone(),
            catalog: ports.clone(),
            events: ports,
            history: None,
            feed: None,
            dead: None,
        }
    }
}

#[cfg(test)]
mod tests;
