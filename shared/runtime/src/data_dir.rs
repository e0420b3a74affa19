//! The data directory: where a DR Switch keeps everything but the recovery points.
//!
//! ```text
//! format          "drs-data 1\n"; written last, so a directory without it was never finished
//! drs.toml        the configuration
//! drs.sqlite      hosts, pairs, jobs, logs
//! vault/          the recovery points, unless the configuration names another place
//! simulated/      the state of simulated hosts
//! spool/          archives on their way, a folder for each job; made when it is needed
//! workers/        one file per worker process, locked while the process lives
//! serve.lock      locked while `drs serve` runs; holds its process id
//! ```
//!
//! # Invariants
//! - Locks are `flock`s: the kernel frees them when the process ends, however it ends.
//! - An existing directory is never initialised again, one of a newer format never opened.

mod lock;
mod worker_lock;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use drs_model::{Fault, FaultCode};

pub use lock::ServeLock;
pub use worker_lock::{DeadWorker, WorkerLock};

/// The layout that is made, and the newest that is used.
const FORMAT: u32 = 1;
/// What precedes the layout's number in the `format` file.
const FORMAT_WORD: &str = "drs-data ";
/// What an interrupted `init` may have left.
const OURS: [&str; 7] =
    ["drs.toml", "drs.sqlite", "drs.sqlite-shm", "drs.sqlite-wal", "simulated", "vault", "workers"];

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is none.
    #[error("there is no data directory at {0}")]
    Missing(PathBuf),
    /// There is one already.
    #[error("{0} is a data directory already; nothing was changed")]
    Exists(PathBuf),
    /// Something else is there.
    #[error("{path} is not empty: it holds {found}, which is not of DR Switch")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// An entry in it.
        found: String,
    },
    /// A newer version made it.
    #[error("{path} has data format {found}, this version knows up to {FORMAT}")]
    TooNew {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It cannot be understood.
    #[error("{0}: its file `format` makes no sense")]
    Damaged(PathBuf),
    /// Another `drs serve` has it.
    #[error("`drs serve` (process {pid}) runs on {path} already")]
    AlreadyRunning {
        /// The directory.
        path: PathBuf,
        /// The process id, or `unknown`.
        pid: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDirError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let (code, remedy) = match self {
            Self::Missing(path) => (
                FaultCode::NotInitialised,
                format!(
                    "Make one with `drs --data-dir {} init`, or name another with `--data-dir`.",
                    path.display()
                ),
            ),
            Self::Exists(_) => (
                FaultCode::AlreadyExists,
                "Use it as it is, or name another place with `--data-dir`.".into(),
            ),
            Self::Foreign { .. } => (
                FaultCode::AlreadyExists,
                "Name an empty or a new directory with `--data-dir`.".into(),
            ),
            Self::TooNew { .. } => (
                FaultCode::DataTooNew,
                "Use the version of drs that made it, or a newer one; nothing was changed.".into(),
            ),
            Self::Damaged(_) => (
                FaultCode::StoreFailed,
                "Restore the directory from a copy; recovery points are not touched by this."
                    .into(),
            ),
            Self::AlreadyRunning { .. } => (
                FaultCode::AlreadyRunning,
                "Use the one that runs: every other command works beside it.".into(),
            ),
            Self::Io { .. } => (
                FaultCode::StoreFailed,
                "Check the disk and the rights of this user on the data directory.".into(),
            ),
        };
        Fault::permanent(code, self.to_string(), remedy)
    }
}

/// A data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// A data directory that is being made. It becomes one with [`NewDataDir::finish`].
#[derive(Debug)]
pub struct NewDataDir(DataDir);

impl NewDataDir {
    /// The directory, for making its contents.
    #[must_use]
    pub fn dir(&self) -> &DataDir {
        &self.0
    }

    /// Makes it a data directory.
    ///
    /// # Errors
    /// The file system refused.
    pub fn finish(self) -> Result<DataDir, DataDirError> {
        let path = self.0.format();
        fs::write(&path, format!("{FORMAT_WORD}{FORMAT}\n")).map_err(DataDirError::io(&path))?;
        Ok(self.0)
    }
}

impl DataDir {
    /// Begins a data directory at `root`, for this user alone (mode 0700), with `config` as its
    /// configuration file, unless one was put there before. What an interrupted call left is taken up.
    ///
    /// # Errors
    /// There is one already, something else is there, or the file system refused.
    pub fn init(root: &Path, config: &str) -> Result<NewDataDir, DataDirError> {
        let dir = Self { root: root.to_owned() };
        if dir.format().exists() {
            return Err(DataDirError::Exists(dir.root));
        }
        make(root)?;
        for entry in fs::read_dir(root).map_err(DataDirError::io(root))? {
            let name = entry.map_err(DataDirError::io(root))?.file_name();
            let name = name.to_string_lossy();
            if !OURS.contains(&name.as_ref()) {
                let found = name.into_owned();
                return Err(DataDirError::Foreign { path: dir.root, found });
            }
        }
        make(&dir.simulated())?;
        make(&dir.workers())?;
        if !dir.config().exists() {
            fs::write(dir.config(), config).map_err(DataDirError::io(&dir.config()))?;
        }
        Ok(NewDataDir(dir))
    }

    /// Opens the data directory at `root`.
    ///
    /// # Errors
    /// There is none, it is newer or damaged, or the file system refused.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let dir = Self { root: root.to_owned() };
        let text = match fs::read_to_string(dir.format()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::Missing(dir.root));
            }
            Err(source) => return Err(DataDirError::Io { path: dir.format(), source }),
        };
        let number = text.trim_end().strip_prefix(FORMAT_WORD).and_then(|n| n.parse().ok());
        match number {
            Some(found) if found > FORMAT => Err(DataDirError::TooNew { path: dir.root, found }),
            Some(FORMAT) => Ok(dir),
            _ => Err(DataDirError::Damaged(dir.root)),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("drs.toml")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("drs.sqlite")
    }

    /// The vault, unless the configuration names another.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.root.join("vault")
    }

    /// The state of simulated hosts.
    #[must_use]
    pub fn simulated(&self) -> PathBuf {
        self.root.join("simulated")
    }

    /// Archives on their way.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    fn workers(&self) -> PathBuf {
        self.root.join("workers")
    }

    fn format(&self) -> PathBuf {
        self.root.join("format")
    }
}

/// Makes a folder for this user alone; one that is there stays as it is.
fn make(path: &Path) -> Result<(), DataDirError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(DataDirError::io(path))
}
