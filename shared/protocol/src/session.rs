//! The worker's side of one claimed job: from the claim to its settlement.
//!
//! [`Session::step`] takes what happened and returns what to do next; it does no I/O and reads no
//! clock. Where the saga stands is read from its log alone, so a session that takes a job over after
//! a crash does what the one before it would have done.
//!
//! ```text
//! claim -> [roll back what did not outlive the worker] -> per step: hold? log planned, run, log done
//!       -> finish
//! fault -> undo every step in reverse, log each -> retry later | fail | needs operator
//! ```
//!
//! # Invariants
//! - A step runs only after `planned` is in the store, and the next one only after its `done` is.
//! - The message is acknowledged when the claim is durable and the host has accepted (or the job
//!   needs no host); never later, and never held for the length of the job.
//! - `Lost` ends the session without touching the host; the message is acknowledged then as well.
//! - Resources are given up only when every step is undone or done; otherwise they stay with the job.
//!
//! # Crash points
//! Before `planned`: nothing happened. Between `planned` and `done`: the step may have happened in
//! part; it is run again (steps are idempotent), or undone first when it is volatile. After `done`:
//! its output is in the store. Between the last `done` and `finish`: the next worker only finishes.

mod answers;
mod plan;
mod settle;

pub use plan::{Pace, StepMode, StepPlan};

use drs_model::{
    Fault, FencingToken, GuardAnswer, Job, SignedDuration, StepMark, StepRecord, Timestamp,
};

use crate::store::{BeatAnswer, HandOver, Outcome, ReassertAnswer, RefenceAnswer, SettleAnswer};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The session begins, or time has passed.
    Tick,
    /// The host answered to `Hold`, or to the start of a detached step.
    Guard(GuardAnswer),
    /// The host could not be asked, or is not known any more.
    HostFault(Fault),
    /// The hold ended without our doing.
    HoldLost,
    /// The running step is complete.
    StepDone(serde_json::Value),
    /// The running step failed.
    StepFailed(Fault),
    /// The undo is complete.
    UndoDone,
    /// The undo failed.
    UndoFailed(Fault),
    /// The store answered to `Log`.
    Logged(BeatAnswer),
    /// The store answered to `Beat`.
    Beat(BeatAnswer),
    /// The store did not answer to `Beat`.
    BeatFailed,
    /// The record says that a person asked to cancel the job.
    CancelAsked,
    /// The store answered to `Reassert`.
    Reasserted(ReassertAnswer),
    /// The store answered to `Refence`.
    Refenced(RefenceAnswer),
    /// The store answered to `Finish` or `HandOver`.
    Settled(SettleAnswer),
    /// The worker shuts down.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take the VM on its host; answer with `Guard` or `HostFault`.
    Hold,
    /// Give the VM on its host back in order; needs no answer.
    Release,
    /// Run step n; answer with `StepDone` or `StepFailed`, for a detached one with `Guard` first.
    Run(usize),
    /// Undo step n; answer with `UndoDone` or `UndoFailed`.
    Undo(usize),
    /// Stop waiting for the running step; it gives no answer any more.
    Abort,
    /// Write to the saga's log; answer with `Logged`. A store that is down is asked again.
    Log(StepRecord),
    /// Renew the lease; answer with `Beat` or `BeatFailed`.
    Beat {
        /// The host has taken the work.
        accepted: bool,
    },
    /// Bring the record back to the store; answer with `Reasserted`.
    Reassert,
    /// Ask for a token above this one; answer with `Refenced`.
    Refence(FencingToken),
    /// Acknowledge the message; needs no answer.
    Ack,
    /// End the job; answer with `Settled`. A store that is down is asked again.
    Finish(Outcome),
    /// Give the job back; answer with `Settled`. A store that is down is asked again.
    HandOver(HandOver),
    /// Nothing more to do. A hold that is still there is dropped as it is.
    End,
}

/// Why a session goes back.
#[derive(Debug, Clone, PartialEq)]
enum Back {
    /// To start a volatile run again, from this step.
    Resume(usize),
    /// To try the job again later, or fail when attempts have run out.
    Retry(Fault),
    /// To fail.
    Fail(Fault),
    /// To fail and keep what is done.
    FailKeeping(Fault),
    /// Because a person cancelled it.
    Cancel,
}

#[derive(Debug, Clone, PartialEq)]
enum Goal {
    Forward,
    Back(Back),
}

#[derive(Debug, Clone, PartialEq)]
enum Doing {
    Nothing,
    Holding,
    Refencing,
    Running(usize),
    Undoing(usize),
    Logging(StepRecord),
    Settling(Box<Action>),
    Ended,
}

/// One claimed job in the hands of one worker.
#[derive(Debug, Clone)]
pub struct Session {
    job: Job,
    plan: Vec<StepPlan>,
    pace: Pace,
    goal: Goal,
    doing: Doing,
    holding: bool,
    accepted: bool,
    cancel: bool,
    next_beat: Timestamp,
    /// How soon a renewal that fails is asked for again.
    beat_again: SignedDuration,
}

