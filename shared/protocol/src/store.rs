//! The store operations: who may drive a job, decided over rows that an adapter keeps.
//!
//! Each function here is one atomic operation. An adapter that can run them inside a transaction of
//! its own ([`Rows`]) needs no logic at all; one that cannot (scripts inside a server) must answer
//! the same, and the conformance suite compares it with [`Ledger`], the reference.
//!
//! # Rules
//! - **The lock belongs to the job and has no time-out**: a resource is freed by `finish`, by a
//!   `hand_over` that says so, or by an operator; never because a lease ran out.
//! - **The lease belongs to the worker**: when it runs out, `reap` gives the job, with all that it
//!   holds, to the next worker.
//! - A claim takes every resource of the job at once, or none and parks it.
//! - What a worker writes carries its fencing token; a newer claim makes it `Lost`. Tokens grow with
//!   every claim, and with time, so that a store that lost its latest ones gives none of them again.
//!
//! # To add an operation
//! 1. Here: the function over [`Rows`] and its answer. A new method of [`Rows`] goes into [`Ledger`] and into
//!    `rows.rs` of `drs-backend-sqlite`; a new state or event of a job into `drs_model::job::state`.
//! 2. The port: a method of `drs_backend::JobStore`.
//! 3. The adapters: `job_store.rs` of `drs-backend-sqlite`; in `drs-backend-redis` `scripts/NAME.lua`, its name
//!    in `script.rs`, its call in `job_store.rs`, a command that no script used so far in `rights.lua`, and a new
//!    key in the table of its crate docs.
//! 4. The contract, in `drs_backend::conformance`: an arm in `reference.rs`, which holds every adapter against
//!    [`Ledger`], and a check in `job_store.rs` for what random series do not reach.
//! 5. The simulator, if a worker, a scheduler or a person calls it: `Call` and `Reply` of `drs-simulation`, and
//!    both of its stores.

mod claim;
mod drive;
mod lead;
mod ledger;
mod outbox;
mod upkeep;

pub use claim::{ClaimAnswer, CreateAnswer, claim, create};
pub use drive::{
    BeatAnswer, CancelAnswer, Driving, HandOver, Outcome, ReassertAnswer, RefenceAnswer,
    RetryAnswer, SettleAnswer, beat, cancel, finish, hand_over, log_step, reassert, refence, retry,
};
pub use lead::{LeadAnswer, Term, lead, resign};
pub use ledger::Ledger;
pub use outbox::{prune, recorded, settled};
pub use upkeep::{bury, published, reap, sweep, unclaimed_since};

use drs_model::{
    FencingToken, IllegalTransition, Job, JobClass, JobId, JobSpec, JobState, Lane, Need, Resource,
    Timestamp, TraceContext,
};
use serde::{Deserialize, Serialize};

/// What a queue carries: everything needed to make the record again if the store lost it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// The job.
    pub id: JobId,
    /// What is to be done.
    pub spec: JobSpec,
    /// How urgent it is.
    pub class: JobClass,
    /// Which workers may take it.
    #[serde(default)]
    pub lane: Lane,
    /// What it must have.
    pub needs: Vec<Need>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The span under which it was submitted.
    #[serde(default)]
    pub trace: Option<TraceContext>,
}

impl From<&Job> for JobMessage {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            spec: job.spec.clone(),
            class: job.class,
            lane: job.lane.clone(),
            needs: job.needs.clone(),
            created_at: job.created_at,
            trace: job.trace.clone(),
        }
    }
}

impl JobMessage {
    /// The record that it makes where there is none. The submitter's clock may be ahead: it is claimable
    /// now all the same.
    fn record(&self, now: Timestamp) -> Job {
        Job {
            class: self.class,
            lane: self.lane.clone(),
            trace: self.trace.clone(),
            state: JobState::Queued { not_before: self.created_at.min(now) },
            ..Job::new(self.id, self.spec.clone(), self.needs.clone(), self.created_at)
        }
    }
}

