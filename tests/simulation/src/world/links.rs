//! The connections between workers and hosts: what a drive asks there, and what it hears.

use drs_model::guard::GuardExit;
use drs_model::{Fault, FaultClass, FaultCode, Grip, GuardAnswer, GuardStatus};
use drs_protocol::session::{Event, StepMode};
use serde_json::Value;

use super::World;
use super::drives::{Activity, Doing};
use super::hosts::{Unit, Work};
use crate::agenda::{Command, DriveId, Happening, Millis, Note, Op, Place, Serial, WorkerId};
use crate::kinds::Kind;

/// How long a silent connection lives.
const SILENCE: Millis = 90_000;
/// How long a worker waits for the answer of a host.
const ANSWER_LIMIT: Millis = 30_000;
/// The exit code of a command that does not find its VM.
pub(super) const MOVED_AWAY: i32 = 3;

/// What it means for a command that the guard did not let it in.
pub(super) fn refusal(answer: &GuardAnswer) -> Option<Fault> {
    match answer {
        GuardAnswer::Stale(_) => {
            Some(Fault::transient(FaultCode::Fenced, "a newer claim drives this job", ""))
        }
        GuardAnswer::Busy(_) => {
            Some(Fault::new(FaultClass::Busy, FaultCode::VmBusy, "another job has the VM", ""))
        }
        _ => None,
    }
}

pub(super) fn moved_away() -> Fault {
    Fault::permanent(FaultCode::VmNotFound, "the VM is not on this host", "")
}

fn unreachable() -> Fault {
    Fault::transient(FaultCode::HostUnreachable, "the host does not answer", "")
}

pub(super) fn exit_fault(code: i32) -> Fault {
    match code {
        MOVED_AWAY => moved_away(),
        2 => Fault::new(FaultClass::NeedsOperator, FaultCode::HypervisorFailed, "odd state", ""),
        _ => Fault::transient(FaultCode::HypervisorFailed, "the command failed", ""),
    }
}