/// How soon a renewal of the lease is asked for again when the first of them fails; doubled with each
/// further one up to the normal pause: a store that was away for one call must not cost the lease.
const BEAT_AGAIN: SignedDuration = SignedDuration::from_secs(1);

impl Session {
    /// A session for a job that was just claimed.
    #[must_use]
    pub fn new(job: Job, plan: Vec<StepPlan>, pace: Pace, now: Timestamp) -> Self {
        let cancel = job.cancel_requested;
        let mut session = Self {
            job,
            plan,
            pace,
            goal: Goal::Forward,
            doing: Doing::Nothing,
            holding: false,
            accepted: false,
            cancel,
            next_beat: now + pace.beat,
            beat_again: BEAT_AGAIN,
        };
        if let Some(start) = session.broken_run() {
            session.goal = Goal::Back(Back::Resume(start));
        }
        if session.job.attempt > pace.attempts_max {
            session.give_up();
        }
        session
    }

    /// The job as this session knows it.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// When the session wants its next `Tick`.
    #[must_use]
    pub fn next_tick(&self) -> Timestamp {
        self.next_beat
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.doing == Doing::Ended
    }

    /// Takes what happened, returns what to do, in order.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        if self.ended() {
            return Vec::new();
        }
        let mut actions = Vec::new();
        self.take(now, event, &mut actions);
        // A clock that was put back must not keep the lease waiting for as long as it was wrong.
        self.next_beat = self.next_beat.min(now + self.pace.beat);
        if now >= self.next_beat && self.doing == Doing::Refencing {
            // A beat under the token that is being replaced would be one of somebody who lost the job.
            self.next_beat = now + BEAT_AGAIN;
        } else if now >= self.next_beat && !self.ended() {
            self.next_beat = now + self.pace.beat;
            actions.push(Action::Beat { accepted: self.accepted });
        }
        actions
    }

    fn take(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {
                if self.doing == Doing::Nothing {
                    self.proceed(now, out);
                }
            }
            Event::Guard(answer) => self.guard_answered(now, &answer, out),
            Event::HostFault(fault) | Event::UndoFailed(fault) => self.stuck(now, fault, out),
            Event::HoldLost => self.hold_lost(now, out),
            Event::StepDone(output) => {
                if let Doing::Running(n) = self.doing {
                    self.log(n, StepMark::Done, output, now, out);
                }
            }
            Event::StepFailed(fault) => {
                if let Doing::Running(n) = self.doing {
                    self.failed(n, now, fault, out);
                }
            }
            Event::UndoDone => {
                if let Doing::Undoing(n) = self.doing {
                    self.log(n, StepMark::Undone, serde_json::Value::Null, now, out);
                }
            }
            Event::Logged(answer) => self.logged(now, answer, out),
            Event::Beat(answer) => self.beaten(now, answer, out),
            Event::BeatFailed => {
                self.next_beat = self.next_beat.min(now + self.beat_again);
                self.beat_again = (self.beat_again * 2).min(self.pace.beat);
            }
            Event::CancelAsked => self.cancel_asked(now, out),
            Event::Reasserted(answer) => self.reasserted(now, &answer, out),
            Event::Refenced(answer) => self.refenced(now, answer, out),
            Event::Settled(answer) => self.settled(&answer, out),
            Event::Stop => self.stop(now, out),
        }
    }

    /// Attempts have run out though none of them ended with a fault of its own: what is complete is
    /// finished, what keeps the rest fails alone, anything else is undone.
    fn give_up(&mut self) {
        let fault = self.exhausted();
        match self.first_open().and_then(|n| self.plan.get(n)) {
            None => self.goal = Goal::Forward,
            Some(_) if self.cancel => self.goal = Goal::Back(Back::Cancel),
            Some(step) if step.keeps_rest => {
                self.goal = Goal::Back(Back::FailKeeping(fault));
            }
            Some(_) => self.goal = Goal::Back(Back::Fail(fault)),
        }
    }

    fn first_open(&self) -> Option<usize> {
        (0..self.plan.len()).find(|&n| self.mark(n) != Some(StepMark::Done))
    }

    fn mark(&self, n: usize) -> Option<StepMark> {
        let name = self.plan.get(n)?.name;
        self.job.steps.iter().find(|entry| entry.step == name).map(|entry| entry.mark)
    }

    /// The first step that may be taken back: the one behind the last barrier that was reached.
    fn behind_barrier(&self) -> usize {
        let reached =
            |(n, step): &(usize, &StepPlan)| step.barrier && self.mark(*n) == Some(StepMark::Done);
        let last = self.plan.iter().enumerate().rev().find(reached);
        last.map_or(0, |(n, _)| n + 1)
    }

    fn touched(&self, n: usize) -> bool {
        matches!(self.mark(n), Some(StepMark::Planned | StepMark::Done))
    }

    /// The first step of a run of volatile steps that was begun and not completed.
    fn broken_run(&self) -> Option<usize> {
        let mut n = 0;
        while n < self.plan.len() {
            let run = self.plan.iter().skip(n).take_while(|step| step.volatile).count();
            let last = (n + run).saturating_sub(1);
            if run > 0
                && self.mark(last) != Some(StepMark::Done)
                && (n..=last).any(|step| self.touched(step))
            {
                return Some(n);
            }
            n += run.max(1);
        }
        None
    }

    /// Decides the next action from the log and the goal.
    fn proceed(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let first_open = self.first_open();
        if self.cancel && self.goal == Goal::Forward && first_open.is_some() {
            self.goal = Goal::Back(Back::Cancel);
        }
        match &self.goal {
            Goal::Forward => match first_open {
                None => self.settle(Action::Finish(Outcome::Succeeded), out),
                Some(n) => self.forward(n, now, out),
            },
            Goal::Back(why) => match self.to_undo(why) {
                Some(n) => self.undo(n, out),
                None => self.arrived_back(now, out),
            },
        }
    }

    /// The next step to take back on the way to a goal: the last one that was touched, down to the
    /// goal's floor, and then what was only a preparation for what lies behind it.
    fn to_undo(&self, why: &Back) -> Option<usize> {
        let (floor, ends) = match why {
            Back::Resume(floor) => (*floor, false),
            Back::FailKeeping(_) => (self.plan.len(), false),
            Back::Fail(_) | Back::Cancel => (self.behind_barrier(), true),
            Back::Retry(fault) => (self.behind_barrier(), !self.tries_again(fault)),
        };
        let prepares = |n: usize| {
            let barrier =
                (n..self.plan.len()).find(|&m| self.plan.get(m).is_some_and(|s| s.barrier));
            let next = barrier.is_some_and(|barrier| barrier + 1 == floor);
            ends && next && self.plan.get(n).is_some_and(|step| step.provisional)
        };
        let mut backwards = (0..self.plan.len()).rev();
        backwards.find(|&n| self.touched(n) && (n >= floor || prepares(n)))
    }

    fn forward(&mut self, n: usize, now: Timestamp, out: &mut Vec<Action>) {
        let Some(step) = self.plan.get(n).copied() else { return };
        let held_ahead = self.plan.iter().skip(n).any(|step| step.mode == StepMode::Held);
        if self.holding && !held_ahead {
            self.holding = false;
            out.push(Action::Release);
        }
        if !self.ready_for(step.mode, out) {
            return;
        }
        if step.mode == StepMode::Free && !self.plan.iter().any(|s| s.mode != StepMode::Free) {
            self.accept(out);
        }
        if self.mark(n) == Some(StepMark::Planned) {
            self.doing = Doing::Running(n);
            out.push(Action::Run(n));
        } else {
            self.log(n, StepMark::Planned, serde_json::Value::Null, now, out);
        }
    }

    fn undo(&mut self, n: usize, out: &mut Vec<Action>) {
        let Some(step) = self.plan.get(n).copied() else { return };
        if self.ready_for(step.mode, out) {
            self.doing = Doing::Undoing(n);
            out.push(Action::Undo(n));
        }
    }

    /// Brings the hold into the shape a step needs; `false` while an answer is awaited.
    fn ready_for(&mut self, mode: StepMode, out: &mut Vec<Action>) -> bool {
        match mode {
            StepMode::Held if !self.holding => {
                self.doing = Doing::Holding;
                out.push(Action::Hold);
                false
            }
            StepMode::Detached if self.holding => {
                self.holding = false;
                out.push(Action::Release);
                true
            }
            StepMode::Free | StepMode::Held | StepMode::Detached => true,
        }
    }

    fn log(
        &mut self,
        n: usize,
        mark: StepMark,
        output: serde_json::Value,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(step) = self.plan.get(n) else { return };
        let record = StepRecord { step: step.name.to_owned(), mark, output, at: now };
        self.doing = Doing::Logging(record.clone());
        out.push(Action::Log(record));
    }

    /// The host has the work, or none is needed: the message has done its duty.
    fn accept(&mut self, out: &mut Vec<Action>) {
        if !self.accepted {
            self.accepted = true;
            out.push(Action::Ack);
            out.push(Action::Beat { accepted: true });
        }
    }

    /// Another claim has the job, or a record that will find one: no message is needed for it.
    fn replaced(&mut self, out: &mut Vec<Action>) {
        if !self.accepted {
            self.accepted = true;
            out.push(Action::Ack);
        }
        if matches!(self.doing, Doing::Running(_) | Doing::Undoing(_)) {
            out.push(Action::Abort);
        }
        self.doing = Doing::Ended;
        out.push(Action::End);
    }
}

#[cfg(test)]
mod tests;
