//! The one thread that writes, and how operations share its transactions.
//!
//! A commit that survives a power cut costs an fsync. Operations that wait at the same time share
//! one transaction and so one fsync, each under a savepoint of its own: one that fails is undone
//! alone. Nobody is answered before the commit. With 64 callers this gave five times as many jobs
//! as a transaction for each operation.

use drs_backend::BackendError;
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use crate::failure::{Failure, told};

/// How many operations may wait for the writer; more callers wait to get in.
pub(crate) const WAITING_MAX: usize = 1024;
/// How many operations share a transaction at most.
const TOGETHER_MAX: usize = 256;

/// What survives a power cut. A crash of the process loses nothing in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On the disk before the caller is answered.
    Full,
    /// The latest may be lost.
    Relaxed,
}

/// One operation on its way through the writer.
pub(crate) trait Operation: Send {
    fn durability(&self) -> Durability;
    /// Does it; the text is the reason of a failure, whose effects are to be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), String>;
    /// Tells the caller, once it is known whether the transaction was committed.
    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>, path: &str);
}

/// A closure as an operation.
pub(crate) struct Closure<F, T> {
    pub(crate) durability: Durability,
    pub(crate) work: Option<F>,
    pub(crate) result: Option<Result<T, Failure>>,
    pub(crate) tell: oneshot::Sender<Result<T, BackendError>>,
}

impl<F, T> Operation for Closure<F, T>
where
    F: FnOnce(&Connection) -> Result<T, Failure> + Send,
    T: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection) -> Result<(), String> {
        let Some(work) = self.work.take() else { return Ok(()) };
        if self.tell.is_closed() {
            return Ok(());
        }
        let result = self.result.insert(work(connection));
        result.as_ref().map(|_| ()).map_err(ToString::to_string)
    }

    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>, path: &str) {
        let answer = match (self.result, committed) {
            (Some(Err(failure)), _) => Err(failure.told(path)),
            (_, Err(error)) => Err(told(error, path)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => return,
        };
        // A caller that gave up in between is told nothing.
        self.tell.send(answer).ok();
    }
}

/// Runs operations until nobody can send any more.
pub(crate) fn serve(
    connection: Connection,
    path: &str,
    mut queue: mpsc::Receiver<Box<dyn Operation>>,
) {
    let mut writer = Writer { connection, durability: None };
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while queue.blocking_recv_many(&mut together, TOGETHER_MAX) > 0 {
        let committed = writer.commit(&mut together);
        for operation in together.drain(..) {
            operation.answer(committed.as_ref().copied(), path);
        }
    }
}

struct Writer {
    connection: Connection,
    durability: Option<Durability>,
}

impl Writer {
    fn commit(&mut self, operations: &mut [Box<dyn Operation>]) -> rusqlite::Result<()> {
        let full = operations.iter().any(|operation| operation.durability() == Durability::Full);
        self.set_durability(if full { Durability::Full } else { Durability::Relaxed })?;
        self.execute("BEGIN IMMEDIATE")?;
        let done = self.run(operations).and_then(|()| self.execute("COMMIT"));
        if done.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        done
    }

    fn run(&self, operations: &mut [Box<dyn Operation>]) -> rusqlite::Result<()> {
        for operation in operations {
            self.execute("SAVEPOINT operation")?;
            if let Err(reason) = operation.run(&self.connection) {
                if self.connection.is_autocommit() {
                    // A full disk or an I/O error ends the whole transaction.
                    let aborted = ffi::Error::new(ffi::SQLITE_ABORT);
                    return Err(rusqlite::Error::SqliteFailure(aborted, Some(reason)));
                }
                self.execute("ROLLBACK TO operation")?;
            }
            self.execute("RELEASE operation")?;
        }
        Ok(())
    }

    fn set_durability(&mut self, wanted: Durability) -> rusqlite::Result<()> {
        if self.durability != Some(wanted) {
            let level = match wanted {
                Durability::Full => "FULL",
                Durability::Relaxed => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.durability = Some(wanted);
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}