impl World<'_> {
    pub(super) fn activity_of(&self, worker: WorkerId, drive: DriveId) -> Option<Serial> {
        Some(self.drive(worker, drive)?.activity.as_ref()?.serial)
    }

    pub(super) fn activity_over(&mut self, worker: WorkerId, drive: DriveId) {
        if let Some(drive) = self.drive_mut(worker, drive) {
            drive.activity = None;
        }
    }

    pub(super) fn begin_activity(&mut self, worker: WorkerId, id: DriveId, what: Doing) {
        let serial = self.next_serial();
        let Some(drive) = self.drive_mut(worker, id) else { return };
        drive.activity = Some(Activity { serial, what: what.clone(), answered: false });
        let job = drive.session.job().clone();
        let planned = self.planned(job.id);
        let (kind, places) = (planned.kind, planned.places.clone());
        let plan = kind.plan();
        let (target, op, step) = match what {
            Doing::Holding(n) => (&places[n], Some(Op::Hold), None),
            Doing::Running(n) => {
                let step = plan[n];
                let op = match step.mode {
                    StepMode::Free => None,
                    StepMode::Held => Some(Op::Serve { step: step.name }),
                    StepMode::Detached => {
                        Some(Op::Start { step: step.name, name: step.name.to_owned() })
                    }
                };
                (&places[0], op, Some(step))
            }
            Doing::Undoing(n) => {
                let step = plan[n];
                let detached = step.mode == StepMode::Detached;
                let name = detached.then(|| step.name.to_owned());
                let op = Op::Undo { step: step.name, name };
                (&places[0], (step.mode != StepMode::Free).then_some(op), Some(step))
            }
        };
        let takes = step.map_or(0, |step| Kind::takes(&step, &mut self.dice));
        let code = self.code();
        // That only a person can decide is met beside the work of the moment, never as an exit code.
        let code = if matches!(op, Some(Op::Start { .. })) { code.min(1) } else { code };
        let Some(op) = op else {
            let event = match what {
                Doing::Undoing(_) => Event::UndoDone,
                _ if code == 0 => Event::StepDone(Value::Null),
                _ => Event::StepFailed(exit_fault(code)),
            };
            let note = Note::Event { drive: id, serial: Some(serial), event };
            return self.note(worker, takes..takes + 1, note);
        };
        let grip = Grip { job: job.id, fence: job.fence, vm: target.vm.clone() };
        let place = target.place;
        self.send(Command { from: worker, drive: id, serial, place, grip, op, takes, code });
        let timed_out = Note::TimedOut { drive: id, serial };
        self.note(worker, ANSWER_LIMIT..ANSWER_LIMIT + 1, timed_out);
    }

    /// Now and then a step fails by itself.
    fn code(&mut self) -> i32 {
        match self.dice.between(0..1000) {
            _ if self.probed => 0,
            0..20 => 1,
            20..23 => 2,
            _ => 0,
        }
    }

    fn send(&mut self, command: Command) {
        if self.cut_off(command.from, command.place.host) {
            return;
        }
        let late = !self.quiet && self.dice.percent(self.scenario.late.0);
        let delay = if late { 1_000..self.scenario.late.1 * 1000 } else { 10..500 };
        self.after(delay, Happening::CommandArrives(command));
    }

    pub(super) fn release_holds(&mut self, worker: WorkerId, id: DriveId) {
        let serial = self.next_serial();
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let held = std::mem::take(&mut drive.held);
        let job = drive.session.job().id;
        for (place, unit) in held {
            let known = self.vm(place).units.iter().find(|u| u.id == unit).cloned();
            let Some(known) = known else { continue };
            let vm = self.planned(job).places[0].vm.clone();
            let grip = Grip { job, fence: known.fence, vm };
            let op = Op::Release { unit, fence: known.fence };
            let command =
                Command { from: worker, drive: id, serial, place, grip, op, takes: 0, code: 0 };
            self.send(command);
        }
    }

    pub(super) fn answer_guarded(&mut self, command: &Command, unit: u64, answer: GuardAnswer) {
        let &Command { drive, serial, place, from, .. } = command;
        self.note(from, 5..200, Note::Guarded { drive, serial, place, unit, answer });
    }

    pub(super) fn answer(&mut self, command: &Command, event: Event) {
        let (drive, serial) = (command.drive, Some(command.serial));
        self.note(command.from, 5..200, Note::Event { drive, serial, event });
    }

    /// What a command comes to; over a broken connection the worker only learns that it broke.
    pub(super) fn answer_unit(&mut self, place: Place, unit: &Unit, event: Event) {
        if self.cut_off(unit.worker, place.host) {
            return self.link_broke(unit);
        }
        let (drive, serial) = (unit.drive, Some(unit.serial));
        self.note(unit.worker, 5..200, Note::Event { drive, serial, event });
    }

    /// The connection of a unit broke: its worker notices.
    pub(super) fn link_broke(&mut self, unit: &Unit) {
        let drive = unit.drive;
        let note = match unit.work {
            Work::Hold => Note::HoldLost { drive, unit: unit.id },
            Work::Served(_) => {
                let event = Event::StepFailed(unreachable());
                Note::Event { drive, serial: Some(unit.serial), event }
            }
            Work::Undo(_) => {
                let event = Event::UndoFailed(unreachable());
                Note::Event { drive, serial: Some(unit.serial), event }
            }
            Work::Detached(..) => return,
        };
        self.note(unit.worker, 50..5_000, note);
    }

    pub(super) fn guarded(
        &mut self,
        worker: WorkerId,
        id: DriveId,
        serial: Serial,
        place: Place,
        unit: u64,
        answer: GuardAnswer,
    ) {
        if self.activity_of(worker, id) != Some(serial) || self.cut_off(worker, place.host) {
            return;
        }
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let Some(activity) = &mut drive.activity else { return };
        activity.answered = true;
        let what = activity.what.clone();
        match (what, &answer) {
            (Doing::Holding(n), GuardAnswer::Started) => {
                drive.held.push((place, unit));
                let job = drive.session.job().id;
                if n + 1 < self.planned(job).places.len() {
                    return self.begin_activity(worker, id, Doing::Holding(n + 1));
                }
                self.activity_over(worker, id);
                self.happened(worker, id, Event::Guard(answer));
            }
            (Doing::Holding(_), _) => {
                drive.activity = None;
                self.release_holds(worker, id);
                self.happened(worker, id, Event::Guard(answer));
            }
            (_, GuardAnswer::Started | GuardAnswer::Attached) => {
                self.happened(worker, id, Event::Guard(answer));
                self.note(worker, 500..2_500, Note::Follow { drive: id, serial });
            }
            (_, GuardAnswer::Exit(exit)) => {
                let exit = *exit;
                self.happened(worker, id, Event::Guard(answer));
                self.command_over(worker, id, serial, exit);
            }
            (_, GuardAnswer::Busy(_) | GuardAnswer::Stale(_)) => {
                drive.activity = None;
                self.happened(worker, id, Event::Guard(answer));
            }
        }
    }

    pub(super) fn serving(&mut self, worker: WorkerId, id: DriveId, serial: Serial) {
        if let Some(drive) = self.drive_mut(worker, id)
            && let Some(activity) = &mut drive.activity
            && activity.serial == serial
        {
            activity.answered = true;
        }
    }

    fn command_over(&mut self, worker: WorkerId, id: DriveId, serial: Serial, exit: GuardExit) {
        if self.activity_of(worker, id) != Some(serial) {
            return;
        }
        self.activity_over(worker, id);
        let event = match exit {
            GuardExit::Code(0) => Event::StepDone(Value::Null),
            GuardExit::Code(code) => Event::StepFailed(exit_fault(code)),
            GuardExit::Cancelled => Event::StepFailed(Fault::transient(
                FaultCode::Cancelled,
                "the step was cancelled on the host",
                "",
            )),
        };
        self.happened(worker, id, event);
    }

    /// Looks at a detached command, again and again until it ends.
    pub(super) fn follow(&mut self, worker: WorkerId, id: DriveId, serial: Serial) {
        if self.activity_of(worker, id) != Some(serial) {
            return;
        }
        let Some(drive) = self.drive(worker, id) else { return };
        let job = drive.session.job().clone();
        let place = self.planned(job.id).places[0].place;
        let Some(Activity { what: Doing::Running(n), .. }) = drive.activity else { return };
        let name = self.planned(job.id).kind.plan()[n].name;
        let boot = self.hosts[place.host].boot;
        if self.cut_off(worker, place.host) {
            return self.note(worker, 5_000..15_000, Note::Follow { drive: id, serial });
        }
        match self.vm(place).guard.status(boot, job.id, name) {
            GuardStatus::Exit(exit) => self.command_over(worker, id, serial, exit),
            GuardStatus::Running => {
                self.note(worker, 2_000..6_000, Note::Follow { drive: id, serial });
            }
            GuardStatus::Vanished | GuardStatus::Rebooted | GuardStatus::Unknown => {
                self.activity_over(worker, id);
                let fault = Fault::transient(FaultCode::Vanished, "the command is gone", "");
                self.happened(worker, id, Event::StepFailed(fault));
            }
        }
    }

    pub(super) fn timed_out(&mut self, worker: WorkerId, id: DriveId, serial: Serial) {
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let waits = |a: &Activity| a.serial == serial && !a.answered;
        let Some(activity) = drive.activity.take_if(|activity| waits(activity)) else { return };
        let event = match activity.what {
            Doing::Holding(_) => {
                self.release_holds(worker, id);
                Event::HostFault(unreachable())
            }
            Doing::Running(_) => Event::StepFailed(unreachable()),
            Doing::Undoing(_) => Event::UndoFailed(unreachable()),
        };
        self.happened(worker, id, event);
    }

    pub(super) fn hold_lost(&mut self, worker: WorkerId, id: DriveId, unit: u64) {
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let before = drive.held.len();
        drive.held.retain(|(_, held)| *held != unit);
        if drive.held.len() < before {
            self.release_holds(worker, id);
            self.happened(worker, id, Event::HoldLost);
        }
    }

    /// A host looks whether the connection of a unit still lives.
    pub(super) fn link_check(&mut self, place: Place, id: u64) {
        let t = self.t;
        let Some(unit) = self.vm(place).units.iter().find(|unit| unit.id == id).cloned() else {
            return;
        };
        let cut = self.cut_off(unit.worker, place.host);
        let frozen = self.workers.get(&unit.worker).is_some_and(|w| w.frozen_until > t);
        let wanted = self.drive(unit.worker, unit.drive).is_some_and(|drive| {
            drive.held.iter().any(|(_, held)| *held == id)
                || drive.activity.as_ref().is_some_and(|a| a.serial == unit.serial)
        });
        let silent = cut || frozen;
        let since = unit.silent_since.unwrap_or(t);
        let lost = if silent { t - since >= SILENCE } else { !wanted };
        if !lost {
            if let Some(unit) = self.vm(place).units.iter_mut().find(|unit| unit.id == id) {
                unit.silent_since = silent.then_some(since);
            }
            return self.after(5_000..15_000, Happening::LinkCheck { place, unit: id });
        }
        let vm = self.vm(place);
        vm.units.retain(|unit| unit.id != id);
        if unit.work == Work::Hold {
            vm.guard.hold_ended(unit.job, unit.fence);
        }
        self.link_broke(&unit);
    }
}
