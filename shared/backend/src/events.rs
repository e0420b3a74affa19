//! The port for what jobs tell while they run: their log and their progress.

use async_trait::async_trait;
use drs_model::{JobId, LogLevel, LogLine, Progress, Timestamp};

use crate::BackendError;

/// A log line on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// When.
    pub at: Timestamp,
    /// How serious.
    pub level: LogLevel,
    /// During which attempt.
    pub attempt: u32,
    /// The text; a line break becomes a space, more than [`NewLine::CHARS_MAX`] are cut.
    pub text: String,
}

impl NewLine {
    /// Longest text of a line.
    pub const CHARS_MAX: usize = 2000;
}

/// Logs and progress of jobs. No decision rests on them, so an adapter may lose the latest of them
/// in a power cut. At most 10,000 lines are kept of a job: the first 1,000 and the latest.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends a line to a job's log.
    ///
    /// # Errors
    /// The adapter failed.
    async fn log(&self, job: JobId, line: NewLine) -> Result<(), BackendError>;

    /// A job's log behind a line number (0 for all of it), at most `limit` lines.
    ///
    /// # Errors
    /// The adapter failed.
    async fn lines(
        &self,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogLine>, BackendError>;

    /// Notes how far a job is, in place of what was noted before.
    ///
    /// # Errors
    /// The adapter failed.
    async fn set_progress(&self, job: JobId, progress: &Progress) -> Result<(), BackendError>;

    /// How far a job is; `None` when it has told nothing yet.
    ///
    /// # Errors
    /// The adapter failed.
    async fn progress(&self, job: JobId) -> Result<Option<Progress>, BackendError>;
}
