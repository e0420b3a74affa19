//! Schedules: what is to be done again and again, and when.

pub mod calendar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostName, JobId, PairName, ScheduleName, Timestamp, Transfer, VmRef};

pub use calendar::{Calendar, InvalidCalendar};

/// What a schedule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One VM.
    Vm(VmRef),
    /// A pair: its protected VM, and for a replication its counterpart.
    Pair(PairName),
    /// Every VM that a host has at the time.
    Host(HostName),
}

impl Subject {
    /// Its host; of a pair none.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Vm(vm) => Some(&vm.host),
            Self::Host(host) => Some(host),
            Self::Pair(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(vm) => vm.fmt(f),
            Self::Pair(pair) => write!(f, "pair {pair}"),
            Self::Host(host) => write!(f, "host {host}"),
        }
    }
}

/// What is done with the subject of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A recovery point is made of each VM.
    Backup,
    /// For each pair: a recovery point is made of its source, and the counterpart brought up to date.
    Replicate,
    /// The latest good recovery point of each VM is read again and compared with its manifest. Of a
    /// host: of each VM of which there is a point, on the host now or not.
    Verify,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Replicate, Self::Verify];

    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Replicate => "replicate",
            Self::Verify => "verify",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Work {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || format!("{text:?} is no work; known: backup, replicate, verify");
        Self::ALL.into_iter().find(|work| work.as_str() == text).ok_or_else(known)
    }
}

/// Work that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What the operator calls it; unique.
    pub name: ScheduleName,
    /// What it is about.
    pub subject: Subject,
    /// What is done with it.
    pub work: Work,
    /// When.
    pub calendar: Calendar,
    /// How content is moved.
    #[serde(default)]
    pub transfer: Transfer,
    /// Nothing is due while it is paused.
    #[serde(default)]
    pub paused: bool,
    /// Times at or before this one are never due: when it was made, changed or resumed.
    pub counts_from: Timestamp,
}

/// What became of a time at which a schedule was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FireOutcome {
    /// Its job was submitted.
    Submitted,
    /// The run before it was not over yet.
    Skipped,
}

/// The latest time at which a schedule was due, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// The time that the calendar names, not the time at which it was noticed.
    pub at: Timestamp,
    /// The run's job; of a time that was skipped the job of the run that was still going on.
    pub job: JobId,
    /// What became of it.
    pub outcome: FireOutcome,
}

impl Fire {
    /// The id of the job of a run. It follows from the schedule and the time alone, so that whoever
    /// submits it, and however often, there is one job.
    #[must_use]
    pub fn job_id(schedule: &ScheduleName, at: Timestamp) -> JobId {
        JobId::from_key(&format!("schedule {schedule} {at}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_job_whoever_submits_it() {
        let nightly: ScheduleName = "nightly".parse().expect("a name");
        let weekly: ScheduleName = "weekly".parse().expect("a name");
        let (one, two) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        assert_eq!(Fire::job_id(&nightly, one), Fire::job_id(&nightly, one));
        assert_ne!(Fire::job_id(&nightly, one), Fire::job_id(&nightly, two));
        assert_ne!(Fire::job_id(&nightly, one), Fire::job_id(&weekly, one));
    }
}
