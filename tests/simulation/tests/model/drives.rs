//! Workers: they claim what messages name, and do what the session of each claimed job decides.

use drs_model::guard::GuardExit;
use drs_model::{Fault, FaultCode, GuardAnswer, GuardStatus, Job, SignedDuration};
use drs_protocol::session::{Action as Decision, Event, Pace, Session, StepMode};
use drs_protocol::store::{ClaimAnswer, SettleAnswer};
use drs_simulation::Guard;
use drs_simulation::store::{Call, Driver, Reply};
use serde_json::Value;
use std::sync::Arc;

use crate::state::{Activity, Command, Drive, News, Op, Part, Sent, Slot, State, Work};
use crate::world::{SmallWorld, worker_name};

/// Waits are over at any time, and leases run out at any time: the checker chooses when.
pub(crate) const NO_TIME: SignedDuration = SignedDuration::ZERO;

/// Between two renewals of a lease.
pub(crate) const BEAT: SignedDuration = SignedDuration::from_secs(20);

const PACE: Pace = Pace {
    beat: BEAT,
    attempts_max: 5,
    backoff: NO_TIME,
    backoff_max: NO_TIME,
    busy_wait: NO_TIME,
};

pub(crate) fn unreachable() -> Fault {
    Fault::transient(FaultCode::HostUnreachable, "the host does not answer", "")
}

fn failed() -> Fault {
    Fault::transient(FaultCode::HypervisorFailed, "the command failed", "")
}

/// A decision of a session, ready to be done.
#[derive(Debug)]
pub(crate) enum Made {
    Call(Part<Call>),
    Decision(Decision),
}

/// The call that a decision is for the store, if it is one.
fn written(session: &Session, worker: &str, decision: &Decision) -> Option<Call> {
    let job = session.job();
    let who = Driver { job: job.id, worker: worker.to_owned(), fence: job.fence };
    Some(match decision.clone() {
        Decision::Log(record) => Call::Log { who, record },
        Decision::Beat { accepted } => Call::Beat { who, ttl: NO_TIME, accepted },
        Decision::Reassert => {
            Call::Reassert { known: Box::new(job.clone()), worker: worker.to_owned(), ttl: NO_TIME }
        }
        Decision::Refence(seen) => Call::Refence { who, seen },
        Decision::Finish(outcome) => Call::Finish { who, outcome },
        Decision::HandOver(how) => Call::HandOver { who, how },
        _ => return None,
    })
}

impl SmallWorld {
    pub(crate) fn deliver(&self, state: &mut State, worker: usize, job: usize) {
        state.ready[job] -= 1;
        state.workers[worker].slot = Slot::Claiming(job);
        let message = Box::new((&self.jobs[job]).into());
        let call = Call::Claim { message, worker: worker_name(state, worker), ttl: NO_TIME };
        state.calls.push(Sent { what: Part::new(call), asker: Some(worker) });
    }

    /// `None` when the answer was lost: the message goes back to the queue.
    pub(crate) fn claimed(&self, state: &mut State, worker: usize, answer: Option<&ClaimAnswer>) {
        let Slot::Claiming(job) = state.workers[worker].slot else { return };
        state.workers[worker].slot = Slot::Free;
        match answer {
            Some(ClaimAnswer::Claimed(record)) => {
                let plan = self.scope.plan.to_vec();
                let session =
                    Part::new(Session::new((**record).clone(), plan, PACE, self.work_time()));
                let unacked = !self.lacks(Guard::LateAck);
                let drive = Drive { session, job, unacked, activity: None, inbox: Vec::new() };
                state.workers[worker].slot = Slot::Driving(drive);
                self.happened(state, worker, Event::Tick);
            }
            Some(ClaimAnswer::Parked { woken, .. }) => self.publish(state, woken),
            None if !self.lacks(Guard::LateAck) => state.ready[job] += 1,
            _ => {}
        }
    }

    pub(crate) fn publish(&self, state: &mut State, jobs: &[Job]) {
        for job in jobs {
            state.ready[self.number(job.id)] += 1;
        }
    }

    pub(crate) fn happened(&self, state: &mut State, worker: usize, event: Event) {
        self.step(state, worker, &Part::new(event), false);
    }

    /// The lease is to be renewed, and is at once: what else may happen between is as if it had been
    /// renewed later.
    pub(crate) fn beat(&self, state: &mut State, worker: usize) {
        let before = state.calls.len();
        self.step(state, worker, &Part::new(Event::Tick), true);
        for Sent { what, .. } in state.calls.split_off(before) {
            if let Reply::Beat(answer) = *self.ask(state, &what) {
                self.happened(state, worker, Event::Beat(answer));
            }
        }
    }

