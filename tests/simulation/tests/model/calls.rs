//! The store's side: calls arrive there, and what comes of them is put on record.

use std::sync::Arc;

use drs_model::{JobId, Phase};
use drs_protocol::session::Event;
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, Outcome, ReassertAnswer, RefenceAnswer, RetryAnswer,
    SettleAnswer,
};
use drs_simulation::Harm;
use drs_simulation::store::{Call, LedgerStore, Reply, Store};

use crate::drives::NO_TIME;
use crate::state::{Books, News, Part, Sent, State};
use crate::world::SmallWorld;

/// More than there are jobs.
const MANY: usize = 100;

impl SmallWorld {
    pub(crate) fn call_arrives(&self, state: &mut State, n: usize, answer_lost: bool) {
        let Sent { what, asker } = state.calls.remove(n);
        let reply = self.ask(state, &what);
        let Some(worker) = asker else { return };
        if answer_lost {
            match what.get() {
                Call::Claim { .. } => self.claimed(state, worker, None),
                _ => state.calls.push(Sent { what, asker }),
            }
            return;
        }
        let event = match &*reply {
            Reply::Claimed(answer) => return self.claimed(state, worker, Some(answer)),
            Reply::Logged(answer) => Event::Logged(*answer),
            Reply::Reasserted(answer) => Event::Reasserted(answer.clone()),
            Reply::Refenced(answer) => Event::Refenced(*answer),
            Reply::Settled(answer) => Event::Settled(answer.clone()),
            other => unreachable!("no worker waits for {other:?}"),
        };
        self.tell(state, worker, News::Event(Part::new(event)));
    }

    fn ask_now(&self, state: &mut State, call: Call) -> Arc<Reply> {
        self.ask(state, &Part::new(call))
    }

    /// Asks the store and puts what it answers on record.
    pub(crate) fn ask(&self, state: &mut State, call: &Part<Call>) -> Arc<Reply> {
        let now = self.store_time(state);
        let question = (state.store.print(), call.print(), state.wiped);
        let (store, reply) = self.answers.get(question, || {
            let mut store = state.store.get().store.clone();
            let reply = store.call(now, call.get());
            (Part::new(Books::of(store)), Arc::new(reply))
        });
        state.store = store;
        let call = call.get();
        match (call, &*reply) {
            (Call::Claim { worker, .. }, Reply::Claimed(ClaimAnswer::Claimed(job))) => {
                state.claims += 1;
                if state.record.ended.contains_key(&job.id) {
                    state.harm.get_or_insert(Harm::EndedTwice);
                }
                state.record.claims.insert(job.id, (worker.clone(), job.fence));
                self.check_capacity(state);
            }
            (Call::Beat { who, .. }, Reply::Beat(BeatAnswer::Kept { .. }))
            | (Call::Log { who, .. }, Reply::Logged(BeatAnswer::Kept { .. }))
            | (Call::HandOver { who, .. }, Reply::Settled(SettleAnswer::Settled { .. })) => {
                self.wrote(state, who);
            }
            (Call::Refence { who, .. }, Reply::Refenced(RefenceAnswer::Fenced(fence))) => {
                self.wrote(state, who);
                state.record.claims.insert(who.job, (who.worker.clone(), *fence));
            }
            (Call::Reassert { known, worker, .. }, Reply::Reasserted(ReassertAnswer::Restored)) => {
                state.record.claims.insert(known.id, (worker.clone(), known.fence));
            }
            (Call::Finish { who, outcome }, Reply::Settled(SettleAnswer::Settled { .. })) => {
                self.wrote(state, who);
                match outcome {
                    Outcome::Succeeded => self.ended(state, who.job, Phase::Succeeded),
                    Outcome::Failed(_) => self.ended(state, who.job, Phase::Failed),
                    Outcome::Cancelled => self.ended(state, who.job, Phase::Cancelled),
                    Outcome::NeedsOperator(_) => {}
                }
            }
            (Call::Cancel(id), Reply::Cancelled(CancelAnswer::Cancelled { .. })) => {
                self.ended(state, *id, Phase::Cancelled);
            }
            _ => {}
        }
        reply
    }

    fn wrote(&self, state: &mut State, who: &drs_simulation::store::Driver) {
        let latest = state.record.claims.get(&who.job);
        if latest.is_some_and(|(worker, fence)| *worker != who.worker || *fence != who.fence) {
            state.harm.get_or_insert(Harm::TwoDrivers);
        }
    }

    fn ended(&self, state: &mut State, id: JobId, phase: Phase) {
        if state.record.ended.insert(id, phase).is_some() {
            state.harm.get_or_insert(Harm::EndedTwice);
        }
        state.record.over.insert(id);
        let job = self.number(id);
        let left = state.record.effects.keys().any(|(of, _)| *of == job);
        if phase != Phase::Succeeded && left && !state.record.shaken {
            state.harm.get_or_insert(Harm::Leftover);
        }
    }

    fn check_capacity(&self, state: &mut State) {
        let held = &state.store.get().held;
        let vm = |n: usize| &held[n].0;
        if (1..held.len()).any(|n| vm(n) == vm(n - 1)) {
            state.harm.get_or_insert(Harm::Leaked);
        }
    }

    /// The lease that there is runs out, and the reaper sees it.
    pub(crate) fn lapse(&self, state: &mut State) {
        if let Reply::Reaped(jobs) = &*self.ask_now(state, Call::Reap(MANY)) {
            self.publish(state, jobs);
        }
    }

    /// The sweeper looks; messages that are still there are not old enough to be published again.
    pub(crate) fn sweep(&self, state: &mut State) {
        let call = Call::Sweep { stale: NO_TIME, limit: MANY };
        if let Reply::Swept(jobs) = &*self.ask_now(state, call) {
            let lost: Vec<_> = jobs
                .iter()
                .filter(|job| !self.has_message(state, self.number(job.id)))
                .cloned()
                .collect();
            self.publish(state, &lost);
        }
    }

    pub(crate) fn cancel(&self, state: &mut State, job: usize) {
        match &*self.ask_now(state, Call::Cancel(self.jobs[job].id)) {
            Reply::Cancelled(CancelAnswer::Cancelled { woken }) => self.publish(state, woken),
            Reply::Cancelled(CancelAnswer::Asked { publish: Some(job) }) => {
                self.publish(state, std::slice::from_ref(job));
            }
            _ => {}
        }
    }

    /// A person lets a job go on that waits for a decision.
    pub(crate) fn retry(&self, state: &mut State, job: usize) {
        if let Reply::Retried(RetryAnswer::Woken(job)) =
            &*self.ask_now(state, Call::Retry(self.jobs[job].id))
        {
            self.publish(state, std::slice::from_ref(job));
        }
    }

    pub(crate) fn wipe(&self, state: &mut State) {
        state.store = Part::new(Books::of(LedgerStore::without(self.removed)));
        state.wiped += 1;
        state.record.claims.clear();
        state.record.ended.clear();
        state.record.shaken = true;
    }
}
