//! The directory of a vault: where things lie in it, and the few ways in which files come and go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use drs_model::PointId;

use crate::VaultError;

/// Largest small file (manifest, record, verdict) that is read: 16 MiB.
const SMALL_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest encoded disk name; with prefix and ending it fits the 255 bytes of a file name.
const DISK_NAME_BYTES_MAX: usize = 200;

pub(super) const FORMAT_FILE: &str = "format";
pub(super) const LOCK_FILE: &str = "lock";
pub(super) const MANIFEST_FILE: &str = "manifest.json";
pub(super) const VERDICT_FILE: &str = "verdict.json";

/// The directory of a vault.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of complete points.
    pub(super) fn points(&self) -> PathBuf {
        self.path.join("points")
    }

    /// The folder of points that are being written.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join("unfinished")
    }

    /// The folder of points whose removal is under way.
    pub(super) fn removed(&self) -> PathBuf {
        self.path.join("removed")
    }

    /// The folder of a complete point.
    pub(super) fn point(&self, id: PointId) -> PathBuf {
        self.points().join(id.to_string())
    }

    /// Says what an operation on `path` failed of.
    pub(super) fn failed(&self, path: &Path, source: io::Error) -> VaultError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                VaultError::Full { path: self.path.display().to_string() }
            }
            _ => VaultError::Io { path: path.display().to_string(), source },
        }
    }

    /// Reads a small file; `None` when there is none.
    pub(super) fn read_small(&self, path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.failed(path, error))?,
        };
        let mut bytes = Vec::new();
        file.take(SMALL_FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(path, error))?;
        Ok(Some(bytes))
    }

    /// Puts a small file in place of what is there: whole and durable, or not at all. Its folder
    /// must exist.
    pub(super) fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{count}.tmp", std::process::id()));
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        });
        if let Err(error) = written {
            remove_if_there(&temporary).map_err(|error| self.failed(&temporary, error))?;
            return Err(self.failed(path, error));
        }
        self.sync_folder(path.parent().unwrap_or(&self.path))
    }

    /// Makes a folder that only its owner may enter, unless it is there.
    pub(super) fn make_folder(&self, path: &Path) -> Result<(), VaultError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map_err(|error| self.failed(path, error)),
        }
    }

    /// Makes what was created, renamed and removed in a folder durable.
    pub(super) fn sync_folder(&self, path: &Path) -> Result<(), VaultError> {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failed(path, error))
    }

    /// Removes a file if it is there.
    pub(super) fn remove_file(&self, path: &Path) -> Result<(), VaultError> {
        remove_if_there(path).map_err(|error| self.failed(path, error))
    }

    /// Removes a point's folder, its lock last; tells the bytes that came free. What another
    /// process removed or put there meanwhile is none of our business.
    pub(super) fn remove_folder(&self, path: &Path) -> Result<u64, VaultError> {
        let mut freed_bytes = 0;
        for name in self.names(path)?.into_iter().filter(|name| name != LOCK_FILE) {
            let file = path.join(name);
            let bytes = fs::metadata(&file).map_or(0, |found| found.len());
            self.remove_file(&file)?;
            freed_bytes += bytes;
        }
        self.remove_file(&path.join(LOCK_FILE))?;
        match fs::remove_dir(path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(self.failed(path, error))
            }
            _ => Ok(freed_bytes),
        }
    }

    /// Names of what is in a folder; none when the folder is gone.
    pub(super) fn names(&self, path: &Path) -> Result<Vec<String>, VaultError> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| self.failed(path, error))?,
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(|error| self.failed(path, error))
    }

    /// Ids of the points that have a folder in `folder`. What is not named like a point was not
    /// put there by a vault and is left alone.
    pub(super) fn ids(&self, folder: &Path) -> Result<Vec<PointId>, VaultError> {
        let mut ids = Vec::new();
        for name in self.names(folder)? {
            match name.parse() {
                Ok(id) => ids.push(id),
                Err(_) => tracing::warn!(folder = %folder.display(), name, "not part of the vault"),
            }
        }
        Ok(ids)
    }
}

/// Creates a file that only its owner may read and that must not be there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// File name of a disk's stream: `disk-NAME.stream`.
///
/// # Errors
/// The name is too long for a file name.
pub(super) fn stream_file(disk: &str) -> Result<String, VaultError> {
    Ok(format!("disk-{}.stream", encoded(disk)?))
}

/// File name of the record that a disk's stream is finished: `disk-NAME.json`.
///
/// # Errors
/// The name is too long for a file name.
pub(super) fn record_file(disk: &str) -> Result<String, VaultError> {
    Ok(format!("disk-{}.json", encoded(disk)?))
}

/// A disk's name with every byte but ASCII letters, digits, `-` and `_` as `%XX`.
fn encoded(disk: &str) -> Result<String, VaultError> {
    let mut name = String::with_capacity(disk.len());
    for byte in disk.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > DISK_NAME_BYTES_MAX {
        return Err(VaultError::Misuse(format!("the disk name {disk:?} is too long")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_disk_name_leaves_its_folder() {
        for (name, file) in [
            ("vda", "disk-vda.stream"),
            ("../../etc/passwd", "disk-%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.stream"),
            ("", "disk-.stream"),
            ("büro", "disk-b%C3%BCro.stream"),
            ("a%2F", "disk-a%252F.stream"),
        ] {
            assert_eq!(stream_file(name).expect(name), file);
        }
        assert!(stream_file(&"x".repeat(201)).is_err());
    }
}