    fn step(&self, state: &mut State, worker: usize, event: &Part<Event>, beat: bool) {
        if let Event::Settled(SettleAnswer::Settled { woken }) = event.get() {
            self.publish(state, woken);
        }
        let life = state.workers[worker].life;
        let name = worker_name(state, worker);
        let Some(drive) = state.drive_mut(worker) else { return };
        let question = (drive.session.print(), event.print(), beat, worker, life);
        let (session, decisions) = self.steps.get(question, || {
            let now = if beat { self.beat_time() } else { self.work_time() };
            let mut session = drive.session.get().clone();
            let decisions = session.step(now, event.get().clone());
            let made =
                decisions.into_iter().map(|decision| match written(&session, &name, &decision) {
                    Some(call) => Made::Call(Part::new(call)),
                    None => Made::Decision(decision),
                });
            let made: Vec<Made> = made.collect();
            (Part::new(session), Arc::new(made))
        });
        drive.session = session;
        for made in decisions.iter() {
            match made {
                Made::Decision(decision) => self.perform(state, worker, decision),
                Made::Call(call) if !beat && matches!(call.get(), Call::Beat { .. }) => {}
                Made::Call(call) => {
                    state.calls.push(Sent { what: call.clone(), asker: Some(worker) });
                }
            }
        }
    }

    fn perform(&self, state: &mut State, worker: usize, decision: &Decision) {
        let Some(drive) = state.drive_mut(worker) else { return };
        match decision {
            Decision::Hold => {
                drive.activity = Some(Activity::Holding);
                self.send(state, worker, Op::Hold);
            }
            Decision::Run(n) => {
                drive.activity = Some(Activity::Running(*n));
                let step = self.scope.plan[*n];
                match step.mode {
                    StepMode::Free => {
                        self.tell_outcome(state, worker, Event::StepDone(Value::Null))
                    }
                    StepMode::Held => self.send(state, worker, Op::Serve(step.name)),
                    StepMode::Detached => self.send(state, worker, Op::Start(step.name)),
                }
            }
            Decision::Undo(n) => {
                drive.activity = Some(Activity::Undoing(*n));
                let step = self.scope.plan[*n];
                let detached = step.mode == StepMode::Detached;
                match step.mode {
                    StepMode::Free => self.tell_outcome(state, worker, Event::UndoDone),
                    _ => self.send(state, worker, Op::Undo { step: step.name, detached }),
                }
            }
            Decision::Abort => self.abort(state, worker),
            Decision::Release => self.release_hold(state, worker),
            Decision::Ack => drive.unacked = false,
            Decision::End => self.end(state, worker),
            other => unreachable!("{other:?} is for the store"),
        }
    }

    fn release_hold(&self, state: &mut State, worker: usize) {
        for unit in &mut state.units {
            if unit.asker == Some(worker) && unit.work == Work::Hold {
                unit.asker = None;
                let command = Command { job: unit.job, fence: unit.fence, op: Op::Release };
                state.commands.push(Sent { what: Part::new(command), asker: None });
            }
        }
    }

    fn send(&self, state: &mut State, worker: usize, op: Op) {
        let Some(drive) = state.drive(worker) else { return };
        let command = Command { job: drive.job, fence: drive.session.get().job().fence, op };
        state.commands.push(Sent { what: Part::new(command), asker: Some(worker) });
    }

    fn tell_outcome(&self, state: &mut State, worker: usize, event: Event) {
        if let Some(drive) = state.drive_mut(worker) {
            drive.inbox.push(News::Outcome(Part::new(event)));
        }
    }

    /// Nobody waits for the activity of the moment any more.
    pub(crate) fn abort(&self, state: &mut State, worker: usize) {
        let Some(drive) = state.drive_mut(worker) else { return };
        drive.activity = None;
        drive.inbox.retain(|news| matches!(news, News::Event(_)));
        // The end of a connection comes behind the command that was sent over it, and ends it.
        state.commands.retain(|sent| {
            let connected = matches!(sent.what.get().op, Op::Hold | Op::Serve(_));
            !(connected && sent.asker == Some(worker))
        });
        let orphaned = state.commands.iter_mut().filter(|sent| sent.asker == Some(worker));
        orphaned.for_each(|sent| sent.asker = None);
        for unit in &mut state.units {
            if unit.asker == Some(worker) && unit.work != Work::Hold {
                unit.asker = None;
            }
        }
    }

