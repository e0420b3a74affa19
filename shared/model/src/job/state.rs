//! The states of a job and the one function that changes them.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> queued
//!     queued --> claimed: claim
//!     queued --> parked: park
//!     queued --> cancelled: cancel
//!     parked --> claimed: claim
//!     parked --> parked: park
//!     parked --> queued: wake
//!     parked --> cancelled: cancel
//!     retry_wait --> claimed: claim
//!     retry_wait --> parked: park
//!     retry_wait --> queued: wake
//!     retry_wait --> cancelled: cancel
//!     claimed --> claimed: renew
//!     claimed --> running: accept
//!     claimed --> queued: release
//!     claimed --> retry_wait: retry
//!     claimed --> cancelling: ask_cancel
//!     claimed --> succeeded: succeed
//!     claimed --> failed: fail
//!     claimed --> cancelled: cancel
//!     claimed --> needs_operator: ask_operator
//!     running --> running: renew
//!     running --> running: accept
//!     running --> queued: release
//!     running --> retry_wait: retry
//!     running --> cancelling: ask_cancel
//!     running --> succeeded: succeed
//!     running --> failed: fail
//!     running --> cancelled: cancel
//!     running --> needs_operator: ask_operator
//!     cancelling --> cancelling: renew
//!     cancelling --> cancelling: accept
//!     cancelling --> cancelling: ask_cancel
//!     cancelling --> queued: release
//!     cancelling --> retry_wait: retry
//!     cancelling --> succeeded: succeed
//!     cancelling --> failed: fail
//!     cancelling --> cancelled: cancel
//!     cancelling --> needs_operator: ask_operator
//!     needs_operator --> queued: wake
//!     succeeded --> [*]
//!     failed --> [*]
//!     cancelled --> [*]
//! ```
//!
//! A job that was never claimed is cancelled at once. A job that may have left something on a host
//! is cancelled by a worker: it goes back to `queued` with the request on its record, and the
//! worker that claims it takes everything back before it finishes the job as `cancelled`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Resource, Timestamp};

/// A worker's exclusive right to drive a job until a time. It says who drives, never what may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker.
    pub worker: String,
    /// Until when, unless renewed.
    pub until: Timestamp,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker; `sweep` and `wake` publish it, `claim` moves it on.
    Queued {
        /// Not to be claimed before this time.
        not_before: Timestamp,
    },
    /// Waits for a resource that others hold; `wake` moves it on when the resource is free.
    Parked {
        /// The resource.
        resource: Resource,
        /// Since when.
        since: Timestamp,
    },
    /// Waits for its next attempt.
    RetryWait {
        /// Not to be claimed before this time.
        until: Timestamp,
    },
    /// A worker has it and asks the host.
    Claimed(Lease),
    /// The host has accepted it.
    Running(Lease),
    /// A worker has it and takes back what was done.
    Cancelling(Lease),
    /// Only a person can decide; it keeps its resources. `drs job cancel` moves it on.
    NeedsOperator,
    /// Done.
    Succeeded,
    /// Not done, and never will be.
    Failed,
    /// Cancelled by a person.
    Cancelled,
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// A worker takes it.
    Claim(Lease),
    /// A resource is held by others.
    Park {
        /// The resource.
        resource: Resource,
        /// When.
        since: Timestamp,
    },
    /// It may be claimed again: its resource is free, its wait is over, or a person decided.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// The worker renews its lease.
    Renew(Lease),
    /// The host accepted the work.
    Accept,
    /// The driver is gone or hands it over; the work may go on at the host.
    Release {
        /// Not to be claimed before this time.
        not_before: Timestamp,
    },
    /// An attempt ended with a fault that may pass.
    Retry {
        /// Not to be claimed before this time.
        until: Timestamp,
    },
    /// A person asks to cancel what a worker drives.
    AskCancel,
    /// Finished: done.
    Succeed,
    /// Finished: failed.
    Fail,
    /// Finished: cancelled.
    Cancel,
    /// Only a person can decide.
    AskOperator,
}

impl JobEvent {
    /// Its name, as in the diagram.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Park { .. } => "park",
            Self::Wake { .. } => "wake",
            Self::Renew(_) => "renew",
            Self::Accept => "accept",
            Self::Release { .. } => "release",
            Self::Retry { .. } => "retry",
            Self::AskCancel => "ask_cancel",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Cancel => "cancel",
            Self::AskOperator => "ask_operator",
        }
    }
}

/// An event that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot take the event {event}")]
pub struct IllegalTransition {
    /// The state's name.
    pub state: Phase,
    /// The event's name.
    pub event: &'static str,
}

/// The name of a state, without its data: what people and filters see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// See [`JobState::Queued`].
    Queued,
    /// See [`JobState::Parked`].
    Parked,
    /// See [`JobState::RetryWait`].
    RetryWait,
    /// See [`JobState::Claimed`].
    Claimed,
    /// See [`JobState::Running`].
    Running,
    /// See [`JobState::Cancelling`].
    Cancelling,
    /// See [`JobState::NeedsOperator`].
    NeedsOperator,
    /// See [`JobState::Succeeded`].
    Succeeded,
    /// See [`JobState::Failed`].
    Failed,
    /// See [`JobState::Cancelled`].
    Cancelled,
}

