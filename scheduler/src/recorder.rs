//! Takes jobs that are over into history, tells of their end, and lets the store forget them.

use std::sync::Arc;
use std::time::Duration;

use drs_backend::{Announcement, Backend, BackendError, Happening, History};
use drs_model::{Job, SignedDuration, Timestamp};
use drs_runtime::clock;

/// Time between two looks for jobs that are over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks for jobs that the store may forget.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Jobs per look; a full look is followed by another at once.
const BATCH: usize = 200;

pub(crate) struct Recorder {
    backend: Backend,
    history: Arc<dyn History>,
    keep: SignedDuration,
}

impl Recorder {
    /// The recorder of a job core; `None` where the store is its own history.
    pub(crate) fn of(backend: &Backend, keep: SignedDuration) -> Option<Self> {
        let history = Arc::clone(backend.history.as_ref()?);
        Some(Self { backend: backend.clone(), history, keep })
    }

    pub(crate) async fn run(&self) {
        let mut next_prune = clock::now();
        loop {
            let recorded = self.record().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "jobs that are over are not recorded yet, trying again");
                0
            });
            let now = clock::now();
            if now >= next_prune {
                next_prune = now + PRUNE_EVERY;
                if let Err(error) = self.prune(now).await {
                    tracing::warn!(%error, "the store forgets nothing now, trying again");
                }
            }
            if recorded < BATCH {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Records jobs that are over. Returns how many.
    pub(crate) async fn record(&self) -> Result<usize, BackendError> {
        let jobs = self.backend.store.settled(BATCH).await?;
        // All of them are safe before anything is told: who listens may be away for hours.
        for job in &jobs {
            self.history.record(job).await?;
        }
        for job in &jobs {
            self.tell_end(job).await?;
            self.backend.store.recorded(job.id).await?;
            tracing::info!(target: "drs::metric", name = "drs_recorded_total", value = 1);
        }
        Ok(jobs.len())
    }

    /// Tells of the end of a job. An end that cannot be told is told later, at least once.
    async fn tell_end(&self, job: &Job) -> Result<(), BackendError> {
        let Some(feed) = &self.backend.feed else { return Ok(()) };
        let end = Happening::Ended { phase: job.state.phase(), fault: job.fault.clone() };
        feed.announce(&Announcement::of(job, job.updated_at, end)).await
    }

    /// Lets the store forget what history has kept for long enough.
    pub(crate) async fn prune(&self, now: Timestamp) -> Result<(), BackendError> {
        while self.backend.store.prune(now - self.keep, BATCH).await? == BATCH {}
        Ok(())
    }
}
