//! The vault's port: what a backup writes and a restore reads.

use async_trait::async_trait;
use drs_model::{
    DiskContent, Extent, Fault, FaultClass, FaultCode, PointId, PointState, RecoveryPoint,
    Timestamp, VmRef,
};

/// A point as the vault has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPoint {
    /// Its manifest.
    pub manifest: RecoveryPoint,
    /// Whether its content was proven.
    pub state: PointState,
}

/// Every complete point of a vault. One that cannot be read stands apart and hides no other.
#[derive(Debug)]
pub struct Listing {
    /// Those whose manifest can be read, oldest first.
    pub points: Vec<StoredPoint>,
    /// Those whose manifest is damaged, newer than this program or unreadable, by id, each with
    /// what [`Vault::get`] answers for it. Their VM and time are not known.
    pub unreadable: Vec<(PointId, VaultError)>,
}

impl StoredPoint {
    /// Whether it may be restored: complete, and not found damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !matches!(self.state, PointState::Damaged(_))
    }
}

impl Listing {
    /// The newest good point of a VM.
    #[must_use]
    pub fn latest_good(&self, vm: &VmRef) -> Option<&StoredPoint> {
        let of_vm = |point: &&StoredPoint| point.manifest.source == *vm && point.is_good();
        self.points.iter().filter(of_vm).max_by_key(|point| point.manifest.consistent_at)
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Bytes re-read.
    pub read_bytes: u64,
    /// What is wrong, one sentence each, with the place; empty when the point is sound.
    pub damage: Vec<String>,
}

/// Why the vault could not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No such point.
    #[error("there is no recovery point {0}")]
    NotFound(PointId),
    /// Somebody else is writing this point.
    #[error("recovery point {0} is being written by another process")]
    Busy(PointId),
    /// There is no vault at this place.
    #[error("{path} is no vault: {why}")]
    NotAVault {
        /// Where.
        path: String,
        /// What is missing or in the way.
        why: String,
    },
    /// The storage is full.
    #[error("the vault at {path} is full")]
    Full {
        /// Where.
        path: String,
    },
    /// Content that is not what was written.
    #[error("recovery point {point} is damaged: {damage}")]
    Damaged {
        /// The point.
        point: PointId,
        /// What and where.
        damage: String,
    },
    /// The vault's format is newer than this program.
    #[error("the vault at {path} has format {found}, this version reads up to {known}")]
    TooNew {
        /// Where.
        path: String,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Writing broke the contract (an extent outside the disk or out of order).
    #[error("{0}")]
    Misuse(String),
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        error.fault()
    }
}

impl VaultError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let text = self.to_string();
        match self {
            Self::NotFound(_) => Fault::permanent(
                FaultCode::PointNotFound,
                text,
                "List what there is with `drs point list`.",
            ),
            Self::Busy(_) => Fault::new(
                FaultClass::Busy,
                FaultCode::InUse,
                text,
                "Wait until the other process has ended; the job tries again by itself.",
            ),
            Self::NotAVault { .. } => Fault::permanent(
                FaultCode::VaultFailed,
                text,
                "Mount the vault's storage there. Do not run `drs init` on an empty mount point: it would make an empty vault there.",
            ),
            Self::Full { .. } => Fault::permanent(
                FaultCode::VaultFull,
                text,
                "Free space: remove points you no longer need (`drs point list`, `drs point remove`), or give the vault a larger disk; then give the command again (with another `--key`, if it had one).",
            ),
            Self::Damaged { .. } => Fault::permanent(
                FaultCode::PointDamaged,
                text,
                "Do not trust this point: restore another one (`drs point list`) and check the vault's disk.",
            ),
            Self::TooNew { .. } => Fault::permanent(
                FaultCode::DataTooNew,
                text,
                "Use the version of drs that wrote it, or a newer one.",
            ),
            Self::Misuse(_) => Fault::internal(text),
            Self::Io { .. } => Fault::transient(
                FaultCode::VaultFailed,
                text,
                "Check that the vault's storage is mounted and writable.",
            ),
        }
    }
}

