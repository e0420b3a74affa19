//! The port to messages that no worker could understand, or that were delivered too often.

use async_trait::async_trait;
use drs_model::{JobId, Timestamp};
use serde::Serialize;

use crate::BackendError;

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its id: of its place among the dead letters, not the job's.
    pub id: String,
    /// Why it was put aside, in words.
    pub reason: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The queue in which it was.
    pub queue: String,
    /// The job, when the message tells it.
    pub job: Option<JobId>,
    /// The message; what is no text is escaped, and more than [`DeadLetter::CHARS_MAX`] are cut.
    pub body: String,
}

impl DeadLetter {
    /// Longest body that is shown.
    pub const CHARS_MAX: usize = 10_000;
}

/// Messages that no worker could understand, or that were delivered too often. They stay until they are
/// replayed or removed, or the adapter's limit drops the oldest (stated there).
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The oldest ones.
    ///
    /// # Errors
    /// The adapter failed.
    async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>, BackendError>;

    /// Puts one back into the queue of its job and removes it here.
    ///
    /// # Errors
    /// [`BackendError::NotFound`]; [`BackendError::Damaged`] when it cannot be understood, it stays then;
    /// or the adapter failed.
    async fn replay(&self, id: &str) -> Result<JobId, BackendError>;

    /// Removes one for good.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn remove(&self, id: &str) -> Result<(), BackendError>;
}
