//! What the worker that drives a job writes, and the cancel that reaches it.

use drs_model::job::state::Lease;
use drs_model::{
    Fault, FencingToken, Job, JobEvent, JobId, JobState, Need, Phase, Resource, SignedDuration,
    StepMark, StepRecord, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Rows, release};

/// Who writes: the worker and the claim under which it drives.
#[derive(Debug, Clone, Copy)]
pub struct Driving<'a> {
    /// The job.
    pub job: JobId,
    /// The worker.
    pub worker: &'a str,
    /// The claim.
    pub fence: FencingToken,
}

/// What `beat` and `log_step` answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatAnswer {
    /// Noted; the job is still the worker's.
    Kept {
        /// A person asked to cancel the job.
        cancel: bool,
    },
    /// Another claim has it, or nobody: stop driving, never kill.
    Lost,
    /// It is over.
    Done(Phase),
    /// The store does not know the job: reassert it.
    Unknown,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// It failed for good.
    Failed(Fault),
    /// Cancelled, and everything taken back.
    Cancelled,
    /// Only a person can decide; the resources stay with the job.
    NeedsOperator(Fault),
}

/// How a worker gives a job back before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Not to be claimed before this time.
    pub not_before: Timestamp,
    /// Why the attempt ended, when it ended with a fault; `None` when the worker only stops driving.
    pub fault: Option<Fault>,
    /// Whether the resources stay with the job; they must while anything may run on the host.
    pub keep: bool,
    /// Whether the attempt counts.
    pub counts: bool,
}

/// What `finish` and `hand_over` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleAnswer {
    /// Written. Jobs in `woken` are to be published.
    Settled {
        /// Jobs to publish.
        woken: Vec<Job>,
    },
    /// Another claim has it: nothing was written.
    Lost,
    /// It was over already.
    Done(Phase),
    /// The store does not know the job: reassert it.
    Unknown,
}

/// What `refence` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefenceAnswer {
    /// The worker drives on under this token.
    Fenced(FencingToken),
    /// Another claim has it, or it is over.
    Lost,
    /// The store does not know the job: reassert it.
    Unknown,
}

/// What `reassert` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReassertAnswer {
    /// The record is there again and the worker drives it.
    Restored,
    /// There is a record after all.
    Exists,
    /// Another job holds one of its resources: the record is there again, and waits for its turn.
    Conflict(JobId),
}

/// What `cancel` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It had never started and is cancelled now. Jobs in `woken` are to be published.
    Cancelled {
        /// Jobs to publish.
        woken: Vec<Job>,
    },
    /// A worker takes everything back; `publish` is the job when it needs a message for that.
    Asked {
        /// The job to publish, if any.
        publish: Option<Box<Job>>,
    },
    /// It was over already.
    Done(Phase),
    /// No such job.
    Unknown,
}

/// What `retry` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAnswer {
    /// It goes on from its log, with all its attempts before it; this is the job to publish.
    Woken(Box<Job>),
    /// It waits for nobody's decision: this is where it stands.
    NotWaiting(Phase),
    /// No such job.
    Unknown,
}

/// Why a worker may not write.
enum Refusal {
    Lost,
    Done(Phase),
    Unknown,
}

impl From<Refusal> for BeatAnswer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lost => Self::Lost,
            Refusal::Done(phase) => Self::Done(phase),
            Refusal::Unknown => Self::Unknown,
        }
    }
}

impl From<Refusal> for SettleAnswer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lost => Self::Lost,
            Refusal::Done(phase) => Self::Done(phase),
            Refusal::Unknown => Self::Unknown,
        }
    }
}

impl From<Refusal> for RefenceAnswer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lost | Refusal::Done(_) => Self::Lost,
            Refusal::Unknown => Self::Unknown,
        }
    }
}

/// The job, if this worker drives it under this claim.
fn driven<R: Rows>(rows: &mut R, who: &Driving<'_>) -> Result<Result<Job, Refusal>, R::Error> {
    let Some(job) = rows.job(who.job)? else { return Ok(Err(Refusal::Unknown)) };
    if job.state.is_terminal() {
        return Ok(Err(Refusal::Done(job.state.phase())));
    }
    let drives =
        job.fence == who.fence && job.state.lease().is_some_and(|lease| lease.worker == who.worker);
    Ok(if drives { Ok(job) } else { Err(Refusal::Lost) })
}

