//! Hosts: what their guards admit runs, and is on record here whatever the guards remember.

use drs_model::guard::GuardExit;
use drs_model::{FencingToken, GuardAnswer, JobId, VmRef};
use drs_protocol::guard::{GuardEvent, VmGuard};
use drs_protocol::session::{Event, StepPlan};

use super::{Guard, Harm, World, links};
use crate::agenda::{Command, DriveId, Happening, Millis, Note, Op, Peer, Place, Serial, WorkerId};
use crate::oracle::Oracle;

/// A VM that a job works on.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) vm: VmRef,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) up: bool,
    pub(super) boot: u64,
    pub(super) vms: Vec<Vm>,
}

#[derive(Debug, Default)]
pub(super) struct Vm {
    pub(super) guard: VmGuard,
    pub(super) units: Vec<Unit>,
}

impl Host {
    pub(super) fn new(machines: usize) -> Self {
        Self { up: true, boot: 1, vms: (0..machines).map(|_| Vm::default()).collect() }
    }
}

/// Something that is there on a host: a hold, or a command that runs.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) id: u64,
    pub(super) job: JobId,
    pub(super) fence: FencingToken,
    pub(super) worker: WorkerId,
    pub(super) drive: DriveId,
    pub(super) serial: Serial,
    pub(super) work: Work,
    pub(super) code: i32,
    pub(super) silent_since: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    Hold,
    /// Ends with its connection.
    Served(&'static str),
    Detached(&'static str, String),
    /// A short command that nothing ends.
    Undo(&'static str),
}

impl World<'_> {
    pub(super) fn vm(&mut self, place: Place) -> &mut Vm {
        &mut self.hosts[place.host].vms[place.machine]
    }

    pub(super) fn cut_off(&self, worker: WorkerId, host: usize) -> bool {
        !self.hosts[host].up || self.cuts.contains(&(worker, Peer::Host(host)))
    }

    pub(super) fn command_arrives(&mut self, command: Command) {
        let place = command.place;
        if self.cut_off(command.from, place.host) || self.connection_closed(&command) {
            return;
        }
        if let Op::Release { unit, fence } = command.op {
            let vm = self.vm(place);
            if vm.units.iter().any(|u| u.id == unit) {
                vm.units.retain(|u| u.id != unit);
                vm.guard.hold_ended(command.grip.job, fence);
            }
            return;
        }
        if self.vm(place).units.iter().any(|unit| matches!(unit.work, Work::Undo(_))) {
            return self.after(300..800, Happening::CommandArrives(command));
        }
        self.weaken(&command);
        match command.op.clone() {
            Op::Hold => self.hold(&command),
            Op::Serve { step } => self.serve(&command, step),
            Op::Start { step, name } => self.start(&command, step, name),
            Op::Undo { step, name } => self.undo(&command, step, name.as_deref()),
            Op::Release { .. } => {}
        }
    }

    /// Whether the worker is dead or has given the connection up on which a command came: the end of a
    /// connection comes behind the command and ends it.
    fn connection_closed(&self, command: &Command) -> bool {
        let with_connection = matches!(command.op, Op::Hold | Op::Serve { .. });
        with_connection && self.activity_of(command.from, command.drive) != Some(command.serial)
    }

    /// Takes from the guard what it is to do without.
    fn weaken(&mut self, command: &Command) {
        let removed = self.removed;
        let guard = &mut self.vm(command.place).guard;
        if removed.lacks(Guard::HostFence) {
            (guard.fence, guard.fenced_by) = (FencingToken::default(), None);
        }
        if removed.lacks(Guard::Holder) {
            guard.holder = None;
        }
        if let Op::Start { name, .. } = &command.op {
            let key = format!("{}/{name}", command.grip.job);
            let exit = guard.commands.get(&key).and_then(|command| command.exit);
            let forgets = match exit {
                Some(GuardExit::Code(_)) => removed.lacks(Guard::ExitRecord),
                Some(GuardExit::Cancelled) => removed.lacks(Guard::Tombstone),
                None => false,
            };
            if forgets {
                guard.commands.remove(&key);
            }
        }
    }

    fn admit(&mut self, place: Place, event: &GuardEvent<'_>) -> GuardAnswer {
        let boot = self.hosts[place.host].boot;
        let answer = self.vm(place).guard.step(boot, event);
        let (GuardEvent::Hold(grip)
        | GuardEvent::Start(grip, _)
        | GuardEvent::Admit(grip)
        | GuardEvent::Cancel(grip, _)) = event;
        let name = match &answer {
            GuardAnswer::Started => "started",
            GuardAnswer::Attached => "attached",
            GuardAnswer::Exit(_) => "exit",
            GuardAnswer::Busy(_) => "busy",
            GuardAnswer::Stale(_) => "stale",
        };
        self.count(&format!("guard {name}"));
        self.tell(|| format!("host {place:?}: {event:?} -> {answer:?}"));
        if answer == GuardAnswer::Started
            && matches!(event, GuardEvent::Hold(_) | GuardEvent::Start(..))
        {
            let (job, fence) = (grip.job, grip.fence);
            let outlives = |unit: &Unit| match unit.work {
                Work::Hold => unit.job != job,
                Work::Served(_) => unit.fence >= fence,
                Work::Detached(..) | Work::Undo(_) => true,
            };
            let units = std::mem::take(&mut self.vm(place).units);
            let (stay, go): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(outlives);
            self.vm(place).units = stay;
            for unit in go {
                self.link_broke(&unit);
            }
        }
        answer
    }

    fn hold(&mut self, command: &Command) {
        let answer = self.admit(command.place, &GuardEvent::Hold(&command.grip));
        let unit = self.next_serial();
        if answer == GuardAnswer::Started {
            self.begin_unit(command, unit, Work::Hold, None);
        }
        self.answer_guarded(command, unit, answer);
    }

    fn start(&mut self, command: &Command, step: &'static str, name: String) {
        let answer = self.admit(command.place, &GuardEvent::Start(&command.grip, &name));
        let unit = self.next_serial();
        if answer == GuardAnswer::Started {
            self.begin_unit(command, unit, Work::Detached(step, name), Some(command.takes));
        }
        self.answer_guarded(command, unit, answer);
    }

    fn serve(&mut self, command: &Command, step: &'static str) {
        let admitted = self.admit(command.place, &GuardEvent::Admit(&command.grip));
        if let Some(fault) = links::refusal(&admitted) {
            return self.answer(command, Event::StepFailed(fault));
        }
        if self.location[command.place.machine] != command.place.host {
            return self.answer(command, Event::StepFailed(links::moved_away()));
        }
        let unit = self.next_serial();
        self.begin_unit(command, unit, Work::Served(step), Some(command.takes));
        let note = Note::Serving { drive: command.drive, serial: command.serial };
        self.note(command.from, 5..100, note);
    }

    fn undo(&mut self, command: &Command, step: &'static str, name: Option<&str>) {
        let (place, grip) = (command.place, &command.grip);
        let admitted = match name {
            Some(name) => self.admit(place, &GuardEvent::Cancel(grip, name)),
            None => self.admit(place, &GuardEvent::Admit(grip)),
        };
        if let Some(fault) = links::refusal(&admitted) {
            return self.answer(command, Event::UndoFailed(fault));
        }
        if let Some(name) = name {
            let mine = |unit: &Unit| {
                unit.job == grip.job && unit.work == Work::Detached(step, name.to_owned())
            };
            self.vm(place).units.retain(|unit| !mine(unit));
            self.oracle.cancelled.insert((grip.job, step), grip.fence);
            if let Some(effect) = self.oracle.effects.get_mut(&(grip.job, step)) {
                effect.succeeded = false;
            }
        }
        let unit = self.next_serial();
        self.begin_unit(command, unit, Work::Undo(step), Some(command.takes.min(3_000)));
    }

    fn begin_unit(&mut self, command: &Command, id: u64, work: Work, takes: Option<Millis>) {
        let here = self.location[command.place.machine] == command.place.host;
        let unit = Unit {
            id,
            job: command.grip.job,
            fence: command.grip.fence,
            worker: command.from,
            drive: command.drive,
            serial: command.serial,
            code: if here { command.code } else { links::MOVED_AWAY },
            silent_since: None,
            work,
        };
        self.watch_unit(command.place, &unit);
        if matches!(unit.work, Work::Hold | Work::Served(_)) {
            self.after(5_000..15_000, Happening::LinkCheck { place: command.place, unit: id });
        }
        if let Some(takes) = takes {
            let takes = if here { takes } else { 200 };
            self.after(takes..takes + 1, Happening::UnitEnds { place: command.place, unit: id });
        }
        self.vm(command.place).units.push(unit);
    }

    /// What a unit must not meet when it begins.
    fn watch_unit(&mut self, place: Place, unit: &Unit) {
        let others: Vec<Unit> = self.vm(place).units.clone();
        for other in others {
            let working = unit.work != Work::Hold && other.work != Work::Hold;
            let harm = if other.job != unit.job {
                Harm::Overlap
            } else if working
                && other.drive != unit.drive
                && !self.oracle.shaken.contains(&unit.job)
            {
                Harm::TwoDrivers
            } else {
                continue;
            };
            let what = format!(
                "{} {:?} under {} beside {} {:?} under {} at {place:?}",
                self.name(unit.job),
                unit.work,
                unit.fence,
                self.name(other.job),
                other.work,
                other.fence
            );
            self.harm(harm, what);
        }
        if let Work::Served(step) | Work::Detached(step, _) = unit.work {
            self.watch_others_work(place, unit);
            let what = format!("{} {step} under {}", self.name(unit.job), unit.fence);
            if self.oracle.ended.contains_key(&unit.job) {
                self.harm(Harm::RanAfterEnd, what.clone());
            }
            let key = (unit.job, step);
            let effect = *self.oracle.effects.entry(key).or_default();
            if let Work::Detached(..) = unit.work {
                if effect.succeeded {
                    self.harm(Harm::Rerun, what.clone());
                }
                if self.oracle.cancelled.get(&key).is_some_and(|under| *under >= unit.fence) {
                    self.harm(Harm::RanAfterCancel, what);
                }
            }
        }
    }

    /// A VM belongs to a job until its work there is done or taken back. What lies before a barrier that
    /// was reached is done.
    fn watch_others_work(&mut self, place: Place, unit: &Unit) {
        let Oracle { effects, ended, shaken, .. } = &self.oracle;
        let unfinished = |job: &JobId| {
            let planned = self.planned(*job);
            let beyond = |step: StepPlan| step.barrier && effects.contains_key(&(*job, step.name));
            *job != unit.job
                && planned.places[0].place == place
                && !ended.contains_key(job)
                && !shaken.contains(job)
                && !planned.kind.plan().into_iter().any(beyond)
        };
        let lies = effects.keys().find(|(job, _)| unfinished(job));
        if let Some((other, step)) = lies {
            let (name, other) = (self.name(unit.job), self.name(*other));
            let what = format!("{name} {:?} where {step} of {other} lies at {place:?}", unit.work);
            self.harm(Harm::Interleaved, what);
        }
    }

    pub(super) fn unit_ends(&mut self, place: Place, id: u64) {
        let vm = self.vm(place);
        let Some(at) = vm.units.iter().position(|unit| unit.id == id) else { return };
        let unit = vm.units.remove(at);
        match &unit.work {
            Work::Detached(step, name) => {
                let exit = Some(GuardExit::Code(unit.code));
                vm.guard.command_ended(unit.job, name, exit);
                let effect = self.oracle.effects.entry((unit.job, *step)).or_default();
                effect.succeeded = unit.code == 0;
            }
            Work::Served(_) => {
                let event = match unit.code {
                    0 => Event::StepDone(serde_json::Value::Null),
                    code => Event::StepFailed(links::exit_fault(code)),
                };
                self.answer_unit(place, &unit, event);
            }
            Work::Undo(step) => {
                self.oracle.effects.remove(&(unit.job, *step));
                self.answer_unit(place, &unit, Event::UndoDone);
            }
            Work::Hold => {}
        }
    }

    /// Power is cut: nothing runs any more.
    pub(super) fn power_cut(&mut self, host: usize) {
        let mut broken = Vec::new();
        self.hosts[host].boot += 1;
        for vm in &mut self.hosts[host].vms {
            vm.guard.rebooted();
            broken.append(&mut vm.units);
        }
        for unit in broken {
            self.link_broke(&unit);
        }
    }
}
