//! The rules of the host guard for one VM, as a pure state machine.
//!
//! The shell script of `drs-transport` is the same machine with files and `flock` for its state; the
//! simulated hypervisor runs this one. Rules, in the order in which they are checked:
//!
//! 1. **Fence**: a request with a smaller token than the VM has seen is `Stale`, and so is one with the
//!    same token for another job (a store that lost data may have given it twice).
//! 2. **Exit record**: a command that ended is never started again; its end is told. One that was
//!    cancelled is started again only by a newer claim than the one that cancelled it.
//! 3. **Holder**: the VM is held by one job; another job is `Busy` whatever it wants, the same command
//!    `Attached`, and an older hold of the same job gives way.
//! 4. **Admit**: the fence is raised and the request runs. `Busy` does not raise it.
//!
//! `Busy` meets a cancel as well: what a job did on the VM can be taken back only when nobody else works
//! there, and until then the record of it stays as it is.

use std::collections::BTreeMap;

use drs_model::guard::GuardExit;
use drs_model::{FencingToken, Grip, GuardAnswer, GuardStatus, JobId};
use serde::{Deserialize, Serialize};

/// What one host remembers of one VM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VmGuard {
    /// The newest token that was admitted.
    pub fence: FencingToken,
    /// The job that it was admitted for.
    #[serde(default)]
    pub fenced_by: Option<JobId>,
    /// Who has the VM now.
    pub holder: Option<Holder>,
    /// Detached commands by `job/step`.
    pub commands: BTreeMap<String, Command>,
}

/// Who has a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The job.
    pub job: JobId,
    /// The claim under which it was admitted.
    pub fence: FencingToken,
    /// The detached command that has it; `None` for a hold.
    pub step: Option<String>,
}

/// A detached command as the host remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// How many times it was really started: 0 for a tombstone, 1 as a rule, more when it was killed and
    /// asked for again.
    pub starts: u32,
    /// The boot of the host during which it was started.
    pub boot: u64,
    /// How it ended, once it has.
    pub exit: Option<GuardExit>,
    /// The newest claim that cancelled it, or took back what it had done.
    #[serde(default)]
    pub cancelled: Option<FencingToken>,
}

