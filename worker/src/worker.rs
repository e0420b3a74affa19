//! The worker: slots that ask for messages, claim their jobs and drive them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drs_backend::{Backend, BackendError, Delivery};
use drs_hypervisor::Drivers;
use drs_model::{Job, JobClass, JobId, SignedDuration};
use drs_protocol::session::Pace;
use drs_protocol::store::{ClaimAnswer, JobMessage};
use drs_runtime::{Shutdown, clock};
use drs_vault::Vault;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::drive::{Drive, Means, Meeting, met};
use crate::occupancy::Occupancy;
use crate::spool::Spool;
use crate::telemetry::{self, Running};

/// How a worker works.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerConfig {
    /// Its name: unique among all processes that ever ran, since leases bear it.
    pub name: String,
    /// Jobs at one time. Default 4, at least 1.
    pub slots: usize,
    /// Further slots that only restores and power jobs may use, so that a night's backups never
    /// keep them waiting. Default 1.
    pub critical_slots: usize,
    /// How long a job stays with a worker that does not renew its lease. Default 60 s; renewed three
    /// times in that span.
    pub lease: SignedDuration,
    /// Attempts, retries and their waits.
    pub pace: Pace,
    /// Folder for archives on their way (staged jobs), made when it is needed. It must have space for
    /// the archives of as many VMs as there are slots. Default `spool` in the working directory.
    pub spool: PathBuf,
    /// What rsync starts as its remote shell, as `PROGRAM rsh ...`. Default `drs`, found as a shell
    /// finds it.
    pub rsh_program: PathBuf,
    /// When it ends of itself. Default never.
    pub until: Until,
}

/// When a worker takes no more jobs although nobody told it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Told,
    /// When no job came and none ran for this long.
    Idle(Duration),
    /// When it has driven one job, or when none came for this long. One slot takes jobs of every class.
    OneJob(Option<Duration>),
}

impl Until {
    fn idle(self) -> Option<Duration> {
        match self {
            Self::Told => None,
            Self::Idle(limit) => Some(limit),
            Self::OneJob(limit) => limit,
        }
    }
}

impl WorkerConfig {
    /// The defaults under a name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            slots: 4,
            critical_slots: 1,
            lease: SignedDuration::from_secs(60),
            pace: Pace::default(),
            spool: PathBuf::from("spool"),
            rsh_program: PathBuf::from("drs"),
            until: Until::Told,
        }
    }

    /// With another lease; it is renewed three times in that span.
    #[must_use]
    pub fn with_lease(mut self, lease: SignedDuration) -> Self {
        self.lease = lease;
        self.pace.beat = lease / 3;
        self
    }
}

/// How long a slot waits for a message before it looks at the shutdown signal again. A request for a
/// message is never given up half way: the message would be hidden from others for a while.
const MESSAGE_WAIT: Duration = Duration::from_millis(100);
/// Pause after the store or the dispatch failed.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

const ALL: &[JobClass] = &[JobClass::Critical, JobClass::Normal, JobClass::Bulk];
const CRITICAL: &[JobClass] = &[JobClass::Critical];

/// Takes jobs and drives them until it is told not to.
pub struct Worker {
    config: WorkerConfig,
    means: Means,
}

impl Worker {
    /// A worker over these ports.
    pub fn new(
        config: WorkerConfig,
        backend: Backend,
        drivers: Arc<dyn Drivers>,
        vault: Arc<dyn Vault>,
    ) -> Self {
        let spool = Spool::new(&config.spool, &config.rsh_program);
        let limits = Arc::default();
        Self { config, means: Means { backend, drivers, vault, spool, limits } }
    }

    /// Runs until the shutdown signal: on *drain* it finishes what it has, on *stop* it hands every
    /// job over within seconds. Ends of itself as [`WorkerConfig::until`] says, by draining `shutdown`.
    /// Returns the job that it drove last.
    pub async fn run(self, shutdown: Shutdown) -> Option<JobId> {
        let config = Arc::new(self.config);
        let occupancy = Arc::new(Occupancy::default());
        let slots = TaskTracker::new();
        let (all, critical) = match config.until {
            Until::OneJob(_) => (1, 0),
            Until::Told | Until::Idle(_) => (config.slots, config.critical_slots),
        };
        for number in 0..all + critical {
            let classes = if number < all { ALL } else { CRITICAL };
            let slot = Slot {
                config: Arc::clone(&config),
                means: self.means.clone(),
                classes,
                occupancy: Arc::clone(&occupancy),
                shutdown: shutdown.clone(),
            };
            slots.spawn(slot.run());
        }
        slots.close();
        match config.until.idle() {
            None => slots.wait().await,
            Some(limit) => tokio::select! {
                () = slots.wait() => {}
                () = occupancy.idle_for(limit) => {
                    shutdown.drain();
                    slots.wait().await;
                }
            },
        }
        occupancy.latest()
    }
}

