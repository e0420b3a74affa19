//! The vocabulary of the host guard: what a host is asked and what it answers.
//!
//! The guard is the lock that counts: it lives on the hypervisor host, admits one job per VM,
//! refuses commands of an older claim and remembers how a job's detached commands ended. Its rules
//! are the pure function `drs_protocol::guard`; its real form is a shell script that
//! `drs-transport` sends.

use serde::{Deserialize, Serialize};

use crate::{JobId, VmRef};

/// The number of a claim, growing with every claim of any job. A host refuses a guarded command
/// that carries a smaller one than it has seen for that VM.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asks: every command that changes a VM on a host carries this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grip {
    /// The job on whose behalf the command runs.
    pub job: JobId,
    /// The claim under which it runs.
    pub fence: FencingToken,
    /// The VM that the command is about; it also names the host.
    pub vm: VmRef,
}

/// What the guard answers to a request to start or hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardAnswer {
    /// The command was started, or the hold was taken, now.
    Started,
    /// The same command of the same job runs already; nothing was started.
    Attached,
    /// That command ended earlier with this status; nothing was started.
    Exit(GuardExit),
    /// Another job has the VM on this host.
    Busy(JobId),
    /// The host has seen this newer fencing token for the VM.
    Stale(FencingToken),
}

/// How a guarded command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardExit {
    /// The command's exit code.
    Code(i32),
    /// Cancelled before or while it ran; it cannot start any more.
    Cancelled,
}

/// What the guard knows of a detached command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardStatus {
    /// It runs.
    Running,
    /// It ended.
    Exit(GuardExit),
    /// It was started during this boot, does not run and left no exit status: it was killed.
    Vanished,
    /// It was started before the host's last boot and left no exit status.
    Rebooted,
    /// The host has no record of it.
    Unknown,
}
