//! What keeps the store moving: lapsed leases, lost messages, forgotten waiters.

use drs_model::{Job, JobEvent, JobId, JobState, SignedDuration, Timestamp};

use super::{Rows, wake};

/// Longest time by which a job that waits is published later than the last time: a broker that lost its
/// queues has every message again soon after that, and one that is full gets six copies an hour of each,
/// not one every half a minute. `REPEAT_MAX` in `scripts/prelude.lua` of `drs-backend-redis` is the same.
const REPEAT_MAX: SignedDuration = SignedDuration::from_mins(10);

/// From when on it counts how long a job's message was not claimed; `None` when it never was published.
///
/// That is its publication, put off by the time for which the job had waited when the broker confirmed the
/// latest one, at most ten minutes. So the pause before a message is published again doubles while the job
/// waits; but as long as none of its messages has reached the broker, it is the same each time.
#[must_use]
pub fn unclaimed_since(job: &Job) -> Option<Timestamp> {
    let waited = match &job.state {
        JobState::Queued { not_before: due } | JobState::RetryWait { until: due } => {
            job.updated_at.duration_since(*due).clamp(SignedDuration::ZERO, REPEAT_MAX)
        }
        _ => SignedDuration::ZERO,
    };
    job.published_at.map(|at| at + waited)
}

/// Notes that the broker has a job's message. It changes nothing when the job waits for none.
///
/// # Errors
/// The adapter failed.
pub fn published<R: Rows>(rows: &mut R, now: Timestamp, id: JobId) -> Result<(), R::Error> {
    let Some(mut job) = rows.job(id)? else { return Ok(()) };
    if let JobState::Queued { .. } = job.state {
        job.published_at = Some(now);
        job.updated_at = now;
        rows.put(&job)?;
    }
    Ok(())
}

/// Takes jobs from workers whose lease ran out. What they hold stays with them. Returns the jobs to
/// publish, at most `limit`.
///
/// # Errors
/// The adapter failed.
pub fn reap<R: Rows>(rows: &mut R, now: Timestamp, limit: usize) -> Result<Vec<Job>, R::Error> {
    let mut reaped = Vec::new();
    for id in rows.lapsed(now, limit)? {
        let Some(mut job) = rows.job(id)? else { continue };
        job.state = job.state.apply(JobEvent::Release { not_before: now })?;
        job.published_at = Some(now);
        job.updated_at = now;
        rows.put(&job)?;
        reaped.push(job);
    }
    Ok(reaped)
}

/// Ends the leases of a worker that is known to be dead, so that `reap` need not wait for them.
/// Returns how many.
///
/// # Errors
/// The adapter failed.
pub fn bury<R: Rows>(rows: &mut R, now: Timestamp, worker: &str) -> Result<usize, R::Error> {
    let ids = rows.leased_by(worker)?;
    for id in &ids {
        let Some(mut job) = rows.job(*id)? else { continue };
        if let Some(lease) = job.state.lease() {
            let mut lease = lease.clone();
            lease.until = now;
            job.state = job.state.apply(JobEvent::Renew(lease))?;
            rows.put(&job)?;
        }
    }
    Ok(ids.len())
}

/// Finds jobs that wait for nothing but a message: never published, not claimed for longer than `stale`
/// (see [`unclaimed_since`]), or parked on a resource that has a free place. Returns the jobs to publish,
/// at most `limit` of the first two sorts; the caller tells [`published`] of each that the broker took.
///
/// # Errors
/// The adapter failed.
pub fn sweep<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    stale: SignedDuration,
    limit: usize,
) -> Result<Vec<Job>, R::Error> {
    let mut swept = Vec::new();
    for id in rows.owed(now, now - stale, limit)? {
        let Some(mut job) = rows.job(id)? else { continue };
        if let JobState::RetryWait { .. } = job.state {
            job.state = job.state.apply(JobEvent::Wake { at: now })?;
            job.updated_at = now;
        }
        job.published_at = Some(now);
        rows.put(&job)?;
        swept.push(job);
    }
    for resource in rows.awaited()? {
        let Some(first) = rows.waiters(&resource, 1)?.first().copied() else { continue };
        let Some(job) = rows.job(first)? else { continue };
        for need in job.needs.iter().filter(|need| need.resource == resource) {
            swept.extend(wake(rows, now, need, None)?);
        }
    }
    Ok(swept)
}
