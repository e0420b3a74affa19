//! The port that tells other programs what happens to jobs.

use async_trait::async_trait;
use drs_model::{Fault, Job, JobId, JobKind, Phase, Progress, Timestamp};
use serde::{Deserialize, Serialize};

use crate::BackendError;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// The job.
    pub job: JobId,
    /// What kind of job it is.
    pub kind: JobKind,
    /// What it is about: `host/vm`, a host or a point.
    pub subject: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "happening", rename_all = "snake_case")]
pub enum Happening {
    /// It was submitted.
    Submitted,
    /// A worker began an attempt.
    Started {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// It moves on.
    Progress(Progress),
    /// It is over.
    Ended {
        /// As what: succeeded, failed or cancelled.
        phase: Phase,
        /// Why, when it failed.
        fault: Option<Fault>,
    },
}

impl Announcement {
    /// Something that happened to a job.
    #[must_use]
    pub fn of(job: &Job, at: Timestamp, what: Happening) -> Self {
        Self { job: job.id, kind: job.spec.kind(), subject: job.spec.subject(), at, what }
    }
}

/// Tells other programs. Each end of a job is told at least once; everything else may be lost.
#[async_trait]
pub trait Feed: Send + Sync {
    /// Tells; when it returns the adapter has it.
    ///
    /// # Errors
    /// The adapter failed; it may or may not be told.
    async fn announce(&self, announcement: &Announcement) -> Result<(), BackendError>;
}
