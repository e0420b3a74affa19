//! The way of jobs that are over into history: the store keeps each until history has it.

use drs_model::{Job, JobId, Timestamp};

use super::Rows;

/// Jobs that are over and not recorded in history, the oldest end first, at most `limit`.
///
/// # Errors
/// The adapter failed.
pub fn settled<R: Rows>(rows: &mut R, limit: usize) -> Result<Vec<Job>, R::Error> {
    let mut jobs = Vec::new();
    for id in rows.unrecorded(limit)? {
        jobs.extend(rows.job(id)?);
    }
    Ok(jobs)
}

/// History has a job: it may be forgotten here. Nothing happens when the job is not over.
///
/// # Errors
/// The adapter failed.
pub fn recorded<R: Rows>(rows: &mut R, id: JobId) -> Result<(), R::Error> {
    match rows.job(id)? {
        Some(job) if job.state.is_terminal() => rows.put_recorded(id),
        _ => Ok(()),
    }
}

/// Forgets jobs that are recorded and ended before a time, with their log and progress, at most `limit`.
/// Returns how many.
///
/// # Errors
/// The adapter failed.
pub fn prune<R: Rows>(rows: &mut R, before: Timestamp, limit: usize) -> Result<usize, R::Error> {
    let ids = rows.forgettable(before, limit)?;
    for id in &ids {
        rows.forget(*id)?;
    }
    Ok(ids.len())
}