/// A place for recovery points.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Begins a point under its id. What an earlier begin of the same id left unfinished is
    /// continued: disks that were finished are kept, the others start again. When the point is
    /// complete already, every disk is finished and the same manifest may be committed again.
    ///
    /// # Errors
    /// [`VaultError::Busy`] while another writer of this point lives, or the storage failed.
    async fn begin(&self, id: PointId) -> Result<Box<dyn PointWriter>, VaultError>;

    /// Every complete point. None is left out: one whose manifest cannot be read is among
    /// [`Listing::unreadable`].
    ///
    /// # Errors
    /// The storage failed, so that it is not known which points there are.
    async fn list(&self) -> Result<Listing, VaultError>;

    /// One complete point, whatever state others are in.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::Damaged`], [`VaultError::TooNew`] or the storage
    /// failed.
    async fn get(&self, id: PointId) -> Result<StoredPoint, VaultError>;

    /// Opens the content of a disk of a point for one pass over all of it. Holes are not returned.
    ///
    /// # Errors
    /// No such point or disk, or the storage failed.
    async fn read(&self, id: PointId, disk: &str) -> Result<Box<dyn DiskReader>, VaultError>;

    /// Re-reads every byte of a point and remembers the verdict with the time `now`. `progress` is
    /// called with the bytes read so far.
    ///
    /// # Errors
    /// No such point, or the storage failed. Damage is no error but part of the report.
    async fn verify(
        &self,
        id: PointId,
        now: Timestamp,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<VerifyReport, VaultError>;

    /// Removes a point: first its manifest, so that it is gone at once, then its content. The
    /// manifest need not be readable.
    ///
    /// # Errors
    /// No such point, or the storage failed.
    async fn remove(&self, id: PointId) -> Result<(), VaultError>;

    /// Removes everything unfinished whose id `keep` does not claim; tells how many bytes came free.
    ///
    /// # Errors
    /// The storage failed.
    async fn sweep_unfinished(
        &self,
        keep: &(dyn Fn(PointId) -> bool + Send + Sync),
    ) -> Result<u64, VaultError>;
}

/// A point that is being written.
#[async_trait]
pub trait PointWriter: Send {
    /// The content of a disk that an earlier writer of this point finished, if it did.
    ///
    /// # Errors
    /// The storage failed.
    async fn finished_disk(&mut self, disk: &str) -> Result<Option<DiskContent>, VaultError>;

    /// Begins a disk of `size_bytes`, dropping what an earlier writer left of it. `None` begins a content
    /// whose length only its end tells (an archive): it is as long as its furthest byte.
    ///
    /// # Errors
    /// The point is complete already, or the storage failed.
    async fn disk(
        &mut self,
        disk: &str,
        size_bytes: Option<u64>,
    ) -> Result<Box<dyn DiskWriter>, VaultError>;

    /// Makes the point exist: every disk of the manifest must have been finished. Durable when it
    /// returns. A point that is complete already stays as it is; the manifest must then be the
    /// stored one, `completed_at` aside.
    ///
    /// # Errors
    /// A disk is missing or unlike its manifest entry, the point is complete with another
    /// manifest, or the storage failed.
    async fn commit(self: Box<Self>, manifest: &RecoveryPoint) -> Result<(), VaultError>;

    /// Drops everything written for this point. A point that is complete already stays.
    ///
    /// # Errors
    /// The storage failed.
    async fn discard(self: Box<Self>) -> Result<(), VaultError>;
}

/// One disk that is being written.
#[async_trait]
pub trait DiskWriter: Send {
    /// Adds an extent. Extents come in any order and do not overlap. Runs of zeros inside are found and
    /// cost nothing.
    ///
    /// # Errors
    /// Outside the disk or too long, or the storage failed.
    async fn write(&mut self, extent: Extent) -> Result<(), VaultError>;

    /// Ends the disk; durable when it returns.
    ///
    /// # Errors
    /// The storage failed.
    async fn finish(self: Box<Self>) -> Result<DiskContent, VaultError>;
}

/// One disk that is being read.
#[async_trait]
pub trait DiskReader: Send {
    /// Size that the guest sees, in bytes.
    fn size_bytes(&self) -> u64;

    /// The next extent, in the order in which they were written; `None` after the last one, when everything up to the
    /// recorded digest has been checked.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] or the storage failed.
    async fn next(&mut self) -> Result<Option<Extent>, VaultError>;
}
