//! The port to the job records. What each operation does is written once, in `drs_protocol::store`.

use async_trait::async_trait;
use drs_model::{FencingToken, Job, JobId, Phase, Resource, SignedDuration, StepRecord, Timestamp};
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Driving, HandOver, JobMessage, LeadAnswer,
    Outcome, ReassertAnswer, RefenceAnswer, RetryAnswer, SettleAnswer,
};

use crate::BackendError;

/// Which jobs to list; newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// Only these phases; empty means all.
    pub phases: Vec<Phase>,
    /// Only jobs about this VM, written `host/vm`, or this host.
    pub subject: Option<String>,
    /// Only jobs older than this one: the cursor for the next page.
    pub before: Option<JobId>,
    /// At most this many; [`JobFilter::LIMIT_MAX`] is the largest.
    pub limit: usize,
}

impl JobFilter {
    /// Largest page.
    pub const LIMIT_MAX: usize = 1000;
}

impl Default for JobFilter {
    fn default() -> Self {
        Self { phases: Vec::new(), subject: None, before: None, limit: 50 }
    }
}

/// What a parked job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The resource.
    pub resource: Resource,
    /// The jobs that hold it.
    pub holders: Vec<JobId>,
    /// The job's place among the waiters, from 1.
    pub position: usize,
    /// How many wait.
    pub waiters: usize,
}

/// Job records, leases and resources. Every operation is atomic and durable when it returns.
///
/// For every method: the error is [`BackendError::Unavailable`] when the store cannot be reached, and
/// nothing was changed then or the change is complete.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// See [`drs_protocol::store::create`].
    async fn create(&self, job: &Job) -> Result<CreateAnswer, BackendError>;

    /// See [`drs_protocol::store::claim`].
    async fn claim(
        &self,
        now: Timestamp,
        message: &JobMessage,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ClaimAnswer, BackendError>;

    /// See [`drs_protocol::store::beat`].
    async fn beat(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        ttl: SignedDuration,
        accepted: bool,
    ) -> Result<BeatAnswer, BackendError>;

    /// See [`drs_protocol::store::log_step`].
    async fn log_step(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        record: &StepRecord,
    ) -> Result<BeatAnswer, BackendError>;

    /// See [`drs_protocol::store::reassert`].
    async fn reassert(
        &self,
        now: Timestamp,
        known: &Job,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ReassertAnswer, BackendError>;

    /// See [`drs_protocol::store::refence`].
    async fn refence(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        seen: FencingToken,
    ) -> Result<RefenceAnswer, BackendError>;

    /// See [`drs_protocol::store::finish`].
    async fn finish(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        outcome: &Outcome,
    ) -> Result<SettleAnswer, BackendError>;

    /// See [`drs_protocol::store::hand_over`].
    async fn hand_over(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        how: &HandOver,
    ) -> Result<SettleAnswer, BackendError>;

    /// See [`drs_protocol::store::cancel`].
    async fn cancel(&self, now: Timestamp, id: JobId) -> Result<CancelAnswer, BackendError>;

    /// See [`drs_protocol::store::retry`].
    async fn retry(&self, now: Timestamp, id: JobId) -> Result<RetryAnswer, BackendError>;

    /// See [`drs_protocol::store::published`].
    async fn published(&self, now: Timestamp, id: JobId) -> Result<(), BackendError>;

    /// See [`drs_protocol::store::reap`].
    async fn reap(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, BackendError>;

    /// See [`drs_protocol::store::sweep`].
    async fn sweep(
        &self,
        now: Timestamp,
        stale: SignedDuration,
        limit: usize,
    ) -> Result<Vec<Job>, BackendError>;

    /// See [`drs_protocol::store::bury`].
    async fn bury(&self, now: Timestamp, worker: &str) -> Result<usize, BackendError>;

    /// See [`drs_protocol::store::lead`].
    async fn lead(
        &self,
        now: Timestamp,
        candidate: &str,
        ttl: SignedDuration,
    ) -> Result<LeadAnswer, BackendError>;

    /// See [`drs_protocol::store::resign`].
    async fn resign(&self, now: Timestamp, candidate: &str) -> Result<(), BackendError>;

    /// See [`drs_protocol::store::settled`].
    async fn settled(&self, limit: usize) -> Result<Vec<Job>, BackendError>;

    /// See [`drs_protocol::store::recorded`].
    async fn recorded(&self, id: JobId) -> Result<(), BackendError>;

    /// See [`drs_protocol::store::prune`].
    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, BackendError>;

    /// How many jobs are parked on each resource, at most `limit` resources, the most awaited first.
    async fn waiting(&self, limit: usize) -> Result<Vec<(Resource, usize)>, BackendError>;

    /// How many jobs are in a phase.
    async fn count(&self, phase: Phase) -> Result<usize, BackendError>;

    /// One record.
    async fn get(&self, id: JobId) -> Result<Option<Job>, BackendError>;

    /// Records, newest first.
    async fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError>;

    /// What a parked job waits for; `None` when it is not parked.
    async fn wait_of(&self, id: JobId) -> Result<Option<Wait>, BackendError>;
}
