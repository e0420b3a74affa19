//! What a job is to do. This is what a message carries: complete, and free of secrets.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    HostName, JobClass, NetworkMap, PairName, PointId, ReplicationPair, StorageMap, Subject, VmRef,
    Work,
};

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

/// How a job moves a VM's content between a host and the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferMethod {
    /// As a stream through the worker: nothing is staged anywhere. It ends with its connection.
    #[default]
    Stream,
    /// As an archive that is staged on the host and on the worker's machine: what the host does
    /// outlives the worker, and a broken transfer goes on where it stopped.
    Staged,
}

impl fmt::Display for TransferMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Staged => "staged",
        })
    }
}

/// How a job moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// As a stream or staged.
    #[serde(default)]
    pub method: TransferMethod,
    /// Most bytes per second that the job may move; no limit of its own when `None`. Limits of its
    /// hosts and their sites count beside it.
    #[serde(default)]
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What becomes of a VM that stands where a restore is to put the new one.
///
/// The new VM is always made beside it, from new disks, and checked. Whatever the policy, a restore
/// that fails leaves the old VM as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacePolicy {
    /// It stays untouched, and the new VM gets a name (a VMID) of its own.
    Keep,
    /// It is shut down when the new VM is ready, and kept.
    StopAndKeep,
    /// It is shut down when the new VM is ready, and destroyed when the new one has proven itself: it
    /// runs, or has passed its check when it is not to be started.
    DestroyAfterProof,
    /// It is destroyed after the proof, but only if it is a copy that DR Switch made and is off;
    /// anything else is refused. What a replication does with the copy of the time before.
    RefreshCopy,
}

impl ReplacePolicy {
    /// What an operator may ask for.
    pub const ASKABLE: [Self; 3] = [Self::Keep, Self::StopAndKeep, Self::DestroyAfterProof];

    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::StopAndKeep => "stop-and-keep",
            Self::DestroyAfterProof => "destroy-after-proof",
            Self::RefreshCopy => "refresh-copy",
        }
    }

    /// Whether the new VM takes the old one's place.
    #[must_use]
    pub fn takes_place(self) -> bool {
        self != Self::Keep
    }

    /// Whether the old VM goes in the end.
    #[must_use]
    pub fn destroys(self) -> bool {
        matches!(self, Self::DestroyAfterProof | Self::RefreshCopy)
    }
}

impl fmt::Display for ReplacePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReplacePolicy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ASKABLE.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no policy; known: keep, stop-and-keep, destroy-after-proof")
        })
    }
}

/// Where and as what a point is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTarget {
    /// The host and the name; no VM of that name may be there unless it is to be replaced. On Proxmox
    /// VE, where a name is a VMID, the new VM of a replacement gets another one.
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
    /// What becomes of a VM that is there already; `None` refuses to restore then.
    #[serde(default)]
    pub replace: Option<ReplacePolicy>,
    /// The pair whose counterpart the new VM becomes when it takes the place of another.
    #[serde(default)]
    pub pair: Option<PairName>,
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
        /// How its content is moved.
        #[serde(default)]
        transfer: Transfer,
    },
    /// Make a VM from a recovery point.
    Restore {
        /// The point.
        point: PointId,
        /// Where to.
        target: RestoreTarget,
        /// How its content is moved.
        #[serde(default)]
        transfer: Transfer,
    },
    /// Make a recovery point of a VM and bring its counterpart up to date from it. As a stream in one
    /// pass: a single read of the source feeds the vault and the counterpart at once. Staged: first
    /// the one, then the other.
    Replicate {
        /// The protected VM.
        source: VmRef,
        /// The counterpart.
        target: RestoreTarget,
        /// How the content is moved.
        #[serde(default)]
        transfer: Transfer,
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
    /// Find out what a subject stands for now, and submit one job for each: a backup of each VM of a
    /// host, a replication of each pair whose source it is, a verification of the latest good point
    /// of each VM. It is over when they are submitted.
    FanOut {
        /// The subject.
        subject: Subject,
        /// What each of those jobs does.
        work: Work,
        /// How they move content.
        #[serde(default)]
        transfer: Transfer,
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
    /// See [`JobSpec::Replicate`].
    Replicate,
    /// See [`JobSpec::Verify`].
    Verify,
    /// See [`JobSpec::Power`].
    Power,
    /// See [`JobSpec::FanOut`].
    FanOut,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inspect => "inspect",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Replicate => "replicate",
            Self::Verify => "verify",
            Self::Power => "power",
            Self::FanOut => "fan_out",
        })
    }
}

