//! Recovery points: what a backup leaves and a restore starts from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Content, HypervisorKind, JobId, Timestamp, VmRef, VmSpec};

/// The id of a recovery point. It equals the id of the job that made it, so a job that is run
/// again after a crash makes the same point, never a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointId(pub Uuid);

impl From<JobId> for PointId {
    fn from(job: JobId) -> Self {
        Self(job.0)
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PointId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// How well the guest had its data in order at the freeze instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// As after a power cut.
    Crash,
    /// The guest agent had frozen the file systems.
    FileSystem,
    /// The VM was off.
    Off,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash-consistent",
            Self::FileSystem => "file-system-consistent",
            Self::Off => "off",
        })
    }
}

/// A restorable state of a VM at one time: the manifest.
///
/// A point exists only when its manifest does, and the manifest is written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// Its id.
    pub id: PointId,
    /// The VM it was taken from.
    pub source: VmRef,
    /// Which kind of hypervisor it was taken from.
    pub hypervisor: HypervisorKind,
    /// The freeze instant: the moment whose data it holds.
    pub consistent_at: Timestamp,
    /// When the last byte was in the vault.
    pub completed_at: Timestamp,
    /// What the freeze was worth.
    pub consistency: Consistency,
    /// The VM without its hypervisor.
    pub spec: VmSpec,
    /// The VM in its hypervisor's own words, so that a same-kind restore is exact.
    pub native_config: String,
    /// Its contents, in the order of `spec.contents()`.
    pub disks: Vec<DiskContent>,
}

impl RecoveryPoint {
    /// The point that a job would make of a VM that is so at `now`, as if all its contents were zeros: an
    /// import can be planned from it before there is one.
    #[must_use]
    pub fn expected(
        id: PointId,
        source: VmRef,
        hypervisor: HypervisorKind,
        spec: VmSpec,
        native_config: String,
        now: Timestamp,
    ) -> Self {
        let empty = |content: Content| DiskContent {
            name: content.name,
            size_bytes: content.size_bytes.unwrap_or(0),
            data_bytes: 0,
            stored_bytes: 0,
            digest: String::new(),
        };
        Self {
            id,
            source,
            hypervisor,
            consistent_at: now,
            completed_at: now,
            consistency: Consistency::Crash,
            disks: spec.contents().into_iter().map(empty).collect(),
            spec,
            native_config,
        }
    }

    /// Bytes that the point takes in the vault.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.disks.iter().map(|disk| disk.stored_bytes).sum()
    }

    /// Sum of the sizes of its disks.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.disks.iter().map(|disk| disk.size_bytes).sum()
    }
}

/// What a vault keeps of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskContent {
    /// The disk's name in the spec.
    pub name: String,
    /// Size that the guest sees, in bytes; of an archive its length.
    pub size_bytes: u64,
    /// Bytes that are not in a hole.
    pub data_bytes: u64,
    /// Bytes in the vault.
    pub stored_bytes: u64,
    /// BLAKE3 of the stored stream, 64 hexadecimal digits.
    pub digest: String,
}

/// Whether a point's content was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// Complete, never re-read.
    Complete,
    /// Re-read in full and found equal to its manifest at this time.
    Verified(Timestamp),
    /// Re-read at this time and found damaged.
    Damaged(Timestamp),
}
