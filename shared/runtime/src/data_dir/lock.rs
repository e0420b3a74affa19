//! The lock of `drs serve`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{DataDir, DataDirError};

/// Who asks whether the lock is taken takes it for an instant: so often, and so far apart, it is
/// tried again.
const TRIES: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// `drs serve` has the data directory while this lives.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

impl DataDir {
    /// Takes the data directory for `drs serve`.
    ///
    /// # Errors
    /// [`DataDirError::AlreadyRunning`], or the file system refused.
    pub fn serve_lock(&self) -> Result<ServeLock, DataDirError> {
        let path = self.serve_lock_file();
        let mut file = open_lock(&path)?;
        for _ in 0..TRIES {
            if try_lock(&file, &path)? {
                write_pid(&mut file).map_err(DataDirError::io(&path))?;
                return Ok(ServeLock { _file: file });
            }
            thread::sleep(TRY_AGAIN);
        }
        let pid = read_pid(&mut file);
        Err(DataDirError::AlreadyRunning { path: self.root().to_owned(), pid })
    }

    /// Whether a `drs serve` has the data directory now.
    ///
    /// # Errors
    /// The file system refused.
    pub fn is_served(&self) -> Result<bool, DataDirError> {
        let path = self.serve_lock_file();
        let file = open_lock(&path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(DataDirError::Io { path, source }),
        }
    }

    fn serve_lock_file(&self) -> PathBuf {
        self.root().join("serve.lock")
    }
}

/// Opens a lock file, making it when it is missing.
pub(super) fn open_lock(path: &Path) -> Result<File, DataDirError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(DataDirError::io(path))
}

/// Takes the lock unless another process has it.
pub(super) fn try_lock(file: &File, path: &Path) -> Result<bool, DataDirError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(DataDirError::Io { path: path.to_owned(), source }),
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".into(),
    }
}