impl JobSpec {
    /// A backup with the default transfer.
    #[must_use]
    pub fn backup(vm: VmRef) -> Self {
        Self::Backup { vm, transfer: Transfer::default() }
    }

    /// A replication that brings a pair's copy up to date; see [`ReplicationPair::counterpart`].
    #[must_use]
    pub fn replicate(pair: &ReplicationPair, transfer: Transfer) -> Self {
        Self::Replicate { source: pair.source.clone(), target: pair.counterpart(), transfer }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Inspect { .. } => JobKind::Inspect,
            Self::Backup { .. } => JobKind::Backup,
            Self::Restore { .. } => JobKind::Restore,
            Self::Replicate { .. } => JobKind::Replicate,
            Self::Verify { .. } => JobKind::Verify,
            Self::Power { .. } => JobKind::Power,
            Self::FanOut { .. } => JobKind::FanOut,
        }
    }

    /// How urgent it is by nature.
    #[must_use]
    pub fn class(&self) -> JobClass {
        match self {
            Self::Restore { .. } | Self::Power { .. } => JobClass::Critical,
            Self::Backup { .. }
            | Self::Replicate { .. }
            | Self::Inspect { .. }
            | Self::FanOut { .. } => JobClass::Normal,
            Self::Verify { .. } => JobClass::Bulk,
        }
    }

    /// The VM that the job changes or reads on a host, whose lock and guard it needs; of a replication
    /// the source.
    #[must_use]
    pub fn vm(&self) -> Option<&VmRef> {
        match self {
            Self::Backup { vm, .. } | Self::Power { vm, .. } => Some(vm),
            Self::Replicate { source, .. } => Some(source),
            Self::Restore { target, .. } => Some(&target.vm),
            Self::Inspect { .. } | Self::Verify { .. } | Self::FanOut { .. } => None,
        }
    }

    /// The second VM that the job changes: the counterpart of a replication.
    #[must_use]
    pub fn counterpart(&self) -> Option<&VmRef> {
        match self {
            Self::Replicate { target, .. } => Some(&target.vm),
            _ => None,
        }
    }

    /// Where the job restores to.
    #[must_use]
    pub fn restore_target(&self) -> Option<&RestoreTarget> {
        match self {
            Self::Restore { target, .. } | Self::Replicate { target, .. } => Some(target),
            _ => None,
        }
    }

    /// How the job, or each job that it submits, moves data; the default where none is moved.
    #[must_use]
    pub fn transfer(&self) -> Transfer {
        match self {
            Self::Backup { transfer, .. }
            | Self::Restore { transfer, .. }
            | Self::Replicate { transfer, .. }
            | Self::FanOut { transfer, .. } => *transfer,
            Self::Inspect { .. } | Self::Verify { .. } | Self::Power { .. } => Transfer::default(),
        }
    }

    /// The host on which the job works; of a replication the source's, of a fan-out that of its
    /// subject, unless that is a pair.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Inspect { host } => Some(host),
            Self::FanOut { subject, .. } => subject.host(),
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
            Self::Backup { vm, .. } | Self::Power { vm, .. } => vm.to_string(),
            Self::Replicate { source, .. } => source.to_string(),
            Self::Restore { target, .. } => target.vm.to_string(),
            Self::Verify { point } => point.to_string(),
            Self::FanOut { subject: Subject::Host(host), .. } => host.to_string(),
            Self::FanOut { subject, .. } => subject.to_string(),
        }
    }
}