impl Phase {
    /// Every phase, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Parked,
        Self::RetryWait,
        Self::Claimed,
        Self::Running,
        Self::Cancelling,
        Self::NeedsOperator,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parked => "parked",
            Self::RetryWait => "retry_wait",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::NeedsOperator => "needs_operator",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JobState {
    /// The state's name.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Queued { .. } => Phase::Queued,
            Self::Parked { .. } => Phase::Parked,
            Self::RetryWait { .. } => Phase::RetryWait,
            Self::Claimed(_) => Phase::Claimed,
            Self::Running(_) => Phase::Running,
            Self::Cancelling(_) => Phase::Cancelling,
            Self::NeedsOperator => Phase::NeedsOperator,
            Self::Succeeded => Phase::Succeeded,
            Self::Failed => Phase::Failed,
            Self::Cancelled => Phase::Cancelled,
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.phase().is_terminal()
    }

    /// The lease, while a worker has the job.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Claimed(lease) | Self::Running(lease) | Self::Cancelling(lease) => Some(lease),
            _ => None,
        }
    }

    /// The state after an event. The only place where a job's state changes.
    ///
    /// # Errors
    /// The event is not allowed in this state.
    pub fn apply(&self, event: JobEvent) -> Result<Self, IllegalTransition> {
        use JobEvent as E;
        let illegal = IllegalTransition { state: self.phase(), event: event.name() };
        match (self, event) {
            (
                Self::Queued { .. } | Self::Parked { .. } | Self::RetryWait { .. },
                E::Claim(lease),
            ) => Ok(Self::Claimed(lease)),
            (
                Self::Queued { .. } | Self::Parked { .. } | Self::RetryWait { .. },
                E::Park { resource, since },
            ) => Ok(Self::Parked { resource, since }),
            (
                Self::Parked { .. } | Self::RetryWait { .. } | Self::NeedsOperator,
                E::Wake { at },
            ) => Ok(Self::Queued { not_before: at }),
            (Self::Queued { .. } | Self::Parked { .. } | Self::RetryWait { .. }, E::Cancel) => {
                Ok(Self::Cancelled)
            }
            (Self::Claimed(_), E::Renew(lease)) => Ok(Self::Claimed(lease)),
            (Self::Running(_), E::Renew(lease)) => Ok(Self::Running(lease)),
            (Self::Cancelling(_), E::Renew(lease)) => Ok(Self::Cancelling(lease)),
            (Self::Claimed(lease) | Self::Running(lease), E::Accept) => {
                Ok(Self::Running(lease.clone()))
            }
            (Self::Cancelling(lease), E::Accept) => Ok(Self::Cancelling(lease.clone())),
            (
                Self::Claimed(lease) | Self::Running(lease) | Self::Cancelling(lease),
                E::AskCancel,
            ) => Ok(Self::Cancelling(lease.clone())),
            (Self::Claimed(_) | Self::Running(_) | Self::Cancelling(_), event) => match event {
                E::Release { not_before } => Ok(Self::Queued { not_before }),
                E::Retry { until } => Ok(Self::RetryWait { until }),
                E::Succeed => Ok(Self::Succeeded),
                E::Fail => Ok(Self::Failed),
                E::Cancel => Ok(Self::Cancelled),
                E::AskOperator => Ok(Self::NeedsOperator),
                E::Claim(_)
                | E::Park { .. }
                | E::Wake { .. }
                | E::Renew(_)
                | E::Accept
                | E::AskCancel => Err(illegal),
            },
            (
                Self::Queued { .. }
                | Self::Parked { .. }
                | Self::RetryWait { .. }
                | Self::NeedsOperator
                | Self::Succeeded
                | Self::Failed
                | Self::Cancelled,
                _,
            ) => Err(illegal),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lease() -> Lease {
        Lease { worker: "w1".into(), until: Timestamp::UNIX_EPOCH }
    }

    fn resource() -> Resource {
        Resource::HostSlot("dc".parse().expect("a name"))
    }

    fn states() -> Vec<JobState> {
        let at = Timestamp::UNIX_EPOCH;
        vec![
            JobState::Queued { not_before: at },
            JobState::Parked { resource: resource(), since: at },
            JobState::RetryWait { until: at },
            JobState::Claimed(lease()),
            JobState::Running(lease()),
            JobState::Cancelling(lease()),
            JobState::NeedsOperator,
            JobState::Succeeded,
            JobState::Failed,
            JobState::Cancelled,
        ]
    }

    fn events() -> Vec<JobEvent> {
        let at = Timestamp::UNIX_EPOCH;
        vec![
            JobEvent::Claim(lease()),
            JobEvent::Park { resource: resource(), since: at },
            JobEvent::Wake { at },
            JobEvent::Renew(lease()),
            JobEvent::Accept,
            JobEvent::Release { not_before: at },
            JobEvent::Retry { until: at },
            JobEvent::AskCancel,
            JobEvent::Succeed,
            JobEvent::Fail,
            JobEvent::Cancel,
            JobEvent::AskOperator,
        ]
    }

    fn drawn() -> BTreeSet<String> {
        include_str!("state.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//!     "))
            .filter(|line| line.contains("-->") && line.contains(':'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_diagram_in_the_docs_is_the_code() {
        let mut coded = BTreeSet::new();
        for state in states() {
            for event in events() {
                let name = event.name();
                if let Ok(next) = state.apply(event) {
                    coded.insert(format!("{} --> {}: {name}", state.phase(), next.phase()));
                }
            }
        }
        assert_eq!(coded, drawn());
    }

    #[test]
    fn every_phase_has_a_state_and_a_finished_job_never_changes() {
        let phases: Vec<Phase> = states().iter().map(JobState::phase).collect();
        assert_eq!(phases, Phase::ALL);
        for state in states().iter().filter(|state| state.is_terminal()) {
            for event in events() {
                assert!(state.apply(event).is_err());
            }
        }
    }
}
