//! The host: what its guard admits runs, and is on record here whatever the guard remembers.

use drs_model::guard::GuardExit;
use drs_model::{Fault, FaultClass, FaultCode, FencingToken, Grip, GuardAnswer};
use drs_protocol::guard::GuardEvent;
use drs_protocol::session::Event;
use drs_simulation::{Guard, Harm};

use crate::drives::unreachable;
use crate::state::{Command, News, Op, Part, Sent, State, Unit, Work};
use crate::world::SmallWorld;

/// What it means for a command that the guard did not let it in.
fn refusal(answer: &GuardAnswer) -> Option<Fault> {
    match answer {
        GuardAnswer::Stale(_) => Some(Fault::transient(FaultCode::Fenced, "a newer claim", "")),
        GuardAnswer::Busy(_) => {
            Some(Fault::new(FaultClass::Busy, FaultCode::VmBusy, "another job has the VM", ""))
        }
        _ => None,
    }
}

impl SmallWorld {
    /// Whether a command has to wait: nothing enters beside a command that takes something back.
    pub(crate) fn waits(&self, state: &State, command: &Command) -> bool {
        let undoing = state.units.iter().any(|unit| matches!(unit.work, Work::Undo(_)));
        undoing && command.op != Op::Release
    }

    pub(crate) fn command_arrives(&self, state: &mut State, n: usize) {
        let Sent { what, asker } = state.commands.remove(n);
        let command = what.get();
        self.weaken(state, command);
        let grip =
            Grip { job: self.jobs[command.job].id, fence: command.fence, vm: self.vm.clone() };
        match command.op {
            Op::Release => self.release(state, command),
            Op::Hold => {
                let answer = self.admit(state, command, &GuardEvent::Hold(&grip));
                self.begin_if_started(state, command, asker, &answer, Work::Hold);
                self.answer(state, asker, answer);
            }
            Op::Start(step) => {
                let answer = self.admit(state, command, &GuardEvent::Start(&grip, step));
                self.begin_if_started(state, command, None, &answer, Work::Detached(step));
                self.answer(state, asker, answer);
            }
            Op::Serve(step) => {
                let answer = self.admit(state, command, &GuardEvent::Admit(&grip));
                match refusal(&answer) {
                    Some(fault) => self.outcome(state, asker, Event::StepFailed(fault)),
                    None => self.begin(state, command, asker, Work::Served(step)),
                }
            }
            Op::Undo { step, detached } => {
                let event = match detached {
                    true => GuardEvent::Cancel(&grip, step),
                    false => GuardEvent::Admit(&grip),
                };
                let answer = self.admit(state, command, &event);
                match refusal(&answer) {
                    Some(fault) => self.outcome(state, asker, Event::UndoFailed(fault)),
                    None => self.undo(state, command, asker, step, detached),
                }
            }
        }
    }

    /// Takes from the guard what it is to do without.
    fn weaken(&self, state: &mut State, command: &Command) {
        let id = self.jobs[command.job].id;
        state.guard.change(|guard| {
            if self.lacks(Guard::HostFence) {
                (guard.fence, guard.fenced_by) = (FencingToken::default(), None);
            }
            if self.lacks(Guard::Holder) {
                guard.holder = None;
            }
            let Op::Start(step) = command.op else { return };
            let key = format!("{id}/{step}");
            let forgets = match guard.commands.get(&key).and_then(|command| command.exit) {
                Some(GuardExit::Code(_)) => self.lacks(Guard::ExitRecord),
                Some(GuardExit::Cancelled) => self.lacks(Guard::Tombstone),
                None => false,
            };
            if forgets {
                guard.commands.remove(&key);
            }
        });
    }

    /// Asks the guard; what gives way to what it starts is gone.
    fn admit(&self, state: &mut State, command: &Command, event: &GuardEvent<'_>) -> GuardAnswer {
        let boot = state.boot;
        let answer = state.guard.change(|guard| guard.step(boot, event));
        let takes = matches!(event, GuardEvent::Hold(_) | GuardEvent::Start(..));
        if takes && answer == GuardAnswer::Started {
            let gives_way = |unit: &Unit| match unit.work {
                Work::Hold => unit.job == command.job,
                Work::Served(_) => unit.fence < command.fence,
                Work::Detached(_) | Work::Undo(_) => false,
            };
            let units = std::mem::take(&mut state.units);
            let (go, stay) = units.into_iter().partition(gives_way);
            state.units = stay;
            self.links_broke(state, go);
        }
        answer
    }

    fn release(&self, state: &mut State, command: &Command) {
        let held = |unit: &Unit| {
            unit.work == Work::Hold && unit.job == command.job && unit.fence == command.fence
        };
        if let Some(n) = state.units.iter().position(|unit| held(unit) && unit.asker.is_none()) {
            self.link_ends(state, n);
        }
    }

