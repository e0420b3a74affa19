//! Any adapter of the job store, driven from a world without threads.

use std::sync::Arc;

use drs_backend::{BackendError, JobFilter, JobStore};
use drs_model::{Job, JobId, Resource, Timestamp};

use super::{Call, Reply, Store};

/// Where an adapter keeps its data, with what a disaster does to it.
pub trait Medium {
    /// The adapter on the data as they are now. It is opened again after each disaster.
    fn open(&mut self) -> Arc<dyn JobStore>;

    /// Everything is gone. The adapter is closed meanwhile.
    fn wipe(&mut self);

    /// Copies everything. The adapter is closed meanwhile.
    fn save(&mut self);

    /// Puts the copy back. The adapter is closed meanwhile.
    fn roll_back(&mut self);
}

/// An adapter behind [`Store`].
pub struct PortStore<M: Medium> {
    medium: M,
    store: Option<Arc<dyn JobStore>>,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl<M: Medium> PortStore<M> {
    /// An adapter on a medium; what it does happens on `runtime`.
    pub fn new(mut medium: M, runtime: Arc<tokio::runtime::Runtime>) -> Self {
        let entered = runtime.enter();
        let store = Some(medium.open());
        drop(entered);
        Self { medium, store, runtime }
    }

    fn closed(&mut self, disaster: impl FnOnce(&mut M)) {
        self.store = None;
        let runtime = Arc::clone(&self.runtime);
        let _entered = runtime.enter();
        disaster(&mut self.medium);
        self.store = Some(self.medium.open());
    }

    fn store(&self) -> &dyn JobStore {
        match &self.store {
            Some(store) => store.as_ref(),
            None => panic!("the store is open between two disasters"),
        }
    }
}

async fn ask(store: &dyn JobStore, now: Timestamp, call: &Call) -> Result<Reply, BackendError> {
    Ok(match call {
        Call::Create(job) => Reply::Created(store.create(job).await?),
        Call::Claim { message, worker, ttl } => {
            Reply::Claimed(store.claim(now, message, worker, *ttl).await?)
        }
        Call::Beat { who, ttl, accepted } => {
            Reply::Beat(store.beat(now, who.driving(), *ttl, *accepted).await?)
        }
        Call::Log { who, record } => {
            Reply::Logged(store.log_step(now, who.driving(), record).await?)
        }
        Call::Reassert { known, worker, ttl } => {
            Reply::Reasserted(store.reassert(now, known, worker, *ttl).await?)
        }
        Call::Refence { who, seen } => {
            Reply::Refenced(store.refence(now, who.driving(), *seen).await?)
        }
        Call::Finish { who, outcome } => {
            Reply::Settled(store.finish(now, who.driving(), outcome).await?)
        }
        Call::HandOver { who, how } => {
            Reply::Settled(store.hand_over(now, who.driving(), how).await?)
        }
        Call::Cancel(id) => Reply::Cancelled(store.cancel(now, *id).await?),
        Call::Retry(id) => Reply::Retried(store.retry(now, *id).await?),
        Call::Published(id) => {
            store.published(now, *id).await?;
            Reply::Published
        }
        Call::Reap(limit) => Reply::Reaped(store.reap(now, *limit).await?),
        Call::Sweep { stale, limit } => Reply::Swept(store.sweep(now, *stale, *limit).await?),
    })
}

impl<M: Medium> Store for PortStore<M> {
    fn call(&mut self, now: Timestamp, call: &Call) -> Reply {
        match self.runtime.block_on(ask(self.store(), now, call)) {
            Ok(reply) => reply,
            Err(error) => panic!("the store failed at {call:?}: {error}"),
        }
    }

    fn jobs(&mut self) -> Vec<Job> {
        let all = JobFilter { limit: JobFilter::LIMIT_MAX, ..JobFilter::default() };
        match self.runtime.block_on(self.store().list(&all)) {
            Ok(jobs) => jobs,
            Err(error) => panic!("the store cannot list its jobs: {error}"),
        }
    }

    fn held(&mut self) -> Option<Vec<(Resource, JobId)>> {
        None
    }

    fn wipe(&mut self) {
        self.closed(Medium::wipe);
    }

    fn save(&mut self) {
        self.closed(Medium::save);
    }

    fn roll_back(&mut self) {
        self.closed(Medium::roll_back);
    }
}
