//! What a drive writes to the store, asked again while the store is down.

use std::future::Future;
use std::time::Duration;

use drs_backend::{BackendError, JobStore};
use drs_model::{FencingToken, Job, SignedDuration, StepRecord};
use drs_protocol::session::Event;
use drs_protocol::store::{HandOver, Outcome, SettleAnswer};
use drs_runtime::{Shutdown, clock};

use crate::telemetry;

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a worker that shuts down still waits for the store.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(3);

/// What became of a call.
pub(crate) enum Answer {
    /// What the session is told.
    Event(Event),
    /// The store did not answer, and the worker has no more time to ask: the lease runs out.
    GaveUp,
}

/// One call to the store on behalf of a job.
pub(crate) struct StoreCalls<'a> {
    pub(super) store: &'a dyn JobStore,
    pub(super) worker: &'a str,
    pub(super) lease: SignedDuration,
    pub(super) shutdown: &'a Shutdown,
    pub(super) job: Job,
}

impl StoreCalls<'_> {
    pub(super) async fn log(self, record: StepRecord) -> Answer {
        let logged = || self.store.log_step(clock::now(), self.driving(), &record);
        let answer = self.insist("log", logged).await;
        let moment = match record.mark {
            drs_model::StepMark::Planned => "planned",
            drs_model::StepMark::Done => "done",
            drs_model::StepMark::Undone => "undone",
        };
        crate::crash::point(self.job.spec.kind(), &record.step, moment);
        answer.map_or(Answer::GaveUp, |answer| Answer::Event(Event::Logged(answer)))
    }

    /// Not insisted upon: the session says when the next one is due.
    pub(super) async fn beat(self, accepted: bool) -> Answer {
        let beat = self.store.beat(clock::now(), self.driving(), self.lease, accepted).await;
        match beat {
            Ok(answer) => Answer::Event(Event::Beat(answer)),
            Err(error) => {
                tracing::warn!(job = %self.job.id, %error, "the lease could not be renewed");
                Answer::Event(Event::BeatFailed)
            }
        }
    }

    pub(super) async fn reassert(self) -> Answer {
        let reassert = || self.store.reassert(clock::now(), &self.job, self.worker, self.lease);
        self.insist("reassert", reassert)
            .await
            .map_or(Answer::GaveUp, |answer| Answer::Event(Event::Reasserted(answer)))
    }

    pub(super) async fn refence(self, seen: FencingToken) -> Answer {
        let refence = || self.store.refence(clock::now(), self.driving(), seen);
        self.insist("refence", refence)
            .await
            .map_or(Answer::GaveUp, |answer| Answer::Event(Event::Refenced(answer)))
    }

    pub(super) async fn finish(self, outcome: Outcome) -> Answer {
        let finish = || self.store.finish(clock::now(), self.driving(), &outcome);
        crate::crash::at("finish/before");
        let Some(answer) = self.insist("finish", finish).await else { return Answer::GaveUp };
        crate::crash::at("finish/after");
        if matches!(answer, SettleAnswer::Settled { .. }) {
            telemetry::ended(&self.job, &outcome);
        }
        Answer::Event(Event::Settled(answer))
    }

    pub(super) async fn hand_over(self, how: HandOver) -> Answer {
        let hand_over = || self.store.hand_over(clock::now(), self.driving(), &how);
        crate::crash::at("hand_over/before");
        let Some(answer) = self.insist("hand over", hand_over).await else { return Answer::GaveUp };
        crate::crash::at("hand_over/after");
        if matches!(answer, SettleAnswer::Settled { .. }) {
            telemetry::handed_over(&how);
        }
        Answer::Event(Event::Settled(answer))
    }

    /// Asks until the store answers. Gives up only when the worker shuts down meanwhile: the lease
    /// runs out then and another worker goes on from the log.
    async fn insist<T, F>(&self, what: &str, call: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, BackendError>>,
    {
        let answer = async {
            let mut pause = PAUSE.0;
            loop {
                match call().await {
                    Ok(answer) => return answer,
                    Err(error) => {
                        tracing::warn!(job = %self.job.id, %error, "{what}: asking the store again");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        };
        let gave_up = async {
            self.shutdown.stopping().await;
            tokio::time::sleep(PATIENCE_AT_STOP).await;
        };
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = gave_up => None,
        }
    }
}