    fn begin_if_started(
        &self,
        state: &mut State,
        command: &Command,
        asker: Option<usize>,
        answer: &GuardAnswer,
        work: Work,
    ) {
        if *answer == GuardAnswer::Started {
            self.begin(state, command, asker, work);
        }
    }

    fn undo(
        &self,
        state: &mut State,
        command: &Command,
        asker: Option<usize>,
        step: &'static str,
        detached: bool,
    ) {
        let job = command.job;
        if detached {
            state.units.retain(|unit| unit.job != job || unit.work != Work::Detached(step));
            state.record.cancelled.insert((job, step), command.fence);
            if let Some(succeeded) = state.record.effects.get_mut(&(job, step)) {
                *succeeded = false;
            }
        }
        self.begin(state, command, asker, Work::Undo(step));
    }

    fn begin(&self, state: &mut State, command: &Command, asker: Option<usize>, work: Work) {
        let unit = Unit { job: command.job, fence: command.fence, work, asker };
        self.watch(state, &unit);
        state.units.push(unit);
    }

    /// What a unit must not meet when it begins.
    fn watch(&self, state: &mut State, unit: &Unit) {
        for other in &state.units {
            let working = unit.work != Work::Hold && other.work != Work::Hold;
            if other.job != unit.job {
                state.harm.get_or_insert(Harm::Overlap);
            } else if working && other.fence != unit.fence {
                state.harm.get_or_insert(Harm::TwoDrivers);
            }
        }
        let (Work::Served(step) | Work::Detached(step)) = unit.work else { return };
        let ended = |job: usize| state.record.ended.contains_key(&self.jobs[job].id);
        let unfinished = |(job, _): &(usize, &str)| *job != unit.job && !ended(*job);
        if !state.record.shaken && state.record.effects.keys().any(unfinished) {
            state.harm.get_or_insert(Harm::Interleaved);
        }
        if state.record.ended.contains_key(&self.jobs[unit.job].id) {
            state.harm.get_or_insert(Harm::RanAfterEnd);
        }
        let key = (unit.job, step);
        let succeeded = *state.record.effects.entry(key).or_default();
        if matches!(unit.work, Work::Detached(_)) {
            if succeeded {
                state.harm.get_or_insert(Harm::Rerun);
            }
            if state.record.cancelled.get(&key).is_some_and(|under| *under >= unit.fence) {
                state.harm.get_or_insert(Harm::RanAfterCancel);
            }
        }
    }

    pub(crate) fn unit_ends(&self, state: &mut State, n: usize, code: i32) {
        let unit = state.units.remove(n);
        let id = self.jobs[unit.job].id;
        match unit.work {
            Work::Detached(step) => {
                let exit = Some(GuardExit::Code(code));
                state.guard.change(|guard| guard.command_ended(id, step, exit));
                state.record.effects.insert((unit.job, step), code == 0);
            }
            Work::Served(_) => {
                if let Some(worker) = unit.asker {
                    self.served(state, worker, code);
                }
            }
            Work::Undo(step) => {
                state.record.effects.remove(&(unit.job, step));
                self.outcome(state, unit.asker, Event::UndoDone);
            }
            Work::Hold => {}
        }
    }

    /// The connection of a unit that nobody wants any more has ended.
    pub(crate) fn link_ends(&self, state: &mut State, n: usize) {
        let unit = state.units.remove(n);
        if unit.work == Work::Hold {
            let id = self.jobs[unit.job].id;
            state.guard.change(|guard| guard.hold_ended(id, unit.fence));
        }
    }

    /// Power is cut: nothing runs any more.
    pub(crate) fn reboot(&self, state: &mut State) {
        state.boot += 1;
        state.guard.change(drs_protocol::guard::VmGuard::rebooted);
        let broken = std::mem::take(&mut state.units);
        self.links_broke(state, broken);
    }

    /// The workers hear of it in any order.
    fn links_broke(&self, state: &mut State, units: Vec<Unit>) {
        for unit in units {
            let Some(worker) = unit.asker else { continue };
            let news = match unit.work {
                Work::Hold => News::Event(Part::new(Event::HoldLost)),
                Work::Served(_) => News::Outcome(Part::new(Event::StepFailed(unreachable()))),
                Work::Undo(_) => News::Outcome(Part::new(Event::UndoFailed(unreachable()))),
                Work::Detached(_) => continue,
            };
            if let Some(drive) = state.drive_mut(worker) {
                drive.inbox.push(news);
            }
        }
    }

    fn answer(&self, state: &mut State, asker: Option<usize>, answer: GuardAnswer) {
        if let Some(worker) = asker {
            self.tell(state, worker, News::Answer(Part::new(answer)));
        }
    }

    fn outcome(&self, state: &mut State, asker: Option<usize>, event: Event) {
        if let Some(worker) = asker {
            self.tell(state, worker, News::Outcome(Part::new(event)));
        }
    }
}
