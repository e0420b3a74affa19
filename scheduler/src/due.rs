//! Submits the runs of schedules that are due, while this scheduler leads.

use drs_backend::{Backend, BackendError, Submitted, job_of, submit};
use drs_model::{FireOutcome, JobId, Schedule, SignedDuration, Timestamp};
use drs_protocol::due::{self, Known, Run};
use drs_protocol::leader::Trust;
use drs_runtime::{clock, trace};
use futures::stream::{self, StreamExt};
use tokio::sync::watch;
use tracing::Instrument;

use crate::leadership::Clock;

/// Runs that are being submitted at one time.
const AT_ONCE: usize = 16;
/// Time between two looks for runs that were submitted and are not known any more.
const RECOVER_EVERY: SignedDuration = SignedDuration::from_mins(1);

pub(crate) struct DueRuns {
    backend: Backend,
    trust: watch::Receiver<Option<Trust>>,
    look_every: SignedDuration,
    /// The latest look for lost runs: in which term, and when.
    recovered: Option<(u64, Timestamp)>,
}

impl DueRuns {
    pub(crate) fn new(
        backend: Backend,
        trust: watch::Receiver<Option<Trust>>,
        look_every: SignedDuration,
    ) -> Self {
        Self { backend, trust, look_every, recovered: None }
    }

    pub(crate) async fn run(&mut self) {
        loop {
            let next = self.look(&clock::now).await;
            tokio::select! {
                () = clock::until(next) => {}
                // The end of the sender is the end of this task as well.
                _ = self.trust.changed() => {}
            }
        }
    }

    /// Submits what is due. Returns when to look next.
    pub(crate) async fn look(&mut self, now: Clock<'_>) -> Timestamp {
        let looked = now();
        let later = looked + self.look_every;
        let Some(trust) = self.trusted(looked) else { return later };
        let known = match self.backend.catalog.schedules().await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, "the schedules cannot be read, trying again");
                return later;
            }
        };
        let recover =
            |(term, at): (u64, Timestamp)| term != trust.term || looked >= at + RECOVER_EVERY;
        if self.recovered.is_none_or(recover) {
            self.recover(now, &known).await;
            self.recovered = Some((trust.term, looked));
        }
        let runs = stream::iter(due::runs(&known, looked));
        runs.for_each_concurrent(AT_ONCE, |run| self.fire(now, run)).await;
        due::next(&known, looked).map_or(later, |next| next.min(later))
    }

    fn trusted(&self, now: Timestamp) -> Option<Trust> {
        self.trust.borrow().filter(|trust| trust.holds(now))
    }

    async fn fire(&self, now: Clock<'_>, run: Run<'_>) {
        let (schedule, at) = (&run.schedule.name, run.at);
        let span = tracing::info_span!("fire", %schedule, %at);
        if let Err(error) = self.decide(now, run).instrument(span).await {
            tracing::warn!(%schedule, %at, %error, "a run is not submitted yet, trying again");
        }
    }

    async fn decide(&self, now: Clock<'_>, run: Run<'_>) -> Result<(), BackendError> {
        let (name, fire) = (&run.schedule.name, run.fire(self.open(&run.before).await?));
        // Looking took its time, and so did the runs before this one.
        if self.trusted(now()).is_none() {
            return Ok(());
        }
        let outcome = match fire.outcome {
            FireOutcome::Submitted => {
                let submitted = self.submit(now(), run.schedule, fire.job).await?;
                if let Submitted::New(_) = submitted {
                    tracing::info!(schedule = %name, at = %fire.at, job = %fire.job, "a run begins");
                }
                "submitted"
            }
            FireOutcome::Skipped => {
                let text = "a run is skipped: the one before is not over";
                tracing::warn!(schedule = %name, at = %fire.at, job = %fire.job, "{text}");
                "skipped"
            }
        };
        self.backend.catalog.note_fire(name, &fire).await?;
        tracing::info!(target: "drs::metric", name = "drs_fires_total", outcome, value = 1);
        Ok(())
    }

    /// One of these jobs that is not over.
    async fn open(&self, jobs: &[JobId]) -> Result<Option<JobId>, BackendError> {
        for id in jobs {
            if self.backend.job(*id).await?.is_some_and(|job| !job.state.is_terminal()) {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    async fn submit(
        &self,
        now: Timestamp,
        schedule: &Schedule,
        id: JobId,
    ) -> Result<Submitted, BackendError> {
        let Schedule { subject, work, transfer, .. } = schedule;
        let spec = job_of(&*self.backend.catalog, subject, *work, *transfer).await?;
        submit(&self.backend, id, spec, trace::current(), now).await
    }

    /// Submits again the latest runs of which neither the store nor history knows.
    async fn recover(&self, now: Clock<'_>, known: &[Known]) {
        let submitted = stream::iter(due::submitted(known));
        submitted
            .for_each_concurrent(AT_ONCE, |(schedule, fire)| async move {
                if let Err(error) = self.recover_one(now, schedule, fire.job).await {
                    let schedule = &schedule.name;
                    tracing::warn!(%schedule, %error, "whether a run was lost is looked at later");
                }
            })
            .await;
    }

    async fn recover_one(
        &self,
        now: Clock<'_>,
        schedule: &Schedule,
        job: JobId,
    ) -> Result<(), BackendError> {
        if self.backend.job(job).await?.is_some() || self.trusted(now()).is_none() {
            return Ok(());
        }
        self.submit(now(), schedule, job).await?;
        tracing::warn!(schedule = %schedule.name, %job, "a run was lost and is submitted again");
        Ok(())
    }
}
