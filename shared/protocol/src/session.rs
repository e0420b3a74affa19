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
//! - `Lost` ends the session without touching the host.
//! - Resources are given up only when every step is undone or done; otherwise they stay with the job.
//!
//! # Crash points
//! Before `planned`: nothing happened. Between `planned` and `done`: the step may have happened in
//! part; it is run again (steps are idempotent), or undone first when it is volatile. After `done`:
//! its output is in the store. Between the last `done` and `finish`: the next worker only finishes.

mod settle;

use drs_model::{
    Fault, FencingToken, GuardAnswer, Job, SignedDuration, StepMark, StepRecord, Timestamp,
};

use crate::store::{BeatAnswer, HandOver, Outcome, ReassertAnswer, RefenceAnswer, SettleAnswer};

/// How a step works with the host guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepMode {
    /// It changes nothing on a host.
    Free,
    /// It works while the session holds the VM; it ends with the worker.
    Held,
    /// It is a command that outlives the worker; a later one attaches to it.
    Detached,
}

/// What the session must know of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPlan {
    /// Its name, unique in the saga and stable: it stands in logs.
    pub name: &'static str,
    /// How it works with the guard.
    pub mode: StepMode,
    /// Its effect does not outlive the worker until the last step of its run of volatile steps is
    /// done. After a crash the whole run is undone and starts again.
    pub volatile: bool,
    /// Its failure fails the job and takes back nothing that was done before it.
    pub keeps_rest: bool,
}

impl StepPlan {
    /// A step that changes nothing on a host.
    #[must_use]
    pub const fn free(name: &'static str) -> Self {
        Self { name, mode: StepMode::Free, volatile: false, keeps_rest: false }
    }

    /// A step that works while the session holds the VM.
    #[must_use]
    pub const fn held(name: &'static str) -> Self {
        Self { mode: StepMode::Held, ..Self::free(name) }
    }

    /// A command that outlives the worker.
    #[must_use]
    pub const fn detached(name: &'static str) -> Self {
        Self { mode: StepMode::Detached, ..Self::free(name) }
    }

    /// The same step, volatile.
    #[must_use]
    pub const fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }

    /// The same step, keeping the rest when it fails.
    #[must_use]
    pub const fn keeping_rest(self) -> Self {
        Self { keeps_rest: true, ..self }
    }
}

