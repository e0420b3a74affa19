//! The file as the ports use it: one writer, a few readers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use drs_backend::BackendError;
use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::failure::Failure;
use crate::file;
use crate::writer::{self, Closure, Durability, Operation};

/// How many reads run at one time.
const READERS: usize = 2;

/// The open file. The writer ends when the last clone is gone and what was sent is done.
#[derive(Clone)]
pub(crate) struct Database {
    name: Arc<str>,
    writer: mpsc::Sender<Box<dyn Operation>>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, BackendError> {
        let name: Arc<str> = path.display().to_string().into();
        let connection = file::prepare(path, &name)?;
        let (writer, queue) = mpsc::channel(writer::WAITING_MAX);
        let thread_name = name.clone();
        std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || writer::serve(connection, &thread_name, queue))
            .map_err(|error| BackendError::Unavailable {
                what: name.to_string(),
                reason: error.to_string(),
            })?;
        let readers = Readers {
            path: path.to_owned(),
            permits: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::new(Vec::new()),
        };
        Ok(Self { name, writer, readers: Arc::new(readers) })
    }

    /// Runs an operation in a transaction that writes; it is committed when this returns `Ok`. A
    /// caller that gives up before the operation has begun prevents it.
    pub(crate) async fn write<T, F>(
        &self,
        durability: Durability,
        work: F,
    ) -> Result<T, BackendError>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let operation = Closure { durability, work: Some(work), result: None, tell };
        let sent = self.writer.send(Box::new(operation)).await;
        sent.map_err(|_| self.unavailable("its writer has ended"))?;
        told.await.map_err(|_| self.unavailable("its writer has ended"))?
    }

    /// Runs queries on one state of the file, which holds everything that was committed. In a task of its
    /// own: a caller that is not polled for a while keeps no reader from those who are, itself among them.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, BackendError>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let readers = self.readers.clone();
        let reading = tokio::spawn(async move {
            let permit = readers.permits.clone().acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                readers.read(work)
            })
            .await
        });
        let read = reading.await.and_then(|read| read);
        read.map_err(|error| self.unavailable(&error.to_string()))?
            .map_err(|failure| failure.told(&self.name))
    }

    fn unavailable(&self, reason: &str) -> BackendError {
        BackendError::Unavailable { what: self.name.to_string(), reason: reason.to_owned() }
    }
}

impl Readers {
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => file::reader(&self.path)?,
        };
        let answer = work(&*connection.transaction()?);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        answer
    }
}