/// The rows that an adapter keeps. Every call belongs to the transaction of one operation.
pub trait Rows {
    /// What may go wrong in the adapter.
    type Error: From<IllegalTransition>;

    /// A job's record.
    ///
    /// # Errors
    /// The adapter failed; so for every method.
    fn job(&mut self, id: JobId) -> Result<Option<Job>, Self::Error>;

    /// Writes a job's record, new or changed.
    fn put(&mut self, job: &Job) -> Result<(), Self::Error>;

    /// The jobs that hold a resource.
    fn holders(&mut self, resource: &Resource) -> Result<Vec<JobId>, Self::Error>;

    /// Notes that a job holds a resource; noted twice is noted once.
    fn hold(&mut self, resource: &Resource, job: JobId) -> Result<(), Self::Error>;

    /// Notes that a job holds nothing any more.
    fn release_all(&mut self, job: JobId) -> Result<(), Self::Error>;

    /// The jobs parked on a resource, the best first (class, then age, then id), at most `limit`.
    fn waiters(&mut self, resource: &Resource, limit: usize) -> Result<Vec<JobId>, Self::Error>;

    /// A token larger than every one before and larger than `above`.
    fn next_fence(&mut self, above: FencingToken) -> Result<FencingToken, Self::Error>;

    /// Jobs whose lease ran out at or before `now`, at most `limit`.
    fn lapsed(&mut self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error>;

    /// Jobs that a worker has a lease on.
    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>, Self::Error>;

    /// Jobs that may be claimed at `now` and whose message was published never or is
    /// [unclaimed](unclaimed_since) since `stale` or longer, the best first, at most `limit`.
    fn owed(
        &mut self,
        now: Timestamp,
        stale: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, Self::Error>;

    /// Resources that some job is parked on.
    fn awaited(&mut self) -> Result<Vec<Resource>, Self::Error>;

    /// The latest term of a leader.
    fn term(&mut self) -> Result<Option<Term>, Self::Error>;

    /// Writes the latest term of a leader.
    fn put_term(&mut self, term: &Term) -> Result<(), Self::Error>;

    /// Jobs that are over and not recorded, by the time of their end and then by id, at most `limit`.
    fn unrecorded(&mut self, limit: usize) -> Result<Vec<JobId>, Self::Error>;

    /// Notes that a job that is over is recorded; noted twice is noted once.
    fn put_recorded(&mut self, id: JobId) -> Result<(), Self::Error>;

    /// Jobs that are recorded and ended before a time, by the time of their end and then by id, at most
    /// `limit`.
    fn forgettable(&mut self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error>;

    /// Removes a job's record with all that belongs to it.
    fn forget(&mut self, id: JobId) -> Result<(), Self::Error>;
}

/// Makes as many waiters of a resource claimable as there are free places.
fn wake<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    need: &Need,
    except: Option<JobId>,
) -> Result<Vec<Job>, R::Error> {
    let held = rows.holders(&need.resource)?.len();
    let free = (need.capacity as usize).saturating_sub(held);
    if free == 0 {
        return Ok(Vec::new());
    }
    let mut woken = Vec::new();
    for id in rows.waiters(&need.resource, free + 1)? {
        if Some(id) == except || woken.len() == free {
            continue;
        }
        if let Some(mut job) = rows.job(id)? {
            job.state = job.state.apply(drs_model::JobEvent::Wake { at: now })?;
            job.updated_at = now;
            job.published_at = Some(now);
            rows.put(&job)?;
            woken.push(job);
        }
    }
    Ok(woken)
}

/// Frees everything a job holds but what is `kept`, and wakes who waits for it. The caller has written
/// the job itself.
fn release<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    job: &Job,
    kept: &[Need],
) -> Result<Vec<Job>, R::Error> {
    rows.release_all(job.id)?;
    for need in kept {
        rows.hold(&need.resource, job.id)?;
    }
    let mut woken = Vec::new();
    for need in job.needs.iter().filter(|need| !kept.contains(need)) {
        woken.extend(wake(rows, now, need, Some(job.id))?);
    }
    Ok(woken)
}

#[cfg(test)]
mod tests;
