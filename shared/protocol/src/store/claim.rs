//! `create` and `claim`: how a job enters the store and how a worker takes it.

use drs_model::job::state::Lease;
use drs_model::{
    FencingToken, Job, JobEvent, JobId, JobState, Need, Phase, Resource, SignedDuration, Timestamp,
};

use super::{JobMessage, Rows, release};

/// What `create` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateAnswer {
    /// The record is there now.
    Created,
    /// There was one already; this is it, unchanged.
    Exists(Box<Job>),
}

/// What `claim` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The worker drives the job: under this token, with this attempt, holding all it needs.
    Claimed(Box<Job>),
    /// Another worker has it.
    Leased {
        /// Which.
        worker: String,
    },
    /// A resource is held by others; the job waits for it. Jobs in `woken` can run meanwhile.
    Parked {
        /// The resource.
        resource: Resource,
        /// Who holds it.
        holders: Vec<JobId>,
        /// Jobs to publish.
        woken: Vec<Job>,
    },
    /// It waits for a time or for a person; the message is not needed.
    Waiting,
    /// It is over.
    Done(Phase),
}

/// Makes the record of a job, unless there is one.
///
/// # Errors
/// The adapter failed.
pub fn create<R: Rows>(rows: &mut R, job: &Job) -> Result<CreateAnswer, R::Error> {
    if let Some(existing) = rows.job(job.id)? {
        return Ok(CreateAnswer::Exists(Box::new(existing)));
    }
    rows.put(job)?;
    Ok(CreateAnswer::Created)
}

/// Gives the job to a worker, with everything it needs, or says why not. A job that the store does
/// not know is made again from its message.
///
/// # Errors
/// The adapter failed.
pub fn claim<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    message: &JobMessage,
    worker: &str,
    ttl: SignedDuration,
) -> Result<ClaimAnswer, R::Error> {
    let job = rows.job(message.id)?.unwrap_or_else(|| message.record(now));
    match &job.state {
        state if state.is_terminal() => return Ok(ClaimAnswer::Done(state.phase())),
        JobState::Claimed(lease) | JobState::Running(lease) | JobState::Cancelling(lease) => {
            return Ok(ClaimAnswer::Leased { worker: lease.worker.clone() });
        }
        JobState::Queued { not_before: until } | JobState::RetryWait { until } if *until > now => {
            return Ok(ClaimAnswer::Waiting);
        }
        JobState::NeedsOperator => return Ok(ClaimAnswer::Waiting),
        _ => {}
    }
    if let Some((blocked, holders)) = first_busy(rows, &job)? {
        return park(rows, now, job, &blocked, holders);
    }
    take(rows, now, job, Lease { worker: worker.to_owned(), until: now + ttl })
}

/// The first need of a job that others fill up, and who they are.
fn first_busy<R: Rows>(rows: &mut R, job: &Job) -> Result<Option<(Need, Vec<JobId>)>, R::Error> {
    for need in &job.needs {
        let holders = rows.holders(&need.resource)?;
        if !holders.contains(&job.id) && holders.len() >= need.capacity as usize {
            return Ok(Some((need.clone(), holders)));
        }
    }
    Ok(None)
}

/// The least token of a claim made now. A store that lost its latest tokens gives none of them a second
/// time: hosts could not tell the two claims apart.
fn token_of(now: Timestamp) -> FencingToken {
    FencingToken(u64::try_from(now.as_millisecond()).unwrap_or_default())
}

fn take<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    mut job: Job,
    lease: Lease,
) -> Result<ClaimAnswer, R::Error> {
    for need in &job.needs {
        rows.hold(&need.resource, job.id)?;
    }
    job.state = job.state.apply(JobEvent::Claim(lease))?;
    job.fence = rows.next_fence(job.fence.max(token_of(now)))?;
    job.attempt += 1;
    job.updated_at = now;
    job.started_at.get_or_insert(now);
    rows.put(&job)?;
    Ok(ClaimAnswer::Claimed(Box::new(job)))
}

/// Parks a job. What it holds from an earlier claim is given up, since it cannot run now, and offered
/// to who waits for it; but while it waits for a slot it keeps its VMs: its work may lie there.
fn park<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    mut job: Job,
    blocked: &Need,
    holders: Vec<JobId>,
) -> Result<ClaimAnswer, R::Error> {
    let since = match &job.state {
        JobState::Parked { resource, since } if *resource == blocked.resource => *since,
        _ => now,
    };
    let resource = blocked.resource.clone();
    job.state = job.state.apply(JobEvent::Park { resource: resource.clone(), since })?;
    job.updated_at = now;
    rows.put(&job)?;
    let mut kept = Vec::new();
    if !matches!(resource, Resource::Vm(_)) {
        for need in job.needs.iter().filter(|need| matches!(need.resource, Resource::Vm(_))) {
            if rows.holders(&need.resource)?.contains(&job.id) {
                kept.push(need.clone());
            }
        }
    }
    let woken = release(rows, now, &job, &kept)?;
    Ok(ClaimAnswer::Parked { resource, holders, woken })
}
