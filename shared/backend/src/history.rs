//! The port to jobs that are over, kept for good where the store forgets them.

use async_trait::async_trait;
use drs_model::{Job, JobId};

use crate::{BackendError, JobFilter};

/// Jobs that are over. Durable when a method returns.
#[async_trait]
pub trait History: Send + Sync {
    /// Keeps a job that is over. The same job again changes nothing; a later end (the store had lost
    /// the first, and the job was brought back) replaces it, an earlier one does not.
    ///
    /// # Errors
    /// The adapter failed.
    async fn record(&self, job: &Job) -> Result<(), BackendError>;

    /// One job; `None` when it is not here.
    ///
    /// # Errors
    /// The adapter failed.
    async fn find(&self, id: JobId) -> Result<Option<Job>, BackendError>;

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The adapter failed.
    async fn past(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError>;
}
