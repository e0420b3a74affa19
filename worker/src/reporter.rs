//! What a running job tells: its log and how far it is.

use drs_backend::{Events, NewLine};
use drs_model::{Job, JobId, JobKind, LogLevel, Progress};
use drs_runtime::clock;
use std::sync::Arc;
use tokio::sync::watch;

use crate::telemetry::Moved;

/// Tells of one job. Never fails: no decision rests on what is told.
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
        if let Err(error) = self.events.log(self.job, line).await {
            tracing::warn!(job = %self.job, %error, "a log line was not kept");
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
    /// call with `seen`; returns it then.
    pub(crate) async fn flush(&self, seen: &mut watch::Receiver<Progress>) -> Option<Progress> {
        self.moved.count(self.kind);
        if !seen.has_changed().unwrap_or(false) {
            return None;
        }
        let progress = seen.borrow_and_update().clone();
        if let Err(error) = self.events.set_progress(self.job, &progress).await {
            tracing::warn!(job = %self.job, %error, "progress was not kept");
        }
        Some(progress)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}
