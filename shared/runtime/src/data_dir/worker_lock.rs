//! The sign of life of a worker process: a lock on a file of its name.
//!
//! A worker that is killed leaves its file with nobody holding the lock. Whoever finds it takes the
//! lock, ends the worker's leases and removes the file; so what the dead worker had is taken over at
//! once and not only when its leases run out.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::{open_lock, try_lock};
use super::{DataDir, DataDirError};

const SUFFIX: &str = ".lock";

/// A worker of this process lives. Dropping it removes the file.
#[derive(Debug)]
pub struct WorkerLock {
    path: PathBuf,
    _file: File,
}

impl Drop for WorkerLock {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A worker whose process is gone. Its file stays, so that it is found again, until
/// [`DeadWorker::buried`].
#[derive(Debug)]
pub struct DeadWorker {
    name: String,
    path: PathBuf,
    _file: File,
}

impl DeadWorker {
    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its leases are ended: forgets it.
    pub fn buried(self) {
        remove(&self.path);
    }
}

impl DataDir {
    /// Announces a worker of this process; `name` must be of this process alone.
    ///
    /// # Errors
    /// The file system refused.
    pub fn worker_lock(&self, name: &str) -> Result<WorkerLock, DataDirError> {
        let path = self.workers().join(format!("{name}{SUFFIX}"));
        // Another process may take the file for a dead worker's before it is locked.
        loop {
            let file = open_lock(&path)?;
            if try_lock(&file, &path)? && is_at(&file, &path)? {
                return Ok(WorkerLock { path, _file: file });
            }
        }
    }

    /// Workers whose process is gone and whose leases nobody has ended yet. One that another
    /// process deals with at this moment is left out.
    ///
    /// # Errors
    /// The file system refused.
    pub fn dead_workers(&self) -> Result<Vec<DeadWorker>, DataDirError> {
        let folder = self.workers();
        let mut dead = Vec::new();
        for entry in fs::read_dir(&folder).map_err(DataDirError::io(&folder))? {
            let path = entry.map_err(DataDirError::io(&folder))?.path();
            let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = file_name.strip_suffix(SUFFIX).map(str::to_owned) else { continue };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(DataDirError::Io { path, source }),
            };
            if try_lock(&file, &path)? && is_at(&file, &path)? {
                dead.push(DeadWorker { name, path, _file: file });
            }
        }
        Ok(dead)
    }
}

/// Whether the open file is still the one at that path.
fn is_at(file: &File, path: &Path) -> Result<bool, DataDirError> {
    let open = file.metadata().map_err(DataDirError::io(path))?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(DataDirError::Io { path: path.to_owned(), source }),
    }
}

/// Removes a lock file that this process holds. One that stays is found again as a dead worker's,
/// which is harmless: it has no leases.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "a worker's lock file stays");
    }
}
