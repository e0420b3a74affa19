//! A vault in a directory.

mod disk_read;
mod disk_write;
mod lock;
mod point_files;
mod point_write;
mod root;
mod verify;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{PointId, Timestamp};

use self::disk_read::{DirDiskReader, DiskSource};
use self::lock::PointLock;
use self::point_write::DirPointWriter;
use self::root::{FORMAT_FILE, Root};
use crate::{DiskReader, Listing, PointWriter, StoredPoint, Vault, VaultError, VerifyReport};

/// The layout that is made, and the newest that is used.
const FORMAT: u32 = 1;
/// What precedes the layout's number in the `format` file.
const FORMAT_WORD: &str = "drs-vault ";

/// A vault in a directory; the layout is in the crate's documentation. Cheap to clone. Any number
/// of processes may use the same directory at once.
///
/// All its calls need a tokio runtime: files are read and written on its blocking threads.
#[derive(Debug, Clone)]
pub struct DirVault {
    root: Arc<Root>,
}

impl DirVault {
    /// Makes a vault at `path`, which must be missing or empty, or opens the one that is there.
    /// Its parent must exist.
    ///
    /// # Errors
    /// [`VaultError::NotAVault`] when something else is there, those of [`DirVault::open`], or the
    /// storage failed.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, VaultError> {
        let root = Root::new(path.as_ref().to_owned());
        root.make_folder(root.path())?;
        let format = root.path().join(FORMAT_FILE);
        if format.exists() {
            return Self::open(path);
        }
        // A creation that was interrupted left some of these.
        let ours = [root.points(), root.unfinished(), root.removed()];
        for name in root.names(root.path())? {
            let found = root.path().join(&name);
            let temporary = name.starts_with(FORMAT_FILE) && name.ends_with(".tmp");
            if !ours.contains(&found) && !temporary {
                return Err(not_a_vault(&root, format!("it holds {name}, which is not ours")));
            }
        }
        for folder in &ours {
            root.make_folder(folder)?;
        }
        root.write_small(&format, format!("{FORMAT_WORD}{FORMAT}\n").as_bytes())?;
        root.sync_folder(root.path().parent().unwrap_or(root.path()))?;
        Self::open(path)
    }

    /// Opens the vault at `path`.
    ///
    /// # Errors
    /// [`VaultError::NotAVault`], [`VaultError::TooNew`], or the storage failed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, VaultError> {
        let root = Root::new(path.as_ref().to_owned());
        let Some(bytes) = root.read_small(&root.path().join(FORMAT_FILE))? else {
            return Err(not_a_vault(&root, format!("it has no file called {FORMAT_FILE}")));
        };
        let text = String::from_utf8_lossy(&bytes);
        let number = text.strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_end().parse().ok());
        match number {
            Some(found) if found > FORMAT => Err(VaultError::TooNew {
                path: root.path().display().to_string(),
                found,
                known: FORMAT,
            }),
            Some(FORMAT) => Ok(Self { root: Arc::new(root) }),
            _ => Err(not_a_vault(&root, format!("its file {FORMAT_FILE} makes no sense"))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }
}

fn not_a_vault(root: &Root, why: String) -> VaultError {
    VaultError::NotAVault { path: root.path().display().to_string(), why }
}

#[async_trait]
impl Vault for DirVault {
    async fn begin(&self, id: PointId) -> Result<Box<dyn PointWriter>, VaultError> {
        Ok(Box::new(DirPointWriter::begin(self.root.clone(), id).await?))
    }

    async fn list(&self) -> Result<Listing, VaultError> {
        let root = self.root.clone();
        blocking(move || {
            let mut listing = Listing { points: Vec::new(), unreadable: Vec::new() };
            for id in root.ids(&root.points())? {
                match root.stored(id) {
                    Ok(point) => listing.points.push(point),
                    // It was removed since the folder was read.
                    Err(VaultError::NotFound(_)) => {}
                    Err(error) => listing.unreadable.push((id, error)),
                }
            }
            listing.points.sort_by_key(|point| (point.manifest.consistent_at, point.manifest.id));
            listing.unreadable.sort_by_key(|(id, _)| *id);
            Ok(listing)
        })
        .await
    }

    async fn get(&self, id: PointId) -> Result<StoredPoint, VaultError> {
        let root = self.root.clone();
        blocking(move || root.stored(id)).await
    }

    async fn read(&self, id: PointId, disk: &str) -> Result<Box<dyn DiskReader>, VaultError> {
        let (root, disk) = (self.root.clone(), disk.to_owned());
        let source = blocking(move || {
            let disks = root.manifest(id)?.body.disks;
            match disks.into_iter().find(|content| content.name == disk) {
                Some(content) => DiskSource::open(root, id, content),
                None => Err(VaultError::Misuse(format!("recovery point {id} has no disk {disk}"))),
            }
        })
        .await?;
        Ok(Box::new(DirDiskReader::begin(source)))
    }

    async fn verify(
        &self,
        id: PointId,
        now: Timestamp,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<VerifyReport, VaultError> {
        verify::verify(self.root.clone(), id, now, progress).await
    }

    async fn remove(&self, id: PointId) -> Result<(), VaultError> {
        let root = self.root.clone();
        blocking(move || {
            let grave = root.removed().join(id.to_string());
            root.remove_folder(&grave)?;
            let point = root.point(id);
            fs::rename(&point, &grave).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => VaultError::NotFound(id),
                _ => root.failed(&point, error),
            })?;
            root.sync_folder(&root.points())?;
            root.sync_folder(&root.removed())?;
            root.remove_folder(&grave).map(|_freed| ())
        })
        .await
    }

    async fn sweep_unfinished(
        &self,
        keep: &(dyn Fn(PointId) -> bool + Send + Sync),
    ) -> Result<u64, VaultError> {
        let root = self.root.clone();
        let unfinished = blocking(move || root.ids(&root.unfinished())).await?;
        let unclaimed: Vec<_> = unfinished.into_iter().filter(|id| !keep(*id)).collect();
        let root = self.root.clone();
        blocking(move || {
            let mut freed_bytes = 0;
            for id in unclaimed {
                // Who holds it has begun since `keep` looked; that is not ours to remove.
                if let Some(lock) = PointLock::try_take(&root, id)? {
                    freed_bytes += root.remove_folder(lock.folder())?;
                }
            }
            for id in root.ids(&root.removed())? {
                freed_bytes += root.remove_folder(&root.removed().join(id.to_string()))?;
            }
            Ok(freed_bytes)
        })
        .await
    }
}

/// Runs what waits for storage on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| VaultError::Misuse(format!("the vault's thread: {error}")))?
}

#[cfg(test)]
mod tests;
