//! What a job is to do. This is what a message carries: complete, and free of secrets.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{HostName, JobClass, NetworkMap, PointId, StorageMap, VmRef};

/// What to do with a VM's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    /// Start it.
    Start,
    /// Ask the guest to shut down and wait until it is off.
    Shutdown,
    /// Cut its power at once.
    Stop,
}

/// Where and as what a point is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTarget {
    /// The host and the name; no VM of that name may be there.
    pub vm: VmRef,
    /// Networks to exchange.
    #[serde(default)]
    pub networks: NetworkMap,
    /// Folders to use, by disk name.
    #[serde(default)]
    pub storage: StorageMap,
    /// Keep the MAC addresses or make new ones.
    pub keep_macs: bool,
    /// Start the VM when it is there.
    pub start: bool,
}

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Ask a host what it is and which VMs it has.
    Inspect {
        /// The host.
        host: HostName,
    },
    /// Make a recovery point of a VM.
    Backup {
        /// The VM.
        vm: VmRef,
    },
    /// Make a VM from a recovery point.
    Restore {
        /// The point.
        point: PointId,
        /// Where to.
        target: RestoreTarget,
    },
    /// Re-read a point and compare it with its manifest.
    Verify {
        /// The point.
        point: PointId,
    },
    /// Start, shut down or stop a VM.
    Power {
        /// The VM.
        vm: VmRef,
        /// What to do.
        action: PowerAction,
    },
}

/// The kind of a job, without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// See [`JobSpec::Inspect`].
    Inspect,
    /// See [`JobSpec::Backup`].
    Backup,
    /// See [`JobSpec::Restore`].
    Restore,
    /// See [`JobSpec::Verify`].
    Verify,
    /// See [`JobSpec::Power`].
    Power,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inspect => "inspect",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Power => "power",
        })
    }
}

impl JobSpec {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Inspect { .. } => JobKind::Inspect,
            Self::Backup { .. } => JobKind::Backup,
            Self::Restore { .. } => JobKind::Restore,
            Self::Verify { .. } => JobKind::Verify,
            Self::Power { .. } => JobKind::Power,
        }
    }

    /// How urgent it is by nature.
    #[must_use]
    pub fn class(&self) -> JobClass {
        match self {
            Self::Restore { .. } | Self::Power { .. } => JobClass::Critical,
            Self::Backup { .. } | Self::Inspect { .. } => JobClass::Normal,
            Self::Verify { .. } => JobClass::Bulk,
        }
    }

    /// The VM that the job changes or reads on a host, whose lock and guard it needs.
    #[must_use]
    pub fn vm(&self) -> Option<&VmRef> {
        match self {
            Self::Backup { vm } | Self::Power { vm, .. } => Some(vm),
            Self::Restore { target, .. } => Some(&target.vm),
            Self::Inspect { .. } | Self::Verify { .. } => None,
        }
    }

    /// The host on which the job works.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Inspect { host } => Some(host),
            Self::Verify { .. } => None,
            _ => self.vm().map(|vm| &vm.host),
        }
    }

    /// The point that the job reads.
    #[must_use]
    pub fn point(&self) -> Option<PointId> {
        match self {
            Self::Restore { point, .. } | Self::Verify { point } => Some(*point),
            _ => None,
        }
    }

    /// What the job is about, in a few words for a list.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Inspect { host } => host.to_string(),
            Self::Backup { vm } | Self::Power { vm, .. } => vm.to_string(),
            Self::Restore { target, .. } => target.vm.to_string(),
            Self::Verify { point } => point.to_string(),
        }
    }
}
