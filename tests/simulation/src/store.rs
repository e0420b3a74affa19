//! The store operations as data, so that they can be late, lost and repeated, and the stores that
//! answer them.

mod ledger;
mod port;

pub use ledger::LedgerStore;
pub use port::{Medium, PortStore};

use drs_model::{FencingToken, Job, JobId, Resource, SignedDuration, StepRecord, Timestamp};
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Driving, HandOver, JobMessage, Outcome,
    ReassertAnswer, RefenceAnswer, SettleAnswer,
};

/// Who writes, as [`Driving`] says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Driver {
    /// The job.
    pub job: JobId,
    /// The worker.
    pub worker: String,
    /// The claim.
    pub fence: FencingToken,
}

impl Driver {
    pub(crate) fn driving(&self) -> Driving<'_> {
        Driving { job: self.job, worker: &self.worker, fence: self.fence }
    }
}

/// An operation of the store, as `drs_protocol::store` has them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named and meant as in drs_protocol::store")]
pub enum Call {
    Create(Box<Job>),
    Claim { message: Box<JobMessage>, worker: String, ttl: SignedDuration },
    Beat { who: Driver, ttl: SignedDuration, accepted: bool },
    Log { who: Driver, record: StepRecord },
    Reassert { known: Box<Job>, worker: String, ttl: SignedDuration },
    Refence { who: Driver, seen: FencingToken },
    Finish { who: Driver, outcome: Outcome },
    HandOver { who: Driver, how: HandOver },
    Cancel(JobId),
    Retry(JobId),
    Published(JobId),
    Reap(usize),
    Sweep { stale: SignedDuration, limit: usize },
}

/// What it answered.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named and meant as in drs_protocol::store")]
pub enum Reply {
    Created(CreateAnswer),
    Claimed(ClaimAnswer),
    Beat(BeatAnswer),
    Logged(BeatAnswer),
    Reasserted(ReassertAnswer),
    Refenced(RefenceAnswer),
    Settled(SettleAnswer),
    Cancelled(CancelAnswer),
    Retried(drs_protocol::store::RetryAnswer),
    Published,
    Reaped(Vec<Job>),
    Swept(Vec<Job>),
}

/// A store that a simulated world works with. It is never down by itself; the world cuts it off.
pub trait Store {
    /// Does one operation.
    fn call(&mut self, now: Timestamp, call: &Call) -> Reply;

    /// Every record.
    fn jobs(&mut self) -> Vec<Job>;

    /// What is held and by whom, where the store can tell.
    fn held(&mut self) -> Option<Vec<(Resource, JobId)>>;

    /// Loses everything.
    fn wipe(&mut self);

    /// Remembers everything as it is now.
    fn save(&mut self);

    /// Becomes what it was when it was saved last; nothing happens if it never was.
    fn roll_back(&mut self);
}