/// Renews the lease. `accepted` says that the host has taken the work.
///
/// # Errors
/// The adapter failed.
pub fn beat<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    who: &Driving<'_>,
    ttl: SignedDuration,
    accepted: bool,
) -> Result<BeatAnswer, R::Error> {
    let mut job = match driven(rows, who)? {
        Ok(job) => job,
        Err(refusal) => return Ok(refusal.into()),
    };
    let lease = Lease { worker: who.worker.to_owned(), until: now + ttl };
    job.state = job.state.apply(JobEvent::Renew(lease))?;
    if accepted {
        job.state = job.state.apply(JobEvent::Accept)?;
    }
    job.updated_at = now;
    rows.put(&job)?;
    Ok(BeatAnswer::Kept { cancel: job.cancel_requested })
}

/// Writes one entry of the saga's log, in place of an older entry of the same step.
///
/// # Errors
/// The adapter failed.
pub fn log_step<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    who: &Driving<'_>,
    record: &StepRecord,
) -> Result<BeatAnswer, R::Error> {
    let mut job = match driven(rows, who)? {
        Ok(job) => job,
        Err(refusal) => return Ok(refusal.into()),
    };
    match job.steps.iter_mut().find(|entry| entry.step == record.step) {
        Some(entry) => *entry = record.clone(),
        None => job.steps.push(record.clone()),
    }
    job.updated_at = now;
    rows.put(&job)?;
    Ok(BeatAnswer::Kept { cancel: job.cancel_requested })
}

/// Tells a store that lost a job about it: the worker that drives it brings the record.
///
/// # Errors
/// The adapter failed.
pub fn reassert<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    known: &Job,
    worker: &str,
    ttl: SignedDuration,
) -> Result<ReassertAnswer, R::Error> {
    if rows.job(known.id)?.is_some() {
        return Ok(ReassertAnswer::Exists);
    }
    for need in &known.needs {
        let holders = rows.holders(&need.resource)?;
        if holders.len() >= need.capacity as usize
            && let Some(other) = holders.into_iter().find(|id| *id != known.id)
        {
            let state = JobState::Queued { not_before: now };
            rows.put(&Job { state, published_at: None, updated_at: now, ..known.clone() })?;
            return Ok(ReassertAnswer::Conflict(other));
        }
    }
    for need in &known.needs {
        rows.hold(&need.resource, known.id)?;
    }
    if known.fence > FencingToken::default() {
        rows.next_fence(FencingToken(known.fence.0 - 1))?;
    }
    let lease = Lease { worker: worker.to_owned(), until: now + ttl };
    let mut job = known.clone();
    job.state = JobState::Running(lease);
    job.updated_at = now;
    rows.put(&job)?;
    Ok(ReassertAnswer::Restored)
}

/// The host has seen a newer token than the worker's though the worker still drives the job (the
/// store was rolled back): goes beyond it.
///
/// # Errors
/// The adapter failed.
pub fn refence<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    who: &Driving<'_>,
    seen: FencingToken,
) -> Result<RefenceAnswer, R::Error> {
    let mut job = match driven(rows, who)? {
        Ok(job) => job,
        Err(refusal) => return Ok(refusal.into()),
    };
    job.fence = rows.next_fence(seen)?;
    job.updated_at = now;
    rows.put(&job)?;
    Ok(RefenceAnswer::Fenced(job.fence))
}

