//! The exit codes of `drs`: one table, one exhaustive match.

use drs_model::FaultCode;

/// How the process ends. The codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Internal,
    Usage,
    NotFound,
    InUse,
    Unreachable,
    Refused,
    JobFailed,
    JobCancelled,
    NeedsOperator,
    DataDir,
    PointDamaged,
    NoSpace,
    NothingDone,
    Interrupted,
}

impl Exit {
    /// Every exit, by code.
    pub(crate) const ALL: [Self; 15] = [
        Self::Success,
        Self::Internal,
        Self::Usage,
        Self::NotFound,
        Self::InUse,
        Self::Unreachable,
        Self::Refused,
        Self::JobFailed,
        Self::JobCancelled,
        Self::NeedsOperator,
        Self::DataDir,
        Self::PointDamaged,
        Self::NoSpace,
        Self::NothingDone,
        Self::Interrupted,
    ];

    /// The code, and what it means.
    fn row(self) -> (u8, &'static str) {
        match self {
            Self::Success => (0, "done"),
            Self::Internal => (1, "a defect of drs"),
            Self::Usage => {
                (2, "wrong usage, input or configuration, a server refuses; nothing was done")
            }
            Self::NotFound => {
                (3, "no such host, site, VM, point, pair, schedule, job or dead letter")
            }
            Self::InUse => (4, "exists already, is in use, or runs already"),
            Self::Unreachable => (5, "a host cannot be reached"),
            Self::Refused => (6, "a host refused: its key, our login, missing rights or tools"),
            Self::JobFailed => (7, "the job failed (11 and 12 say why, where they fit)"),
            Self::JobCancelled => (8, "the job was cancelled"),
            Self::NeedsOperator => (9, "the job waits for a decision"),
            Self::DataDir => {
                (10, "data directory, vault or a server: missing, away, newer or unusable")
            }
            Self::PointDamaged => (11, "a recovery point or an archive is damaged"),
            Self::NoSpace => (12, "no space left on a host, on this machine or in the vault"),
            Self::NothingDone => {
                (75, "no job came in time, it waits for its next attempt, or a server is away")
            }
            Self::Interrupted => (130, "interrupted; an unfinished job goes on later"),
        }
    }

    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        self.row().0
    }

    /// What it means, for the help.
    pub(crate) fn meaning(self) -> &'static str {
        self.row().1
    }

    /// How a command ends that meets this fault.
    pub(crate) fn of(code: FaultCode) -> Self {
        use FaultCode as F;
        match code {
            F::InvalidInput | F::InvalidConfig => Self::Usage,
            F::HostNotFound
            | F::SiteNotFound
            | F::VmNotFound
            | F::PointNotFound
            | F::PairNotFound
            | F::ScheduleNotFound
            | F::JobNotFound
            | F::DeadLetterNotFound => Self::NotFound,
            F::AlreadyExists | F::InUse | F::VmBusy | F::AlreadyRunning => Self::InUse,
            F::HostUnreachable => Self::Unreachable,
            F::HostKeyUnknown
            | F::HostKeyChanged
            | F::AuthenticationFailed
            | F::PermissionDenied
            | F::Unsupported => Self::Refused,
            F::HypervisorFailed | F::Fenced | F::Vanished | F::AttemptsExhausted => Self::JobFailed,
            F::Cancelled => Self::JobCancelled,
            F::VaultFailed
            | F::SpoolFailed
            | F::StoreFailed
            | F::DataTooNew
            | F::NotInitialised => Self::DataDir,
            F::PointDamaged | F::ArchiveDamaged => Self::PointDamaged,
            F::HostFull | F::VaultFull | F::DiskFull => Self::NoSpace,
            F::Internal => Self::Internal,
        }
    }

    /// How a command ends whose job failed with this fault.
    pub(crate) fn of_job(code: FaultCode) -> Self {
        match Self::of(code) {
            exit @ (Self::PointDamaged | Self::NoSpace) => exit,
            _ => Self::JobFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 75, 130]);
    }

    #[test]
    fn a_failed_job_ends_as_failed_unless_space_or_damage_is_the_reason() {
        assert_eq!(Exit::of_job(FaultCode::HostUnreachable), Exit::JobFailed);
        assert_eq!(Exit::of_job(FaultCode::VaultFull), Exit::NoSpace);
        assert_eq!(Exit::of_job(FaultCode::PointDamaged), Exit::PointDamaged);
        assert_eq!(Exit::of(FaultCode::HostUnreachable), Exit::Unreachable);
    }
}
