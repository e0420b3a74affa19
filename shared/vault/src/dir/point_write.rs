//! Writing a point: its disks, then its manifest, then the one rename that makes it exist.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drs_model::{DiskContent, PointId, RecoveryPoint};

use super::blocking;
use super::disk_write::DirDiskWriter;
use super::lock::PointLock;
use super::root::{LOCK_FILE, MANIFEST_FILE, Root, record_file, stream_file};
use crate::{DiskWriter, PointWriter, VaultError};

/// How long `begin` waits for a writer that is just ending: its thread has a megabyte to write.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often it looks.
const LOCK_POLL: Duration = Duration::from_millis(10);

enum Stage {
    Unfinished(Arc<PointLock>),
    Complete(Box<RecoveryPoint>),
}

/// A point of a [`DirVault`](super::DirVault) that is being written.
pub(super) struct DirPointWriter {
    root: Arc<Root>,
    id: PointId,
    stage: Stage,
}

impl DirPointWriter {
    /// Begins or continues a point.
    pub(super) async fn begin(root: Arc<Root>, id: PointId) -> Result<Self, VaultError> {
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            let looked_at = root.clone();
            if let Some(stage) = blocking(move || look(&looked_at, id)).await? {
                return Ok(Self { root, id, stage });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(VaultError::Busy(id));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }
}

/// Where the point stands; `None` while somebody else holds it.
fn look(root: &Root, id: PointId) -> Result<Option<Stage>, VaultError> {
    if let Some(manifest) = complete(root, id)? {
        return Ok(Some(Stage::Complete(manifest)));
    }
    let Some(lock) = PointLock::try_take(root, id)? else { return Ok(None) };
    // It may have been completed between the look and the lock.
    if let Some(manifest) = complete(root, id)? {
        root.remove_folder(lock.folder())?;
        return Ok(Some(Stage::Complete(manifest)));
    }
    Ok(Some(Stage::Unfinished(Arc::new(lock))))
}

fn complete(root: &Root, id: PointId) -> Result<Option<Box<RecoveryPoint>>, VaultError> {
    match root.manifest(id) {
        Ok(sealed) => Ok(Some(Box::new(sealed.body))),
        Err(VaultError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl PointWriter for DirPointWriter {
    async fn finished_disk(&mut self, disk: &str) -> Result<Option<DiskContent>, VaultError> {
        match &self.stage {
            Stage::Complete(point) => {
                Ok(point.disks.iter().find(|content| content.name == disk).cloned())
            }
            Stage::Unfinished(lock) => {
                let (root, lock, disk) = (self.root.clone(), lock.clone(), disk.to_owned());
                blocking(move || root.record(lock.folder(), &disk)).await
            }
        }
    }

    async fn disk(
        &mut self,
        disk: &str,
        size_bytes: Option<u64>,
    ) -> Result<Box<dyn DiskWriter>, VaultError> {
        let Stage::Unfinished(lock) = &self.stage else {
            return Err(VaultError::Misuse(format!("point {} is complete already", self.id)));
        };
        let writer =
            DirDiskWriter::begin(self.root.clone(), lock.clone(), disk, size_bytes).await?;
        Ok(Box::new(writer))
    }

    async fn commit(self: Box<Self>, manifest: &RecoveryPoint) -> Result<(), VaultError> {
        let Self { root, id, stage } = *self;
        if manifest.id != id {
            return Err(VaultError::Misuse(format!("the manifest of {id} names {}", manifest.id)));
        }
        match stage {
            Stage::Complete(stored) => compare(&stored, manifest),
            Stage::Unfinished(lock) => {
                let manifest = manifest.clone();
                blocking(move || publish(&root, &lock, &manifest)).await
            }
        }
    }

    async fn discard(self: Box<Self>) -> Result<(), VaultError> {
        let Self { root, stage, .. } = *self;
        match stage {
            Stage::Complete(_) => Ok(()),
            Stage::Unfinished(lock) => {
                blocking(move || root.remove_folder(lock.folder()).map(|_freed| ())).await
            }
        }
    }
}

/// A manifest that is committed again after a crash was completed at another time, no more.
fn compare(stored: &RecoveryPoint, again: &RecoveryPoint) -> Result<(), VaultError> {
    let again = RecoveryPoint { completed_at: stored.completed_at, ..again.clone() };
    if *stored == again {
        return Ok(());
    }
    Err(VaultError::Misuse(format!("point {} is complete with another manifest", stored.id)))
}

fn publish(root: &Root, lock: &PointLock, manifest: &RecoveryPoint) -> Result<(), VaultError> {
    let folder = lock.folder();
    let mut belongs = BTreeSet::from([LOCK_FILE.to_owned()]);
    for content in &manifest.disks {
        let recorded = root.record(folder, &content.name)?;
        if recorded.as_ref() != Some(content) {
            return Err(VaultError::Misuse(format!(
                "disk {} of point {} was not finished as its manifest says",
                content.name, manifest.id
            )));
        }
        let fresh = belongs.insert(stream_file(&content.name)?);
        belongs.insert(record_file(&content.name)?);
        if !fresh {
            return Err(VaultError::Misuse(format!("two disks are called {}", content.name)));
        }
    }
    for name in root.names(folder)?.into_iter().filter(|name| !belongs.contains(name)) {
        root.remove_file(&folder.join(name))?;
    }
    root.put(&folder.join(MANIFEST_FILE), manifest)?;
    let point = root.point(manifest.id);
    fs::rename(folder, &point).map_err(|error| root.failed(&point, error))?;
    root.sync_folder(&root.points())?;
    root.sync_folder(&root.unfinished())?;
    root.remove_file(&point.join(LOCK_FILE))
}