/// Ends the job and frees all it holds; when a person must decide, all but its VM.
///
/// # Errors
/// The adapter failed.
pub fn finish<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    who: &Driving<'_>,
    outcome: &Outcome,
) -> Result<SettleAnswer, R::Error> {
    let mut job = match driven(rows, who)? {
        Ok(job) => job,
        Err(refusal) => return Ok(refusal.into()),
    };
    let (event, fault) = match outcome {
        Outcome::Succeeded => (JobEvent::Succeed, None),
        Outcome::Failed(fault) => (JobEvent::Fail, Some(fault.clone())),
        Outcome::Cancelled => (JobEvent::Cancel, job.fault.clone()),
        Outcome::NeedsOperator(fault) => (JobEvent::AskOperator, Some(fault.clone())),
    };
    job.state = job.state.apply(event)?;
    job.fault = fault;
    job.updated_at = now;
    rows.put(&job)?;
    let keeps_vm = !job.state.is_terminal();
    let kept = |need: &&Need| keeps_vm && matches!(need.resource, Resource::Vm(_));
    let kept: Vec<Need> = job.needs.iter().filter(kept).cloned().collect();
    Ok(SettleAnswer::Settled { woken: release(rows, now, &job, &kept)? })
}

/// Gives the job back, to be claimed again later.
///
/// # Errors
/// The adapter failed.
pub fn hand_over<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    who: &Driving<'_>,
    how: &HandOver,
) -> Result<SettleAnswer, R::Error> {
    let mut job = match driven(rows, who)? {
        Ok(job) => job,
        Err(refusal) => return Ok(refusal.into()),
    };
    let event = match &how.fault {
        Some(_) => JobEvent::Retry { until: how.not_before },
        None => JobEvent::Release { not_before: how.not_before },
    };
    job.state = job.state.apply(event)?;
    job.fault = how.fault.clone().or(job.fault);
    job.published_at = None;
    job.updated_at = now;
    if !how.counts {
        job.attempt = job.attempt.saturating_sub(1);
    }
    rows.put(&job)?;
    let woken = if how.keep { Vec::new() } else { release(rows, now, &job, &[])? };
    Ok(SettleAnswer::Settled { woken })
}

/// Cancels a job: at once when nothing of it can be on a host, else through a worker.
///
/// # Errors
/// The adapter failed.
pub fn cancel<R: Rows>(rows: &mut R, now: Timestamp, id: JobId) -> Result<CancelAnswer, R::Error> {
    let Some(mut job) = rows.job(id)? else { return Ok(CancelAnswer::Unknown) };
    let untouched = job.steps.iter().all(|step| step.mark == StepMark::Undone);
    let mut publish = false;
    match job.state.phase() {
        phase if phase.is_terminal() => return Ok(CancelAnswer::Done(phase)),
        Phase::Queued | Phase::Parked | Phase::RetryWait if untouched => {
            job.state = job.state.apply(JobEvent::Cancel)?;
            job.cancel_requested = true;
            job.updated_at = now;
            rows.put(&job)?;
            return Ok(CancelAnswer::Cancelled { woken: release(rows, now, &job, &[])? });
        }
        Phase::Claimed | Phase::Running | Phase::Cancelling => {
            job.state = job.state.apply(JobEvent::AskCancel)?;
        }
        Phase::Parked | Phase::RetryWait | Phase::NeedsOperator => {
            job.state = job.state.apply(JobEvent::Wake { at: now })?;
            publish = true;
        }
        _ => publish = true,
    }
    if publish && let JobState::Queued { not_before } = &mut job.state {
        // How long it had waited says nothing about how soon the message of the cancel is to be repeated.
        *not_before = now.max(*not_before);
    }
    job.cancel_requested = true;
    job.updated_at = now;
    if publish {
        job.published_at = Some(now);
    }
    rows.put(&job)?;
    Ok(CancelAnswer::Asked { publish: publish.then(|| Box::new(job)) })
}

/// A person decided that a job that waits for a decision goes on.
///
/// # Errors
/// The adapter failed.
pub fn retry<R: Rows>(rows: &mut R, now: Timestamp, id: JobId) -> Result<RetryAnswer, R::Error> {
    let Some(mut job) = rows.job(id)? else { return Ok(RetryAnswer::Unknown) };
    if job.state != JobState::NeedsOperator {
        return Ok(RetryAnswer::NotWaiting(job.state.phase()));
    }
    job.state = job.state.apply(JobEvent::Wake { at: now })?;
    job.attempt = 0;
    job.published_at = Some(now);
    job.updated_at = now;
    rows.put(&job)?;
    Ok(RetryAnswer::Woken(Box::new(job)))
}