    /// A session is over; what it holds is dropped with its connection, and a message that it did not
    /// acknowledge comes again.
    pub(crate) fn end(&self, state: &mut State, worker: usize) {
        self.abort(state, worker);
        let slot = std::mem::replace(&mut state.workers[worker].slot, Slot::Free);
        match slot {
            Slot::Driving(drive) if drive.unacked => state.ready[drive.job] += 1,
            Slot::Claiming(job) if !self.lacks(Guard::LateAck) => state.ready[job] += 1,
            _ => {}
        }
        let calls = state.calls.iter_mut().filter(|sent| sent.asker == Some(worker));
        calls.for_each(|sent| sent.asker = None);
        let units = state.units.iter_mut().filter(|unit| unit.asker == Some(worker));
        units.for_each(|unit| unit.asker = None);
    }

    /// A worker hears at once what it is told while it waits for nothing else; otherwise in any order.
    pub(crate) fn tell(&self, state: &mut State, worker: usize, news: News) {
        let waits = |asker: Option<usize>| asker == Some(worker);
        let more = state.calls.iter().any(|sent| waits(sent.asker))
            || state.commands.iter().any(|sent| waits(sent.asker));
        let Some(drive) = state.drive_mut(worker) else { return };
        if more || !drive.inbox.is_empty() {
            drive.inbox.push(news);
        } else {
            self.hear(state, worker, news);
        }
    }

    pub(crate) fn hear(&self, state: &mut State, worker: usize, news: News) {
        let Some(drive) = state.drive_mut(worker) else { return };
        match news {
            News::Event(event) => self.step(state, worker, &event, false),
            News::Outcome(event) => {
                drive.activity = None;
                self.step(state, worker, &event, false);
            }
            News::Answer(answer) => match (drive.activity, answer.get()) {
                (Some(Activity::Running(n)), GuardAnswer::Started | GuardAnswer::Attached) => {
                    drive.activity = Some(Activity::Following(n));
                    self.happened(state, worker, Event::Guard(answer.get().clone()));
                }
                (Some(Activity::Running(_)), &GuardAnswer::Exit(exit)) => {
                    self.happened(state, worker, Event::Guard(answer.get().clone()));
                    self.command_over(state, worker, exit);
                }
                (Some(_), _) => {
                    drive.activity = None;
                    self.happened(state, worker, Event::Guard(answer.get().clone()));
                }
                (None, _) => {}
            },
        }
    }

    fn command_over(&self, state: &mut State, worker: usize, exit: GuardExit) {
        let event = match exit {
            GuardExit::Code(0) => Event::StepDone(Value::Null),
            GuardExit::Code(_) => Event::StepFailed(failed()),
            GuardExit::Cancelled => {
                Event::StepFailed(Fault::transient(FaultCode::Cancelled, "it was cancelled", ""))
            }
        };
        self.hear(state, worker, News::Outcome(Part::new(event)));
    }

    /// Looks at a detached command.
    pub(crate) fn follow(&self, state: &mut State, worker: usize) {
        let Some(drive) = state.drive(worker) else { return };
        let Some(Activity::Following(n)) = drive.activity else { return };
        let (job, step) = (drive.job, self.scope.plan[n].name);
        match state.guard.get().status(state.boot, self.jobs[job].id, step) {
            GuardStatus::Running => {}
            GuardStatus::Exit(exit) => self.command_over(state, worker, exit),
            GuardStatus::Vanished | GuardStatus::Rebooted | GuardStatus::Unknown => {
                let fault = Fault::transient(FaultCode::Vanished, "the command is gone", "");
                self.hear(state, worker, News::Outcome(Part::new(Event::StepFailed(fault))));
            }
        }
    }

    /// The worker waits for the host no longer.
    pub(crate) fn give_up(&self, state: &mut State, worker: usize) {
        let Some(activity) = state.drive(worker).and_then(|drive| drive.activity) else { return };
        self.abort(state, worker);
        for unit in &mut state.units {
            if activity == Activity::Holding && unit.asker == Some(worker) {
                unit.asker = None;
            }
        }
        let event = match activity {
            Activity::Holding => Event::HostFault(unreachable()),
            Activity::Running(_) | Activity::Following(_) => Event::StepFailed(unreachable()),
            Activity::Undoing(_) => Event::UndoFailed(unreachable()),
        };
        self.happened(state, worker, event);
    }

    pub(crate) fn served(&self, state: &mut State, worker: usize, code: i32) {
        let event = match code {
            0 => Event::StepDone(Value::Null),
            _ => Event::StepFailed(failed()),
        };
        self.tell(state, worker, News::Outcome(Part::new(event)));
    }
}