struct Slot {
    config: Arc<WorkerConfig>,
    means: Means,
    classes: &'static [JobClass],
    occupancy: Arc<Occupancy>,
    shutdown: Shutdown,
}

impl Slot {
    async fn run(self) {
        while !self.shutdown.is_draining() {
            let handled = match self.means.backend.dispatch.next(self.classes, MESSAGE_WAIT).await {
                Ok(Some(delivery)) => self.take(delivery).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                tracing::warn!(%error, "cannot take jobs now, trying again");
                tokio::select! {
                    () = self.shutdown.draining() => return,
                    () = tokio::time::sleep(TROUBLE_PAUSE) => {}
                }
            }
        }
    }

    /// Whether the store has forgotten the job of a message because it was over long ago: a claim would
    /// make it again.
    async fn is_past(&self, id: JobId) -> Result<bool, BackendError> {
        let backend = &self.means.backend;
        let Some(history) = &backend.history else { return Ok(false) };
        Ok(backend.store.get(id).await?.is_none() && history.find(id).await?.is_some())
    }

    /// Whether the job of a message is past, and what came of looking for its hosts.
    async fn look_up(&self, message: &JobMessage) -> Result<(bool, Meeting), BackendError> {
        let met = met(&self.means, &message.spec);
        tokio::try_join!(self.is_past(message.id), met)
    }

    /// Claims the job of a message; `None` when it is past.
    async fn claim(
        &self,
        message: &JobMessage,
    ) -> Result<Option<(Meeting, ClaimAnswer)>, BackendError> {
        let (is_past, met) = self.look_up(message).await?;
        if is_past {
            return Ok(None);
        }
        let span = telemetry::claim_span(message, &self.config.name);
        crate::crash::at("claim/before");
        let store = &self.means.backend.store;
        let claim = store.claim(clock::now(), message, &self.config.name, self.config.lease);
        let claim = claim.instrument(span).await?;
        crate::crash::at("claim/after");
        Ok(Some((met, claim)))
    }

    /// Waits until store and catalogue answer again. A worker that cannot claim keeps no message from those
    /// that can.
    async fn until_known(&self, message: &JobMessage) {
        let answer = async {
            loop {
                tokio::time::sleep(TROUBLE_PAUSE).await;
                if self.look_up(message).await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.shutdown.draining() => {}
            () = answer => {}
        }
    }

    /// Claims the job of a message and drives it, or says goodbye to the message. While the catalogue does
    /// not answer nothing is claimed: a job that nobody can look up would spend its attempts on that.
    async fn take(&self, delivery: Delivery) -> Result<(), BackendError> {
        let backend = &self.means.backend;
        let (met, claim) = match self.claim(&delivery.message).await {
            Ok(Some(found)) => found,
            Ok(None) => return backend.dispatch.ack(delivery).await,
            Err(error) => {
                tracing::warn!(%error, "cannot claim jobs now: they are left to other workers");
                let message = delivery.message.clone();
                backend.dispatch.give_back(delivery).await?;
                self.until_known(&message).await;
                return Ok(());
            }
        };
        match claim {
            ClaimAnswer::Claimed(job) => {
                if matches!(self.config.until, Until::OneJob(_)) {
                    self.shutdown.drain();
                }
                let _busy = self.occupancy.begins(job.id);
                let (config, means) = (&self.config, &self.means);
                let _running = Running::begins(&job);
                let span = telemetry::job_span(&job, &config.name);
                let driven = async {
                    Drive::begin(config, means, *job, met, delivery, &self.shutdown)
                        .await
                        .run()
                        .await;
                };
                driven.instrument(span).await;
            }
            ClaimAnswer::Parked { resource, woken, .. } => {
                tracing::debug!(job = %delivery.message.id, %resource, "parked");
                publish_all(backend, &woken).await;
                backend.dispatch.ack(delivery).await?;
            }
            ClaimAnswer::Leased { .. } | ClaimAnswer::Waiting | ClaimAnswer::Done(_) => {
                backend.dispatch.ack(delivery).await?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn publish_all(backend: &Backend, jobs: &[Job]) {
    for job in jobs {
        crate::crash::at("publish/before");
        backend.publish(job).await;
        crate::crash::at("publish/after");
    }
}
