//! The commands that a simulated host knows.

use std::time::Duration;

use drs_model::JobId;
use drs_transport::Argv;

use super::state::VmState;

const SLEEP: &str = "sim-sleep";
const ABANDON: &str = "sim-abandon-export";

/// A command of a simulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// `sim-sleep MS`: passes time.
    Sleep(Duration),
    /// `sim-abandon-export JOB`: ends the job's export of the VM.
    Abandon(JobId),
    /// Anything else: exit code 127, as a shell answers.
    NotFound,
}

impl Command {
    pub(super) fn parse(parts: &[String]) -> Self {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [SLEEP, ms] => {
                ms.parse().map_or(Self::NotFound, |ms| Self::Sleep(Duration::from_millis(ms)))
            }
            [ABANDON, job] => job.parse().map_or(Self::NotFound, Self::Abandon),
            _ => Self::NotFound,
        }
    }

    /// How long it takes.
    pub(super) fn length(self) -> Duration {
        match self {
            Self::Sleep(length) => length,
            Self::Abandon(_) | Self::NotFound => Duration::ZERO,
        }
    }

    /// Does what it does to a VM and tells its exit code.
    pub(super) fn apply(self, state: &mut VmState) -> i32 {
        match self {
            Self::Sleep(_) => 0,
            Self::Abandon(job) => {
                state.export.take_if(|export| export.job == job);
                0
            }
            Self::NotFound => 127,
        }
    }
}

/// A command that passes time.
pub(super) fn sleep(length: Duration) -> Argv {
    Argv::new(SLEEP).arg(length.as_millis().to_string())
}

/// The command that ends a job's export.
pub(super) fn abandon_export(job: JobId) -> Argv {
    Argv::new(ABANDON).arg(job.to_string())
}