/// How the session paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How often the lease is renewed.
    pub beat: SignedDuration,
    /// Attempts after which a fault that may pass is final.
    pub attempts_max: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub backoff: SignedDuration,
    /// Longest wait between attempts.
    pub backoff_max: SignedDuration,
    /// Wait when the hypervisor or another job has the VM.
    pub busy_wait: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: SignedDuration::from_secs(20),
            attempts_max: 5,
            backoff: SignedDuration::from_secs(5),
            backoff_max: SignedDuration::from_secs(300),
            busy_wait: SignedDuration::from_secs(30),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The session begins, or time has passed.
    Tick,
    /// The host answered to `Hold`, or to the start of a detached step.
    Guard(GuardAnswer),
    /// The host could not be asked.
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
    /// Renew the lease; answer with `Beat` unless the store is down.
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
}

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
        if now >= self.next_beat && !self.ended() {
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
            Some(step) if step.keeps_rest && !self.cancel => {
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
            Goal::Back(why) => {
                let floor = match why {
                    Back::Resume(floor) => *floor,
                    Back::FailKeeping(_) => self.plan.len(),
                    Back::Retry(_) | Back::Fail(_) | Back::Cancel => 0,
                };
                let last = (floor..self.plan.len()).rev().find(|&n| self.touched(n));
                match last {
                    Some(n) => self.undo(n, out),
                    None => self.arrived_back(now, out),
                }
            }
        }
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

    fn guard_answered(&mut self, now: Timestamp, answer: &GuardAnswer, out: &mut Vec<Action>) {
        let holding = self.doing == Doing::Holding;
        if !holding && !matches!(self.doing, Doing::Running(_)) {
            return;
        }
        match answer {
            GuardAnswer::Started => {
                self.holding = holding;
                self.accept(out);
                if holding {
                    self.proceed(now, out);
                }
            }
            GuardAnswer::Attached | GuardAnswer::Exit(_) if !holding => self.accept(out),
            GuardAnswer::Stale(seen) => {
                self.doing = Doing::Refencing;
                out.push(Action::Refence(*seen));
            }
            GuardAnswer::Attached | GuardAnswer::Exit(_) => self.busy(now, self.job.id, out),
            GuardAnswer::Busy(other) => self.busy(now, *other, out),
        }
    }

    fn hold_lost(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if !self.holding {
            return;
        }
        self.holding = false;
        let held = |n: usize| self.plan.get(n).is_some_and(|s| s.mode == StepMode::Held);
        match self.doing {
            Doing::Running(n) if held(n) => {
                out.push(Action::Abort);
                let fault = settle::hold_lost_fault(&self.job);
                self.failed(n, now, fault, out);
            }
            Doing::Undoing(n) if held(n) => {
                out.push(Action::Abort);
                self.proceed(now, out);
            }
            _ => {}
        }
    }

    fn logged(&mut self, now: Timestamp, answer: BeatAnswer, out: &mut Vec<Action>) {
        let Doing::Logging(record) = self.doing.clone() else { return };
        match answer {
            BeatAnswer::Kept { cancel } => {
                self.cancel |= cancel;
                match self.job.steps.iter_mut().find(|entry| entry.step == record.step) {
                    Some(entry) => *entry = record,
                    None => self.job.steps.push(record),
                }
                self.doing = Doing::Nothing;
                self.proceed(now, out);
            }
            BeatAnswer::Lost | BeatAnswer::Done(_) => self.end(out),
            BeatAnswer::Unknown => out.push(Action::Reassert),
        }
    }

    fn beaten(&mut self, now: Timestamp, answer: BeatAnswer, out: &mut Vec<Action>) {
        match answer {
            BeatAnswer::Kept { cancel: false } => {}
            BeatAnswer::Kept { cancel: true } => {
                self.cancel = true;
                if self.goal == Goal::Forward && matches!(self.doing, Doing::Running(_)) {
                    out.push(Action::Abort);
                    self.goal = Goal::Back(Back::Cancel);
                    self.doing = Doing::Nothing;
                    self.proceed(now, out);
                }
            }
            BeatAnswer::Lost | BeatAnswer::Done(_) => self.end(out),
            BeatAnswer::Unknown => out.push(Action::Reassert),
        }
    }

    fn reasserted(&mut self, now: Timestamp, answer: &ReassertAnswer, out: &mut Vec<Action>) {
        match answer {
            ReassertAnswer::Conflict(_) => self.end(out),
            ReassertAnswer::Restored | ReassertAnswer::Exists => match self.doing.clone() {
                Doing::Logging(record) => out.push(Action::Log(record)),
                Doing::Settling(action) => out.push(*action),
                Doing::Nothing => self.proceed(now, out),
                _ => {}
            },
        }
    }

    fn refenced(&mut self, now: Timestamp, answer: RefenceAnswer, out: &mut Vec<Action>) {
        match answer {
            RefenceAnswer::Fenced(fence) => {
                self.job.fence = fence;
                if self.doing == Doing::Refencing {
                    self.doing = Doing::Nothing;
                    self.proceed(now, out);
                }
            }
            RefenceAnswer::Lost | RefenceAnswer::Unknown => self.end(out),
        }
    }

    fn end(&mut self, out: &mut Vec<Action>) {
        if matches!(self.doing, Doing::Running(_) | Doing::Undoing(_)) {
            out.push(Action::Abort);
        }
        self.doing = Doing::Ended;
        out.push(Action::End);
    }
}

#[cfg(test)]
mod tests;
