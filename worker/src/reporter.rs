//! What a running job tells: its log and how far it is.

use std::sync::Arc;
use std::time::Duration;

use drs_backend::{BackendError, Events, NewLine};
use drs_model::{Job, JobId, JobKind, LogLevel, Progress};
use drs_runtime::clock;
use tokio::sync::watch;

use crate::telemetry::Moved;

/// How long the store is waited for, until it keeps a line or the progress.
const KEEP_LIMIT: Duration = Duration::from_secs(2);

/// Tells of one job. Never fails: no decision rests on what is told. While the store is silent, each line
/// holds up the caller for 2 s at most.
#[derive(Clone)]
pub(crate) struct Reporter {
    job: JobId,
    kind: JobKind,
    attempt: u32,
    events: Arc<dyn Events>,
    progress: watch::Sender<Progress>,
    moved: Moved,
}

impl Reporter {
    pub(crate) fn new(job: &Job, events: Arc<dyn Events>) -> Self {
        Self {
            job: job.id,
            kind: job.spec.kind(),
            attempt: job.attempt,
            events,
            progress: watch::Sender::new(Progress::default()),
            moved: Moved::default(),
        }
    }

    pub(crate) async fn info(&self, text: impl Into<String>) {
        self.log(LogLevel::Info, text.into()).await;
    }

    pub(crate) async fn warn(&self, text: impl Into<String>) {
        self.log(LogLevel::Warn, text.into()).await;
    }

    pub(crate) async fn error(&self, text: impl Into<String>) {
        self.log(LogLevel::Error, text.into()).await;
    }

    async fn log(&self, level: LogLevel, text: String) {
        match level {
            LogLevel::Info => tracing::info!(job = %self.job, "{text}"),
            LogLevel::Warn => tracing::warn!(job = %self.job, "{text}"),
            LogLevel::Error => tracing::error!(job = %self.job, "{text}"),
        }
        let line = NewLine { at: clock::now(), level, attempt: self.attempt, text };
        self.kept("a log line", self.events.log(self.job, line)).await;
    }

    /// Waits until the store has kept something, for a while: nobody waits long for what no decision rests on.
    async fn kept(&self, what: &str, keeping: impl Future<Output = Result<(), BackendError>>) {
        match tokio::time::timeout(KEEP_LIMIT, keeping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(job = %self.job, %error, "{what} was not kept"),
            Err(_) => tracing::warn!(job = %self.job, "{what} was not kept: the store is silent"),
        }
    }

    /// Notes that a step begins that has this much to deal with.
    pub(crate) fn begin(&self, step: &str, total_bytes: u64) {
        self.progress.send_replace(Progress {
            step: step.to_owned(),
            total_bytes,
            ..Progress::default()
        });
    }

    /// Notes how far the job is. Cheap: what is noted is written a few times a second at most.
    pub(crate) fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(|progress| {
            let before = progress.moved_bytes;
            change(progress);
            self.moved.note(before, progress);
        });
    }

    /// Counts what was moved, and writes down how far the job is, when that has changed since the last
    /// call with `seen`; returns it then. A call that is dropped has not been one.
    pub(crate) async fn flush(&self, seen: &mut watch::Receiver<Progress>) -> Option<Progress> {
        self.moved.count(self.kind);
        if !seen.has_changed().unwrap_or(false) {
            return None;
        }
        let mut latest = seen.clone();
        let progress = latest.borrow_and_update().clone();
        self.kept("progress", self.events.set_progress(self.job, &progress)).await;
        *seen = latest;
        Some(progress)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use drs_model::{JobSpec, LogLine, Timestamp};

    use super::*;

    /// A store whose server was stopped: it never answers.
    struct Silent;

    #[async_trait]
    impl Events for Silent {
        async fn log(&self, _: JobId, _: NewLine) -> Result<(), BackendError> {
            std::future::pending().await
        }

        async fn lines(&self, _: JobId, _: u64, _: usize) -> Result<Vec<LogLine>, BackendError> {
            std::future::pending().await
        }

        async fn set_progress(&self, _: JobId, _: &Progress) -> Result<(), BackendError> {
            std::future::pending().await
        }

        async fn progress(&self, _: JobId) -> Result<Option<Progress>, BackendError> {
            std::future::pending().await
        }
    }

    fn reporter() -> Reporter {
        let spec = JobSpec::Inspect { host: "dc".parse().expect("a name") };
        let job = Job::new(JobId::from_key("a"), spec, Vec::new(), Timestamp::UNIX_EPOCH);
        Reporter::new(&job, Arc::new(Silent))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_keeps_nobody_waiting_for_what_is_told() {
        let report = reporter();
        report.info("begun").await;
        let mut seen = report.watch();
        report.progress(|progress| progress.done_bytes = 1);
        assert!(report.flush(&mut seen).await.is_some());
        assert!(report.flush(&mut seen).await.is_none(), "it is not tried again for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_that_was_not_written_to_the_end_is_written_later() {
        let report = reporter();
        let mut seen = report.watch();
        report.progress(|progress| progress.done_bytes = 1);
        let begun = tokio::time::timeout(Duration::from_millis(1), report.flush(&mut seen)).await;
        assert!(begun.is_err(), "it is dropped in the middle");
        let noted = report.flush(&mut seen).await.expect("it is still to be written");
        assert_eq!(noted.done_bytes, 1);
    }
}