/// What reaches the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardEvent<'a> {
    /// Take the VM for as long as a channel stays open.
    Hold(&'a Grip),
    /// Start a detached command, once.
    Start(&'a Grip, &'a str),
    /// Run a short command, or serve one, beside what the job has on the VM.
    Admit(&'a Grip),
    /// End a detached command and leave a tombstone, whether it runs, has ended or was never started.
    Cancel(&'a Grip, &'a str),
}

fn key(job: JobId, step: &str) -> String {
    format!("{job}/{step}")
}

impl VmGuard {
    /// Decides on a request and changes the state accordingly. `boot` numbers the host's boots.
    pub fn step(&mut self, boot: u64, event: &GuardEvent<'_>) -> GuardAnswer {
        let (GuardEvent::Hold(grip)
        | GuardEvent::Start(grip, _)
        | GuardEvent::Admit(grip)
        | GuardEvent::Cancel(grip, _)) = event;
        let given_twice =
            grip.fence == self.fence && self.fenced_by.is_some_and(|job| job != grip.job);
        if grip.fence < self.fence || given_twice {
            return GuardAnswer::Stale(self.fence);
        }
        let answer = match (event, self.other_than(grip.job)) {
            (GuardEvent::Start(grip, step), other) => self.start(boot, grip, step, other),
            (_, Some(other)) => GuardAnswer::Busy(other),
            (GuardEvent::Hold(grip), None) => self.hold(grip),
            (GuardEvent::Admit(_), None) => GuardAnswer::Started,
            (GuardEvent::Cancel(grip, step), None) => self.cancel(boot, grip, step),
        };
        if !matches!(answer, GuardAnswer::Busy(_)) {
            self.fence = grip.fence;
            self.fenced_by = Some(grip.job);
        }
        answer
    }

    fn hold(&mut self, grip: &Grip) -> GuardAnswer {
        if let Some(Holder { step: Some(_), .. }) = self.holder {
            return GuardAnswer::Attached;
        }
        self.holder = Some(Holder { job: grip.job, fence: grip.fence, step: None });
        GuardAnswer::Started
    }

    fn start(&mut self, boot: u64, grip: &Grip, step: &str, other: Option<JobId>) -> GuardAnswer {
        let known = self.commands.get(&key(grip.job, step));
        let again = known.is_some_and(|c| c.cancelled.is_some_and(|under| under < grip.fence));
        if let Some(exit) = known.and_then(|command| command.exit)
            && !again
        {
            return GuardAnswer::Exit(exit);
        }
        if let Some(other) = other {
            return GuardAnswer::Busy(other);
        }
        match &self.holder {
            Some(holder) if holder.step.as_deref() == Some(step) => return GuardAnswer::Attached,
            Some(Holder { step: Some(_), .. }) => return GuardAnswer::Busy(grip.job),
            Some(_) | None => {}
        }
        let starts = known.map_or(0, |command| command.starts) + 1;
        let command = Command { starts, boot, exit: None, cancelled: None };
        self.commands.insert(key(grip.job, step), command);
        self.holder =
            Some(Holder { job: grip.job, fence: grip.fence, step: Some(step.to_owned()) });
        GuardAnswer::Started
    }

    fn cancel(&mut self, boot: u64, grip: &Grip, step: &str) -> GuardAnswer {
        let command = self.commands.entry(key(grip.job, step)).or_insert(Command {
            starts: 0,
            boot,
            exit: None,
            cancelled: None,
        });
        command.exit = Some(GuardExit::Cancelled);
        command.cancelled = Some(grip.fence);
        if self.holds(grip.job, Some(step)) {
            self.holder = None;
        }
        GuardAnswer::Exit(GuardExit::Cancelled)
    }

    /// A hold ended: released, or its channel closed. An older hold that gave way changes nothing.
    pub fn hold_ended(&mut self, job: JobId, fence: FencingToken) {
        if self.holds(job, None) && self.holder.as_ref().is_some_and(|h| h.fence == fence) {
            self.holder = None;
        }
    }

    /// A detached command ended by itself, or was killed (`None`).
    pub fn command_ended(&mut self, job: JobId, step: &str, exit: Option<GuardExit>) {
        if let Some(command) = self.commands.get_mut(&key(job, step))
            && command.exit.is_none()
        {
            command.exit = exit;
        }
        if self.holds(job, Some(step)) {
            self.holder = None;
        }
    }

    /// The host lost power: nothing runs any more, what is on disk stays.
    pub fn rebooted(&mut self) {
        self.holder = None;
    }

    /// How a detached command stands.
    #[must_use]
    pub fn status(&self, boot: u64, job: JobId, step: &str) -> GuardStatus {
        match self.commands.get(&key(job, step)) {
            None => GuardStatus::Unknown,
            Some(Command { exit: Some(exit), .. }) => GuardStatus::Exit(*exit),
            Some(_) if self.holds(job, Some(step)) => GuardStatus::Running,
            Some(command) if command.boot == boot => GuardStatus::Vanished,
            Some(_) => GuardStatus::Rebooted,
        }
    }

    /// The job that has the VM, when it is not this one.
    fn other_than(&self, job: JobId) -> Option<JobId> {
        self.holder.as_ref().map(|holder| holder.job).filter(|holder| *holder != job)
    }

    fn holds(&self, job: JobId, step: Option<&str>) -> bool {
        self.holder.as_ref().is_some_and(|h| h.job == job && h.step.as_deref() == step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grip(job: &str, fence: u64) -> Grip {
        Grip {
            job: JobId::from_key(job),
            fence: FencingToken(fence),
            vm: "dc/web1".parse().expect("a VM"),
        }
    }

    #[test]
    fn one_job_per_vm() {
        let mut guard = VmGuard::default();
        let (a, b) = (grip("a", 1), grip("b", 2));
        assert_eq!(guard.step(1, &GuardEvent::Hold(&a)), GuardAnswer::Started);
        assert_eq!(guard.step(1, &GuardEvent::Hold(&b)), GuardAnswer::Busy(a.job));
        assert_eq!(guard.fence, FencingToken(1), "busy does not raise the fence");
        guard.hold_ended(a.job, a.fence);
        assert_eq!(guard.step(1, &GuardEvent::Start(&b, "check")), GuardAnswer::Started);
        assert_eq!(guard.step(1, &GuardEvent::Hold(&a)), GuardAnswer::Stale(FencingToken(2)));
    }

    #[test]
    fn nothing_of_a_job_runs_or_is_taken_back_while_another_job_has_the_vm() {
        let (a, b) = (grip("a", 1), grip("b", 2));
        let busy = GuardAnswer::Busy(a.job);
        for event in [GuardEvent::Hold(&a), GuardEvent::Start(&a, "dump")] {
            let mut guard = VmGuard::default();
            assert_eq!(guard.step(1, &event), GuardAnswer::Started);
            let before = guard.clone();
            assert_eq!(guard.step(1, &GuardEvent::Admit(&b)), busy);
            assert_eq!(guard.step(1, &GuardEvent::Cancel(&b, "dump")), busy);
            assert_eq!(guard, before);
            assert_eq!(guard.step(1, &GuardEvent::Admit(&a)), GuardAnswer::Started, "not fenced");
            guard.rebooted();
            assert_eq!(guard.step(1, &GuardEvent::Admit(&b)), GuardAnswer::Started);
        }
    }

    #[test]
    fn a_token_that_was_given_twice_is_good_for_the_first_job_only() {
        let mut guard = VmGuard::default();
        let (a, b) = (grip("a", 7), grip("b", 7));
        assert_eq!(guard.step(1, &GuardEvent::Hold(&a)), GuardAnswer::Started);
        guard.hold_ended(a.job, a.fence);
        assert_eq!(guard.step(1, &GuardEvent::Hold(&b)), GuardAnswer::Stale(FencingToken(7)));
        assert_eq!(guard.step(1, &GuardEvent::Admit(&a)), GuardAnswer::Started);
    }

    #[test]
    fn a_detached_command_starts_once_whoever_asks() {
        let mut guard = VmGuard::default();
        let (old, new) = (grip("a", 1), grip("a", 5));
        assert_eq!(guard.step(1, &GuardEvent::Start(&old, "check")), GuardAnswer::Started);
        assert_eq!(guard.step(1, &GuardEvent::Start(&new, "check")), GuardAnswer::Attached);
        assert_eq!(guard.status(1, old.job, "check"), GuardStatus::Running);
        guard.command_ended(old.job, "check", Some(GuardExit::Code(0)));
        let done = GuardAnswer::Exit(GuardExit::Code(0));
        assert_eq!(guard.step(1, &GuardEvent::Start(&new, "check")), done);
        assert_eq!(guard.commands.values().map(|c| c.starts).sum::<u32>(), 1);
    }

    #[test]
    fn a_cancelled_command_cannot_start_late() {
        let mut guard = VmGuard::default();
        let a = grip("a", 1);
        let cancelled = GuardAnswer::Exit(GuardExit::Cancelled);
        assert_eq!(guard.step(1, &GuardEvent::Cancel(&a, "check")), cancelled);
        assert_eq!(guard.step(1, &GuardEvent::Start(&a, "check")), cancelled);
        assert!(guard.holder.is_none());
    }

    #[test]
    fn what_was_cancelled_or_taken_back_is_started_again_by_a_newer_claim_only() {
        let mut guard = VmGuard::default();
        let (old, new) = (grip("a", 1), grip("a", 2));
        assert_eq!(guard.step(1, &GuardEvent::Start(&old, "dump")), GuardAnswer::Started);
        guard.command_ended(old.job, "dump", Some(GuardExit::Code(0)));
        let cancelled = GuardAnswer::Exit(GuardExit::Cancelled);
        assert_eq!(guard.step(1, &GuardEvent::Cancel(&old, "dump")), cancelled);
        assert_eq!(guard.step(1, &GuardEvent::Start(&old, "dump")), cancelled);
        assert_eq!(guard.step(1, &GuardEvent::Start(&new, "dump")), GuardAnswer::Started);
        guard.command_ended(old.job, "dump", Some(GuardExit::Code(0)));
        let done = GuardAnswer::Exit(GuardExit::Code(0));
        assert_eq!(guard.step(1, &GuardEvent::Start(&grip("a", 3), "dump")), done);
    }

    #[test]
    fn a_killed_command_is_told_from_a_reboot_and_may_start_again() {
        let mut guard = VmGuard::default();
        let a = grip("a", 1);
        guard.step(1, &GuardEvent::Start(&a, "check"));
        guard.command_ended(a.job, "check", None);
        assert_eq!(guard.status(1, a.job, "check"), GuardStatus::Vanished);
        assert_eq!(guard.status(2, a.job, "check"), GuardStatus::Rebooted);
        assert_eq!(guard.step(2, &GuardEvent::Start(&a, "check")), GuardAnswer::Started);
        guard.rebooted();
        assert_eq!(guard.status(3, a.job, "check"), GuardStatus::Rebooted);
        assert_eq!(guard.status(3, a.job, "other"), GuardStatus::Unknown);
    }

    #[test]
    fn an_older_hold_of_the_same_job_gives_way_and_its_end_changes_nothing() {
        let mut guard = VmGuard::default();
        let (old, new) = (grip("a", 1), grip("a", 2));
        guard.step(1, &GuardEvent::Hold(&old));
        assert_eq!(guard.step(1, &GuardEvent::Hold(&new)), GuardAnswer::Started);
        guard.hold_ended(old.job, old.fence);
        assert!(guard.holder.is_some());
    }
}
