//! The lock of an unfinished point: one writer at a time, among all processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use drs_model::PointId;

use super::root::{LOCK_FILE, Root};
use crate::VaultError;

/// Holds an unfinished point until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct PointLock {
    folder: PathBuf,
    _file: File,
}

impl PointLock {
    /// Makes the folder of an unfinished point, unless it is there, and locks it. `None` when
    /// somebody else holds it or was about to move it away: look again.
    pub(super) fn try_take(root: &Root, id: PointId) -> Result<Option<Self>, VaultError> {
        let folder = root.unfinished().join(id.to_string());
        root.make_folder(&folder)?;
        let path = folder.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| root.failed(&path, error))?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(root.failed(&path, error)),
            Ok(()) => {}
        }
        let ours = file.metadata().map_err(|error| root.failed(&path, error))?;
        // The one who held it may have published or dropped the folder with the file in it.
        let current =
            fs::metadata(&path).is_ok_and(|at| (at.dev(), at.ino()) == (ours.dev(), ours.ino()));
        Ok(current.then_some(Self { folder, _file: file }))
    }

    /// The folder of the unfinished point.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
