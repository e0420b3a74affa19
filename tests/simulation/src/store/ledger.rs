//! The reference store, and the same with a guard missing.

use drs_model::{Job, JobId, JobState, Resource, Timestamp};
use drs_protocol::store::{
    self, BeatAnswer, ClaimAnswer, CreateAnswer, JobMessage, Ledger, ReassertAnswer, RefenceAnswer,
    Rows, SettleAnswer,
};

use super::{Call, Driver, Reply, Store};
use crate::guards::{Guard, Removed};

/// The reference store of the protocol.
#[derive(Debug, Clone, Default)]
pub struct LedgerStore {
    ledger: Ledger,
    saved: Option<Ledger>,
    removed: Removed,
}

type Done<T> = Result<T, <Ledger as Rows>::Error>;

impl LedgerStore {
    /// An empty one that does without some guards.
    #[must_use]
    pub fn without(removed: Removed) -> Self {
        Self { removed, ..Self::default() }
    }

    fn answer(&mut self, now: Timestamp, call: &Call) -> Done<Reply> {
        let rows = &mut self.ledger;
        Ok(match call {
            Call::Create(job) => Reply::Created(store::create(rows, job)?),
            Call::Claim { message, worker, ttl } => {
                Reply::Claimed(store::claim(rows, now, message, worker, *ttl)?)
            }
            Call::Beat { who, ttl, accepted } => {
                Reply::Beat(store::beat(rows, now, &who.driving(), *ttl, *accepted)?)
            }
            Call::Log { who, record } => {
                Reply::Logged(store::log_step(rows, now, &who.driving(), record)?)
            }
            Call::Reassert { known, worker, ttl } => {
                Reply::Reasserted(store::reassert(rows, now, known, worker, *ttl)?)
            }
            Call::Refence { who, seen } => {
                Reply::Refenced(store::refence(rows, now, &who.driving(), *seen)?)
            }
            Call::Finish { who, outcome } => {
                Reply::Settled(store::finish(rows, now, &who.driving(), outcome)?)
            }
            Call::HandOver { who, how } => {
                Reply::Settled(store::hand_over(rows, now, &who.driving(), how)?)
            }
            Call::Cancel(id) => Reply::Cancelled(store::cancel(rows, now, *id)?),
            Call::Retry(id) => Reply::Retried(store::retry(rows, now, *id)?),
            Call::Published(id) => {
                store::published(rows, now, *id)?;
                Reply::Published
            }
            Call::Reap(limit) => Reply::Reaped(store::reap(rows, now, *limit)?),
            Call::Sweep { stale, limit } => Reply::Swept(store::sweep(rows, now, *stale, *limit)?),
        })
    }

    /// The operation with a guard missing, where one is.
    fn weakened(&mut self, now: Timestamp, call: &Call) -> Done<Reply> {
        let lacks = |guard| self.removed.lacks(guard);
        match call {
            Call::Create(job) if lacks(Guard::IdempotentCreate) => {
                self.ledger.put(job)?;
                Ok(Reply::Created(CreateAnswer::Created))
            }
            Call::Claim { message, .. } if lacks(Guard::AllOrNothing) => {
                let reply = self.answer(now, call)?;
                if let Reply::Claimed(ClaimAnswer::Parked { .. }) = reply {
                    self.keep_what_is_free(message)?;
                }
                Ok(reply)
            }
            Call::Reassert { known, .. } if lacks(Guard::Reassert) => {
                Ok(Reply::Reasserted(ReassertAnswer::Conflict(known.id)))
            }
            Call::Refence { .. } if lacks(Guard::Refence) => {
                Ok(Reply::Refenced(RefenceAnswer::Lost))
            }
            Call::Reap(_) if lacks(Guard::Reap) => Ok(Reply::Reaped(Vec::new())),
            Call::Sweep { .. } if lacks(Guard::Sweep) => Ok(Reply::Swept(Vec::new())),
            Call::Reap(_) if lacks(Guard::LockKept) => {
                let reply = self.answer(now, call)?;
                if let Reply::Reaped(jobs) = &reply {
                    for job in jobs {
                        self.ledger.release_all(job.id)?;
                    }
                }
                Ok(reply)
            }
            Call::Beat { who, .. }
            | Call::Log { who, .. }
            | Call::Finish { who, .. }
            | Call::HandOver { who, .. }
                if lacks(Guard::StoreCas) =>
            {
                self.as_whoever_drives(now, call, who)
            }
            Call::Finish { who, .. } | Call::HandOver { who, .. } if lacks(Guard::Wake) => {
                self.waking_nobody(now, call, who)
            }
            _ => self.answer(now, call),
        }
    }

    fn keep_what_is_free(&mut self, message: &JobMessage) -> Done<()> {
        for need in &message.needs {
            if self.ledger.holders(&need.resource)?.len() < need.capacity as usize {
                self.ledger.hold(&need.resource, message.id)?;
            }
        }
        Ok(())
    }

    fn as_whoever_drives(&mut self, now: Timestamp, call: &Call, who: &Driver) -> Done<Reply> {
        let reply = self.answer(now, call)?;
        let refused = matches!(
            reply,
            Reply::Beat(BeatAnswer::Lost)
                | Reply::Logged(BeatAnswer::Lost)
                | Reply::Settled(SettleAnswer::Lost)
        );
        let Some(job) = self.ledger.job(who.job)?.filter(|_| refused) else { return Ok(reply) };
        let Some(lease) = job.state.lease() else { return Ok(reply) };
        let mut call = call.clone();
        if let Call::Beat { who, .. }
        | Call::Log { who, .. }
        | Call::Finish { who, .. }
        | Call::HandOver { who, .. } = &mut call
        {
            *who = Driver { job: job.id, worker: lease.worker.clone(), fence: job.fence };
        }
        self.answer(now, &call)
    }

    fn waking_nobody(&mut self, now: Timestamp, call: &Call, who: &Driver) -> Done<Reply> {
        let before = self.ledger.jobs();
        let parked = before.iter().filter(|job| matches!(job.state, JobState::Parked { .. }));
        let reply = self.answer(now, call)?;
        for job in parked.filter(|job| job.id != who.job) {
            self.ledger.put(job)?;
        }
        Ok(match reply {
            Reply::Settled(SettleAnswer::Settled { .. }) => {
                Reply::Settled(SettleAnswer::Settled { woken: Vec::new() })
            }
            other => other,
        })
    }
}

impl Store for LedgerStore {
    fn call(&mut self, now: Timestamp, call: &Call) -> Reply {
        match self.weakened(now, call) {
            Ok(reply) => reply,
            Err(error) => panic!("the reference store failed: {error}"),
        }
    }

    fn jobs(&mut self) -> Vec<Job> {
        self.ledger.jobs()
    }

    fn held(&mut self) -> Option<Vec<(Resource, JobId)>> {
        Some(self.ledger.held())
    }

    fn wipe(&mut self) {
        self.ledger = Ledger::default();
    }

    fn save(&mut self) {
        self.saved = Some(self.ledger.clone());
    }

    fn roll_back(&mut self) {
        if let Some(saved) = &self.saved {
            self.ledger = saved.clone();
        }
    }
}
