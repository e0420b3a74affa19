//! Jobs: what is to be done, what it needs, where it stands.

pub mod saga;
pub mod spec;
pub mod state;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Fault, FencingToken, JobSpec, JobState, Lane, Need, StepRecord, Timestamp, TraceContext,
};

/// The id of a job: UUIDv5 of the caller's idempotency key, or UUIDv7 without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

/// Name space of the ids that are made from idempotency keys.
const KEY_SPACE: Uuid = Uuid::from_u128(0x6472_7300_6a6f_4b65_8b79_5370_6163_6531);

impl JobId {
    /// The id that belongs to a caller's idempotency key: the same key is the same job.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self(Uuid::new_v5(&KEY_SPACE, key.as_bytes()))
    }

    /// The id of the job that this one submits for a subject: however often it does, there is one.
    #[must_use]
    pub fn child(self, subject: &str) -> Self {
        Self(Uuid::new_v5(&self.0, subject.as_bytes()))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// How urgent a job is. Waiters of a resource are served by class, then by age.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum JobClass {
    /// Restores and power: somebody waits for a machine.
    Critical,
    /// Backups and what a person asked for.
    #[default]
    Normal,
    /// What can wait: verification.
    Bulk,
}

/// The record of a job: everything a store keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub spec: JobSpec,
    /// How urgent it is.
    pub class: JobClass,
    /// Which workers may take it: the lane of the site of its first host. Default `main`.
    #[serde(default)]
    pub lane: Lane,
    /// What it must have before it may run, at most [`Job::NEEDS_MAX`].
    pub needs: Vec<Need>,
    /// Where it stands.
    pub state: JobState,
    /// Claims so far that count as an attempt.
    pub attempt: u32,
    /// Token of its latest claim.
    pub fence: FencingToken,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The span under which it was submitted: all that is done for it, in whatever process, belongs
    /// to that trace.
    #[serde(default)]
    pub trace: Option<TraceContext>,
    /// When its record changed last.
    pub updated_at: Timestamp,
    /// When a worker first started it.
    pub started_at: Option<Timestamp>,
    /// When a message for its present wait was last published; `None` when it is owed one.
    pub published_at: Option<Timestamp>,
    /// A person asked to cancel it.
    pub cancel_requested: bool,
    /// The saga's log: what was planned, done and undone.
    pub steps: Vec<StepRecord>,
    /// The latest fault: why it failed, or why it is tried again.
    pub fault: Option<Fault>,
}

impl Job {
    /// Most resources that one job may need.
    pub const NEEDS_MAX: usize = 6;

    /// A fresh record, waiting to be claimed.
    #[must_use]
    pub fn new(id: JobId, spec: JobSpec, needs: Vec<Need>, now: Timestamp) -> Self {
        Self {
            id,
            class: spec.class(),
            lane: Lane::default(),
            spec,
            needs,
            state: JobState::Queued { not_before: now },
            attempt: 0,
            fence: FencingToken::default(),
            created_at: now,
            trace: None,
            updated_at: now,
            started_at: None,
            published_at: None,
            cancel_requested: false,
            steps: Vec::new(),
            fault: None,
        }
    }
}
