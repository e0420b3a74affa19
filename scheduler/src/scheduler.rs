//! The scheduler: its loops, and how they end.

use std::time::Duration;

use drs_backend::Backend;
use drs_model::SignedDuration;
use drs_runtime::{Shutdown, clock};

use crate::due::DueRuns;
use crate::leadership::Leadership;
use crate::recorder::Recorder;
use crate::{UpkeepPace, figures, upkeep};

/// How long a scheduler that ends tries to give its term back; without that the term just runs out.
const RESIGN_LIMIT: Duration = Duration::from_secs(1);

/// How a scheduler works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Its name: unique among all processes that ever ran, since terms bear it.
    pub name: String,
    /// How long a leader that dies is waited for. Default 15 s; renewed three times in that span.
    pub lease: SignedDuration,
    /// How long a schedule that was added or resumed may go unnoticed. Default 2 s.
    pub look_every: SignedDuration,
    /// How the reaper and the sweeper pace themselves.
    pub upkeep: UpkeepPace,
    /// How long the store keeps a job that is over and in history. Default 7 days.
    pub keep: SignedDuration,
}

impl SchedulerConfig {
    /// The defaults under a name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lease: SignedDuration::from_secs(15),
            look_every: SignedDuration::from_secs(2),
            upkeep: UpkeepPace::default(),
            keep: SignedDuration::from_hours(7 * 24),
        }
    }
}

/// Decides what is due and keeps jobs moving until it is told not to.
pub struct Scheduler {
    config: SchedulerConfig,
    backend: Backend,
}

impl Scheduler {
    /// A scheduler over these ports.
    #[must_use]
    pub fn new(config: SchedulerConfig, backend: Backend) -> Self {
        Self { config, backend }
    }

    /// Runs until no new jobs are to be taken, then gives its term back and is gone within a second.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { config, backend } = self;
        let mut leadership =
            Leadership::new(config.name, config.lease, backend.clone(), clock::now());
        let mut due = DueRuns::new(backend.clone(), leadership.trust(), config.look_every);
        let recorder = Recorder::of(&backend, config.keep);
        let loops = async {
            tokio::join!(
                leadership.run(),
                due.run(),
                upkeep(backend.clone(), config.upkeep, shutdown.clone()),
                async {
                    if let Some(recorder) = &recorder {
                        recorder.run().await;
                    }
                },
                figures::run(&backend),
            )
        };
        tokio::select! {
            () = shutdown.draining() => {}
            _ = loops => {}
        }
        if tokio::time::timeout(RESIGN_LIMIT, leadership.resign(&clock::now)).await.is_err() {
            tracing::warn!(
                "the store does not answer: the term of this scheduler runs out by itself"
            );
        }
    }
}
