//! Verifying a point: every stored byte is read from the storage again and held against the
//! manifest.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use drs_model::{DiskContent, PointId, RecoveryPoint, Timestamp};
use tokio::sync::watch;

use super::blocking;
use super::disk_read::DiskSource;
use super::point_files::Verdict;
use super::root::{Root, stream_file};
use crate::sealed::Sealed;
use crate::{VaultError, VerifyReport};

/// Verifies a point and keeps the verdict.
pub(super) async fn verify(
    root: Arc<Root>,
    id: PointId,
    now: Timestamp,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<VerifyReport, VaultError> {
    let reading = root.clone();
    let manifest = match blocking(move || reading.manifest(id)).await {
        Err(VaultError::Damaged { damage, .. }) => {
            return Ok(VerifyReport { read_bytes: 0, damage: vec![damage] });
        }
        read => read?,
    };

    let (told, mut heard) = watch::channel(0);
    let reading = root.clone();
    let Sealed { body: manifest, digest } = manifest;
    let examination = tokio::task::spawn_blocking(move || examine(&reading, &manifest, &told));
    while heard.changed().await.is_ok() {
        progress(*heard.borrow_and_update());
    }
    let report = examination
        .await
        .map_err(|error| VaultError::Misuse(format!("verifying {id}: {error}")))??;

    let verdict = Verdict { manifest: digest, at: now, damage: report.damage.clone() };
    blocking(move || root.put_verdict(id, &verdict)).await?;
    Ok(report)
}

fn examine(
    root: &Arc<Root>,
    manifest: &RecoveryPoint,
    told: &watch::Sender<u64>,
) -> Result<VerifyReport, VaultError> {
    let mut report = VerifyReport { read_bytes: 0, damage: Vec::new() };
    for content in &manifest.disks {
        match examine_disk(root, manifest.id, content, &mut report.read_bytes, told) {
            Err(VaultError::Damaged { damage, .. }) => report.damage.push(damage),
            examined => examined?,
        }
    }
    Ok(report)
}

fn examine_disk(
    root: &Arc<Root>,
    point: PointId,
    content: &DiskContent,
    read_bytes: &mut u64,
    told: &watch::Sender<u64>,
) -> Result<(), VaultError> {
    let before = *read_bytes;
    forget_cached(&root.point(point).join(stream_file(&content.name)?));
    let mut source = DiskSource::open(root.clone(), point, content.clone())?;
    loop {
        let next = source.next();
        *read_bytes = before + source.read_bytes();
        // Nobody listens any more: the caller has given up.
        if told.send(*read_bytes).is_err() || next?.is_none() {
            return Ok(());
        }
    }
}

/// Lets the operating system drop what it has cached of a file, so that the storage itself is read.
fn forget_cached(path: &Path) {
    let forgotten = File::open(path)
        .and_then(|file| Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?));
    if let Err(error) = forgotten {
        tracing::debug!(path = %path.display(), %error, "may be verified from the cache");
    }
}
