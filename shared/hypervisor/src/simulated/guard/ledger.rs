//! What the guard writes down: who has a VM, and when each hold and command began and ended.

use std::fs::{self, File};

use drs_model::guard::GuardExit;
use drs_model::{FencingToken, Grip, GuardAnswer, JobId, VmName};
use drs_protocol::guard::{GuardEvent, Holder};
use drs_transport::{Argv, TransportError};

use crate::simulated::command::Command;
use crate::simulated::state::{BOOT, Detached, HoldRecord, HostDir, VmState, now_ms};

/// The step name of holds in the journal.
const HOLD: &str = "hold";

impl HostDir {
    /// Notices what ended by itself: a hold whose process died, a detached command that is due.
    pub(in crate::simulated) fn settle(
        &self,
        vm: &VmName,
        state: &mut VmState,
    ) -> Result<(), TransportError> {
        if state.hold.as_ref().is_some_and(|hold| !self.lives(vm, hold)) {
            self.end_hold(vm, state, true)?;
        }
        if let Some(Holder { job, step: Some(step), .. }) = state.guard.holder.clone()
            && let Some(command) = state.detached.get(&key(job, &step))
            && command.due_ms <= now_ms()
        {
            let (due_ms, code) = (command.due_ms, command.code);
            self.note(vm, due_ms, (job, &step, fence_of(state)), "end")?;
            state.guard.command_ended(job, &step, Some(GuardExit::Code(code)));
        }
        Ok(())
    }

    /// Refuses a claim that a newer one has replaced, and one whose VM another job has.
    pub(in crate::simulated) fn admit(
        &self,
        grip: &Grip,
        state: &mut VmState,
    ) -> Result<(), TransportError> {
        let host = self.host_name().clone();
        match state.guard.step(BOOT, &GuardEvent::Admit(grip)) {
            GuardAnswer::Stale(seen) => Err(TransportError::Stale { host, seen: seen.0 }),
            GuardAnswer::Busy(job) => Err(TransportError::Busy { host, job }),
            _ => Ok(()),
        }
    }

    pub(super) fn begin_hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
        state: &mut VmState,
    ) -> Result<(u64, File), TransportError> {
        state.holds += 1;
        let path = self.vm_file(&grip.vm.name, &hold_ending(state.holds));
        let file = File::create(&path).map_err(|error| self.broken(&path, &error))?;
        file.try_lock().map_err(|error| self.broken(&path, &error))?;
        state.hold = Some(HoldRecord {
            job: grip.job,
            fence: grip.fence,
            number: state.holds,
            at_loss: at_loss.map(|argv| argv.parts().to_vec()),
        });
        self.note(&grip.vm.name, now_ms(), (grip.job, HOLD, grip.fence), "begin")?;
        Ok((state.holds, file))
    }

    pub(super) fn end_hold(
        &self,
        vm: &VmName,
        state: &mut VmState,
        lost: bool,
    ) -> Result<(), TransportError> {
        let Some(hold) = state.hold.take() else { return Ok(()) };
        if let Some(at_loss) = hold.at_loss.as_ref().filter(|_| lost) {
            Command::parse(at_loss).apply(state);
        }
        state.guard.hold_ended(hold.job, hold.fence);
        self.note(vm, now_ms(), (hold.job, HOLD, hold.fence), "end")?;
        let path = self.vm_file(vm, &hold_ending(hold.number));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.broken(&path, &error))
            }
            _ => Ok(()),
        }
    }

    fn lives(&self, vm: &VmName, hold: &HoldRecord) -> bool {
        File::open(self.vm_file(vm, &hold_ending(hold.number)))
            .is_ok_and(|file| file.try_lock().is_err())
    }

    pub(super) fn note(
        &self,
        vm: &VmName,
        at_ms: u64,
        (job, step, fence): (JobId, &str, FencingToken),
        what: &str,
    ) -> Result<(), TransportError> {
        self.journal(vm, &format!("{at_ms} {job} {step} {fence} {what}"))
    }

    /// Starts a detached command that the rules have admitted.
    pub(super) fn begin_command(
        &self,
        grip: &Grip,
        step: &str,
        argv: &Argv,
        state: &mut VmState,
    ) -> Result<(), TransportError> {
        let command = Command::parse(argv.parts());
        let now = now_ms();
        let length = u64::try_from(command.length().as_millis()).unwrap_or(u64::MAX);
        let record = Detached {
            command: argv.to_string(),
            due_ms: now.saturating_add(length),
            code: command.apply(state),
        };
        state.detached.insert(key(grip.job, step), record);
        self.note(&grip.vm.name, now, (grip.job, step, grip.fence), "begin")
    }
}

pub(super) fn key(job: JobId, step: &str) -> String {
    format!("{job}/{step}")
}

pub(super) fn hold_ending(number: u64) -> String {
    format!("{number}.hold")
}

fn fence_of(state: &VmState) -> FencingToken {
    state.guard.holder.as_ref().map_or(state.guard.fence, |holder| holder.fence)
}
