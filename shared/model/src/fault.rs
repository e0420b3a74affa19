//! What went wrong, classified once near its origin, with words for the operator.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a fault means for the job that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// Somebody else holds what is needed. Try later; the attempt does not count.
    Busy,
    /// May pass by itself. Try again with back-off, up to the attempt limit.
    Transient,
    /// The same request will always fail. Do not retry.
    Permanent,
    /// The job itself cannot be handled by any worker. Do not retry.
    Poison,
    /// Only a person can say what is right. Keep the VM's lock and wait.
    NeedsOperator,
}

/// The stable code of a fault: what scripts compare and what the exit code of `drs` follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The input breaks a rule (a name, an option, a value).
    InvalidInput,
    /// The configuration file breaks rules.
    InvalidConfig,
    /// No host of that name.
    HostNotFound,
    /// No host stands at a site of that name.
    SiteNotFound,
    /// No VM of that name on that host.
    VmNotFound,
    /// No recovery point of that id.
    PointNotFound,
    /// No replication pair of that name.
    PairNotFound,
    /// No schedule of that name.
    ScheduleNotFound,
    /// No job of that id.
    JobNotFound,
    /// No dead letter of that id.
    DeadLetterNotFound,
    /// What is to be created is there already; it is never overwritten.
    AlreadyExists,
    /// It is used by something that has to end or be removed first.
    InUse,
    /// The host did not answer or the connection broke.
    HostUnreachable,
    /// The host's key is not known yet.
    HostKeyUnknown,
    /// The host shows another key than the one pinned.
    HostKeyChanged,
    /// The host refused our key.
    AuthenticationFailed,
    /// Logged in, but not allowed to use the hypervisor or a path.
    PermissionDenied,
    /// A tool or feature that is needed is missing on the host.
    Unsupported,
    /// The hypervisor is busy with this VM.
    VmBusy,
    /// The hypervisor refused or failed a command.
    HypervisorFailed,
    /// No space left on the host.
    HostFull,
    /// No space left in the vault.
    VaultFull,
    /// Reading or writing the vault failed.
    VaultFailed,
    /// A recovery point's content is not what its manifest says.
    PointDamaged,
    /// A file that should be a backup archive is damaged or none.
    ArchiveDamaged,
    /// No space left on this machine.
    DiskFull,
    /// The folder for archives on their way on this machine cannot be used.
    SpoolFailed,
    /// The state store failed.
    StoreFailed,
    /// The data directory was written by a newer version.
    DataTooNew,
    /// Another `drs serve` holds the data directory.
    AlreadyRunning,
    /// There is no data directory; `drs init` makes one.
    NotInitialised,
    /// A newer claim drives this job; this worker stops driving.
    Fenced,
    /// The host lost the work (it rebooted or the process was killed).
    Vanished,
    /// Cancelled by a person.
    Cancelled,
    /// Attempts ran out because workers died during each of them.
    AttemptsExhausted,
    /// A defect of DR Switch.
    Internal,
}

/// Something went wrong: what, why, and what to do about it.
///
/// `Display` prints `message` alone, on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it means for a job.
    pub class: FaultClass,
    /// The stable code.
    pub code: FaultCode,
    /// What happened and why, for an operator; no secret, no source chain repeated.
    pub message: String,
    /// What the operator can do, as an imperative; empty when nothing can be done.
    pub remedy: String,
}

impl Fault {
    /// A fault with its message and remedy.
    pub fn new(
        class: FaultClass,
        code: FaultCode,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { class, code, message: message.into(), remedy: remedy.into() }
    }

    /// A fault that no retry can cure.
    pub fn permanent(
        code: FaultCode,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(FaultClass::Permanent, code, message, remedy)
    }

    /// A fault that may pass by itself.
    pub fn transient(
        code: FaultCode,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(FaultClass::Transient, code, message, remedy)
    }

    /// A file or folder of the spool, where archives lie on their way on this machine, cannot be used. A
    /// full disk is told from everything else: no retry cures it.
    pub fn spool(path: &Path, error: &io::Error) -> Self {
        let message = format!("the spool of this machine: {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::permanent(
                FaultCode::DiskFull,
                message,
                "Free space on the disk of the spool, or move the data directory to a larger one: an \
                 archive must fit. Then give the command again (with another `--key`, if it had one).",
            ),
            _ => Self::transient(
                FaultCode::SpoolFailed,
                message,
                "Check that the disk of the data directory is mounted, sound and writable.",
            ),
        }
    }

    /// A defect of DR Switch itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::permanent(
            FaultCode::Internal,
            message,
            "This is a defect of DR Switch: please report it with the output of `drs job log`.",
        )
    }

    /// Whether trying again later may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.class {
            FaultClass::Busy | FaultClass::Transient => true,
            FaultClass::Permanent | FaultClass::Poison | FaultClass::NeedsOperator => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_is_no_fault_that_passes() {
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let fault = Fault::spool(Path::new("/spool/job"), &full.into());
            assert_eq!((fault.class, fault.code), (FaultClass::Permanent, FaultCode::DiskFull));
            assert!(fault.message.contains("/spool/job") && fault.remedy.contains("Free space"));
        }
        let fault = Fault::spool(Path::new("/spool"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!((fault.class, fault.code), (FaultClass::Transient, FaultCode::SpoolFailed));
    }
}
