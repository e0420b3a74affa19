//! The small files of a point: its manifest, the records of its finished disks, its verdict.

use std::fs;
use std::path::Path;

use drs_model::{DiskContent, PointId, PointState, RecoveryPoint, Timestamp};
use serde::{Deserialize, Serialize};

use super::root::{MANIFEST_FILE, Root, VERDICT_FILE, record_file, stream_file};
use crate::sealed::{self, SealError, Sealed};
use crate::{StoredPoint, VaultError};

/// What a verification found, as it is kept beside the manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// Digest of the manifest that was verified: a verdict about another point of this id is void.
    pub(super) manifest: String,
    /// When.
    pub(super) at: Timestamp,
    /// What is wrong; empty when the point is sound.
    pub(super) damage: Vec<String>,
}

impl Root {
    /// The manifest of a complete point.
    pub(super) fn manifest(&self, id: PointId) -> Result<Sealed<RecoveryPoint>, VaultError> {
        let folder = self.point(id);
        let path = folder.join(MANIFEST_FILE);
        let Some(document) = self.read_small(&path)? else {
            // The folder goes in one piece: while it is there, so is its manifest.
            return Err(match fs::symlink_metadata(&folder) {
                Ok(_) => damaged(id, format!("{} is missing", path.display())),
                Err(_) => VaultError::NotFound(id),
            });
        };
        let sealed: Sealed<RecoveryPoint> =
            sealed::open(&document).map_err(|error| refused(id, &path, &error))?;
        if sealed.body.id != id {
            let found = sealed.body.id;
            return Err(damaged(id, format!("{} belongs to {found}", path.display())));
        }
        Ok(sealed)
    }

    /// A complete point with its state.
    pub(super) fn stored(&self, id: PointId) -> Result<StoredPoint, VaultError> {
        let manifest = self.manifest(id)?;
        let state = self.state(id, &manifest.digest);
        Ok(StoredPoint { manifest: manifest.body, state })
    }

    /// What the verdict proves; one that cannot be read proves nothing.
    fn state(&self, id: PointId, manifest: &str) -> PointState {
        let path = self.point(id).join(VERDICT_FILE);
        let void = |error: &dyn std::error::Error| {
            tracing::warn!(path = %path.display(), %error, "void verdict: verify again");
            PointState::Complete
        };
        let document = match self.read_small(&path) {
            Ok(Some(document)) => document,
            Ok(None) => return PointState::Complete,
            Err(error) => return void(&error),
        };
        match sealed::open::<Verdict>(&document) {
            Ok(Sealed { body, .. }) if body.manifest != manifest => PointState::Complete,
            Ok(Sealed { body, .. }) if body.damage.is_empty() => PointState::Verified(body.at),
            Ok(Sealed { body, .. }) => PointState::Damaged(body.at),
            Err(error) => void(&error),
        }
    }

    /// Keeps a verdict, unless the point is gone.
    pub(super) fn put_verdict(&self, id: PointId, verdict: &Verdict) -> Result<(), VaultError> {
        let written = self.put(&self.point(id).join(VERDICT_FILE), verdict);
        match fs::symlink_metadata(self.point(id)) {
            Err(_) => Err(VaultError::NotFound(id)),
            Ok(_) => written,
        }
    }

    /// The record of a finished disk in the folder of an unfinished point. A record without its
    /// stream in full length is none.
    pub(super) fn record(
        &self,
        folder: &Path,
        disk: &str,
    ) -> Result<Option<DiskContent>, VaultError> {
        let path = folder.join(record_file(disk)?);
        let Some(document) = self.read_small(&path)? else { return Ok(None) };
        let content = match sealed::open::<DiskContent>(&document) {
            Ok(sealed) => sealed.body,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the disk is written again");
                return Ok(None);
            }
        };
        let stream = fs::metadata(folder.join(stream_file(disk)?));
        let whole = stream.is_ok_and(|found| found.len() == content.stored_bytes);
        Ok((whole && content.name == disk).then_some(content))
    }

    /// Seals `body` and puts it at `path`.
    pub(super) fn put<T: Serialize>(&self, path: &Path, body: &T) -> Result<(), VaultError> {
        let document = sealed::seal(body)
            .map_err(|error| VaultError::Misuse(format!("{}: {error}", path.display())))?;
        self.write_small(path, &document)
    }
}

pub(super) fn damaged(point: PointId, damage: String) -> VaultError {
    VaultError::Damaged { point, damage }
}

fn refused(point: PointId, path: &Path, error: &SealError) -> VaultError {
    match error {
        SealError::Damaged(what) => damaged(point, format!("{}: {what}", path.display())),
        SealError::TooNew(found) => VaultError::TooNew {
            path: path.display().to_string(),
            found: *found,
            known: sealed::FORMAT,
        },
    }
}
