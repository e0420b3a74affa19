//! Calls on their way to the store and back; what the oracles learn from the answers.

use drs_model::{Job, JobId, Phase};
use drs_protocol::session::Event;
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Outcome, ReassertAnswer, RefenceAnswer,
    SettleAnswer,
};

use super::{Harm, World};
use crate::agenda::{Happening, Note, Peer, Purpose, StoreCall};
use crate::store::{Call, Reply};

impl World<'_> {
    pub(super) fn send_call(&mut self, call: StoreCall) {
        let late = !self.quiet && self.dice.percent(self.scenario.late.0 / 3);
        let delay = if late { 1_000..30_000 } else { 1..50 };
        self.after(delay, Happening::CallArrives(call));
    }

    pub(super) fn ask_again(&mut self, call: StoreCall) {
        let Purpose::Drive { drive, .. } = call.purpose else { return };
        if self.drive(call.from, drive).is_some() {
            self.send_call(call);
        }
    }

    fn reaches_store(&self, call: &StoreCall) -> bool {
        self.store_up && !self.cuts.contains(&(call.from, Peer::Store))
    }

    /// The store does it, unless it is out of reach; the answer can still be lost.
    pub(super) fn call_arrives(&mut self, call: StoreCall) {
        let reaches = self.reaches_store(&call);
        if let Call::Claim { message, .. } = &call.call {
            match reaches {
                true => drop(self.oracle.owed.remove(&message.id)),
                false => drop(self.oracle.owed.insert(message.id)),
            }
        }
        if !reaches {
            return self.unanswered(call);
        }
        let reply = self.ask(&call.call);
        if !self.quiet && self.dice.percent(self.scenario.late.0 / 5) {
            self.count("answer lost");
            return self.unanswered(call);
        }
        let note = match (call.purpose, reply) {
            (Purpose::Claim { tag }, Reply::Claimed(answer)) => {
                Note::ClaimAnswered { tag, answer: Some(answer) }
            }
            (Purpose::Drive { drive, .. }, reply) => {
                let event = match reply {
                    Reply::Beat(answer) => Event::Beat(answer),
                    Reply::Logged(answer) => Event::Logged(answer),
                    Reply::Reasserted(answer) => Event::Reasserted(answer),
                    Reply::Refenced(answer) => Event::Refenced(answer),
                    Reply::Settled(answer) => Event::Settled(answer),
                    _ => return,
                };
                Note::Event { drive, serial: None, event }
            }
            _ => return,
        };
        self.note(call.from, 1..50, note);
    }

    fn unanswered(&mut self, call: StoreCall) {
        let note = match call.purpose {
            Purpose::Claim { tag } => Note::ClaimAnswered { tag, answer: None },
            Purpose::Drive { drive, insist: false } => {
                Note::Event { drive, serial: None, event: Event::BeatFailed }
            }
            Purpose::Drive { .. } => Note::AskAgain(call.clone()),
        };
        self.note(call.from, 1_000..5_000, note);
    }

    /// Asks the store and lets the oracles hear the answer.
    pub(super) fn ask(&mut self, call: &Call) -> Reply {
        let now = self.store_time();
        let reply = self.store.call(now, call);
        let idle = match &reply {
            Reply::Reaped(jobs) | Reply::Swept(jobs) => jobs.is_empty(),
            Reply::Created(CreateAnswer::Exists(_)) => true,
            _ => false,
        };
        if !idle {
            self.tell(|| told(call, &reply));
        }
        self.relieve(call, &reply);
        let t = self.t;
        match (call, &reply) {
            (Call::Claim { worker, .. }, Reply::Claimed(ClaimAnswer::Claimed(job))) => {
                self.count("claimed");
                self.oracle.claimed(t, job, worker);
                self.check_capacity();
            }
            (Call::Beat { who, .. }, Reply::Beat(BeatAnswer::Kept { .. }))
            | (Call::Log { who, .. }, Reply::Logged(BeatAnswer::Kept { .. }))
            | (Call::HandOver { who, .. }, Reply::Settled(SettleAnswer::Settled { .. })) => {
                self.oracle.wrote(t, who.job, &who.worker, who.fence);
            }
            (Call::Refence { who, .. }, Reply::Refenced(RefenceAnswer::Fenced(fence))) => {
                self.count("refenced");
                self.oracle.wrote(t, who.job, &who.worker, who.fence);
                self.oracle.claims.insert(who.job, (who.worker.clone(), *fence));
            }
            (Call::Reassert { known, worker, .. }, Reply::Reasserted(ReassertAnswer::Restored)) => {
                self.count("reasserted");
                self.oracle.claims.insert(known.id, (worker.clone(), known.fence));
            }
            (Call::Finish { who, outcome }, Reply::Settled(SettleAnswer::Settled { .. })) => {
                self.oracle.wrote(t, who.job, &who.worker, who.fence);
                self.finished(who.job, outcome);
            }
            (Call::Cancel(id), Reply::Cancelled(CancelAnswer::Cancelled { .. })) => {
                self.ended(*id, Phase::Cancelled);
            }
            _ => {}
        }
        reply
    }

    /// A worker is told that it need not care for a job any more, by a store that knows it.
    fn relieve(&mut self, call: &Call, reply: &Reply) {
        let (job, worker) = match call {
            Call::Reassert { known, worker, .. } => (known.id, worker),
            Call::Beat { who, .. }
            | Call::Log { who, .. }
            | Call::Refence { who, .. }
            | Call::Finish { who, .. }
            | Call::HandOver { who, .. } => (who.job, &who.worker),
            _ => return,
        };
        let cares = matches!(
            reply,
            Reply::Beat(BeatAnswer::Kept { .. } | BeatAnswer::Unknown)
                | Reply::Logged(BeatAnswer::Kept { .. } | BeatAnswer::Unknown)
                | Reply::Reasserted(ReassertAnswer::Restored | ReassertAnswer::Exists)
                | Reply::Refenced(RefenceAnswer::Fenced(_) | RefenceAnswer::Unknown)
                | Reply::Settled(SettleAnswer::Unknown)
        );
        if !cares && self.store.jobs().iter().any(|known| known.id == job) {
            self.oracle.relieved.insert((job, worker.clone()));
        }
    }

    fn finished(&mut self, job: JobId, outcome: &Outcome) {
        let phase = match outcome {
            Outcome::Succeeded => Phase::Succeeded,
            Outcome::Failed(fault) => {
                self.count(&format!("failed: {:?}", fault.code));
                Phase::Failed
            }
            Outcome::Cancelled => Phase::Cancelled,
            Outcome::NeedsOperator(fault) => {
                let message = fault.message.clone();
                self.count(&format!("needs operator: {message}"));
                return;
            }
        };
        self.ended(job, phase);
    }

    fn ended(&mut self, job: JobId, phase: Phase) {
        self.count(&format!("job {phase}"));
        self.oracle.ended(self.t, job, phase);
        let shaken = self.oracle.shaken.contains(&job);
        if phase != Phase::Succeeded && !shaken && !self.planned(job).kind.may_stay() {
            let left: Vec<&str> =
                self.oracle.effects.keys().filter(|(of, _)| *of == job).map(|(_, s)| *s).collect();
            if !left.is_empty() {
                let what = format!("{} {phase} left {left:?} on its host", self.name(job));
                self.harm(Harm::Leftover, what);
            }
        }
        self.oracle.effects.retain(|(of, _), _| *of != job || phase == Phase::Succeeded);
    }

    /// No resource is held by more jobs than may have it.
    fn check_capacity(&mut self) {
        let Some(held) = self.store.held() else { return };
        for job in &self.jobs {
            for need in &job.record.needs {
                let holders = held.iter().filter(|(held, _)| *held == need.resource).count();
                if holders > need.capacity as usize {
                    let what = format!("{holders} jobs hold {}", need.resource);
                    return self.harm(Harm::Leaked, what);
                }
            }
        }
    }
}

/// A call and its answer, in the words that matter when a run is read.
fn told(call: &Call, reply: &Reply) -> String {
    let call = match call {
        Call::Create(job) => format!("create {}", job.id),
        Call::Claim { message, worker, .. } => format!("claim {} for {worker}", message.id),
        Call::Beat { who, .. } => format!("beat of {} for {} ({})", who.worker, who.job, who.fence),
        Call::Log { who, record } => {
            format!("log of {} for {} ({}): {record:?}", who.worker, who.job, who.fence)
        }
        Call::Reassert { known, worker, .. } => format!("reassert of {worker} for {}", known.id),
        Call::Refence { who, seen } => format!("refence of {} for {}: {seen}", who.worker, who.job),
        Call::Finish { who, outcome } => {
            format!("finish of {} for {} ({}): {outcome:?}", who.worker, who.job, who.fence)
        }
        Call::HandOver { who, how } => {
            format!("hand over of {} for {} ({}): {how:?}", who.worker, who.job, who.fence)
        }
        other => format!("{other:?}"),
    };
    let brief = |jobs: &[Job]| {
        let jobs: Vec<String> = jobs.iter().map(|job| job.id.to_string()).collect();
        jobs.join(" ")
    };
    let reply = match reply {
        Reply::Created(CreateAnswer::Exists(_)) => "exists".into(),
        Reply::Claimed(ClaimAnswer::Claimed(job)) => {
            let marks: Vec<String> =
                job.steps.iter().map(|entry| format!("{} {:?}", entry.step, entry.mark)).collect();
            format!("claimed under {}, attempt {}, {marks:?}", job.fence, job.attempt)
        }
        Reply::Claimed(ClaimAnswer::Parked { resource, .. }) => format!("parked on {resource}"),
        Reply::Settled(SettleAnswer::Settled { woken }) => {
            format!("settled, woken {}", brief(woken))
        }
        Reply::Reaped(jobs) | Reply::Swept(jobs) => brief(jobs),
        Reply::Retried(_) => "retried".into(),
        other => format!("{other:?}"),
    };
    format!("store: {call} -> {reply}")
}
