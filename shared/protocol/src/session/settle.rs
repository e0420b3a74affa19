//! How a session ends: what a fault means for the job, and what becomes of its resources.

use drs_model::{Fault, FaultClass, FaultCode, Job, SignedDuration, Timestamp};

use super::{Action, Back, Doing, Goal, Session, StepMode};
use crate::store::{HandOver, Outcome, SettleAnswer};

/// The fault of a step whose hold broke.
pub(super) fn hold_lost_fault(job: &Job) -> Fault {
    let host = job.spec.host().map_or_else(|| "the host".to_owned(), ToString::to_string);
    Fault::transient(
        FaultCode::HostUnreachable,
        format!("the connection that held the VM on {host} broke"),
        "The job starts this attempt again by itself.",
    )
}

impl Session {
    /// The running step failed: go back, unless only a person can decide.
    pub(super) fn failed(&mut self, n: usize, now: Timestamp, fault: Fault, out: &mut Vec<Action>) {
        if fault.code == FaultCode::Fenced {
            // Under a stale token nothing can be undone; whoever holds the newer one does it.
            let how = HandOver {
                not_before: now + self.pace.backoff,
                fault: Some(fault),
                keep: true,
                counts: false,
            };
            return self.settle(Action::HandOver(how), out);
        }
        let keeps_rest = self.plan.get(n).is_some_and(|step| step.keeps_rest);
        let back = match fault.class {
            _ if keeps_rest && !self.cancel => return self.failed_alone(now, fault, out),
            FaultClass::NeedsOperator => {
                return self.settle(Action::Finish(Outcome::NeedsOperator(fault)), out);
            }
            _ if self.cancel => Back::Cancel,
            FaultClass::Busy | FaultClass::Transient => Back::Retry(fault),
            FaultClass::Permanent | FaultClass::Poison => Back::Fail(fault),
        };
        self.goal = Goal::Back(back);
        self.doing = Doing::Nothing;
        self.proceed(now, out);
    }

    /// A step failed that takes nothing back: only it is tried again.
    fn failed_alone(&mut self, now: Timestamp, fault: Fault, out: &mut Vec<Action>) {
        let action = if fault.is_retryable() && self.job.attempt < self.pace.attempts_max {
            Action::HandOver(self.wait_for(now + self.backoff(), fault, true, true))
        } else {
            Action::Finish(Outcome::Failed(fault))
        };
        self.settle(action, out);
    }

    /// Everything that was to be undone is undone.
    pub(super) fn arrived_back(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let Goal::Back(why) = self.goal.clone() else { return };
        let action = match why {
            Back::Resume(_) => {
                self.goal = Goal::Forward;
                return self.proceed(now, out);
            }
            Back::Cancel => Action::Finish(Outcome::Cancelled),
            Back::Fail(fault) | Back::FailKeeping(fault) => Action::Finish(Outcome::Failed(fault)),
            Back::Retry(fault) if !self.tries_again(&fault) => {
                Action::Finish(Outcome::Failed(fault))
            }
            Back::Retry(fault) if fault.class == FaultClass::Busy => {
                Action::HandOver(self.wait_for(now + self.pace.busy_wait, fault, false, false))
            }
            Back::Retry(fault) => {
                Action::HandOver(self.wait_for(now + self.backoff(), fault, false, true))
            }
        };
        self.settle(action, out);
    }

    /// Whether a fault that may pass is followed by another attempt.
    pub(super) fn tries_again(&self, fault: &Fault) -> bool {
        fault.class == FaultClass::Busy || self.job.attempt < self.pace.attempts_max
    }

    /// The host cannot be asked, or an undo failed: try again later. When attempts have run out it is
    /// left to a person if anything may be on the host; but a VM that is busy and a host that is only out
    /// of reach are waited for without end, since nobody could do more.
    pub(super) fn stuck(&mut self, now: Timestamp, fault: Fault, out: &mut Vec<Action>) {
        if !matches!(self.doing, Doing::Nothing | Doing::Holding | Doing::Undoing(_)) {
            return;
        }
        if self.goal == Goal::Forward && self.first_open().is_none() {
            return self.proceed(now, out);
        }
        let on_host = |n: usize| {
            self.touched(n) && self.plan.get(n).is_some_and(|s| s.mode != StepMode::Free)
        };
        let dirty = (self.behind_barrier()..self.plan.len()).any(on_host);
        let again = fault.is_retryable() && self.job.attempt < self.pace.attempts_max;
        let out_of_reach = dirty && fault.code == FaultCode::HostUnreachable;
        let action = if fault.code == FaultCode::Fenced {
            Action::HandOver(self.wait_for(now + self.pace.backoff, fault, true, false))
        } else if fault.class == FaultClass::Busy {
            Action::HandOver(self.wait_for(now + self.pace.busy_wait, fault, true, false))
        } else if again {
            Action::HandOver(self.wait_for(now + self.backoff(), fault, dirty, true))
        } else if out_of_reach {
            Action::HandOver(self.wait_for(now + self.pace.backoff_max, fault, true, false))
        } else if dirty {
            Action::Finish(Outcome::NeedsOperator(fault))
        } else if self.cancel {
            Action::Finish(Outcome::Cancelled)
        } else {
            Action::Finish(Outcome::Failed(fault))
        };
        self.settle(action, out);
    }

    /// Another job has the VM on its host.
    pub(super) fn busy(&mut self, now: Timestamp, other: drs_model::JobId, out: &mut Vec<Action>) {
        let fault = Fault::new(
            FaultClass::Busy,
            FaultCode::VmBusy,
            format!("job {other} has the VM on its host"),
            "The job waits and tries again; `drs job cancel` ends it.",
        );
        let how = self.wait_for(now + self.pace.busy_wait, fault, true, false);
        self.settle(Action::HandOver(how), out);
    }

    /// The worker shuts down: the next one goes on where this one stops. What is volatile ends with
    /// the hold; the attempt does not count.
    pub(super) fn stop(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if matches!(self.doing, Doing::Settling(_)) {
            return;
        }
        let how = HandOver { not_before: now, fault: None, keep: true, counts: false };
        self.settle(Action::HandOver(how), out);
    }

    pub(super) fn settle(&mut self, action: Action, out: &mut Vec<Action>) {
        if matches!(self.doing, Doing::Running(_) | Doing::Undoing(_)) {
            out.push(Action::Abort);
        }
        let in_order = !matches!(&action, Action::HandOver(how) if how.keep);
        if self.holding && in_order {
            self.holding = false;
            out.push(Action::Release);
        }
        self.doing = Doing::Settling(Box::new(action.clone()));
        out.push(action);
    }

    pub(super) fn settled(&mut self, answer: &SettleAnswer, out: &mut Vec<Action>) {
        if *answer == SettleAnswer::Unknown {
            out.push(Action::Reassert);
            return;
        }
        if !self.accepted {
            self.accepted = true;
            out.push(Action::Ack);
        }
        self.doing = Doing::Ended;
        out.push(Action::End);
    }

    pub(super) fn exhausted(&self) -> Fault {
        self.job.fault.clone().unwrap_or_else(|| {
            Fault::permanent(
                FaultCode::AttemptsExhausted,
                format!("{} attempts ended with the death of their worker", self.job.attempt - 1),
                "Look at the memory and the logs of the machines that run drs, then submit the job again.",
            )
        })
    }

    fn wait_for(&self, until: Timestamp, fault: Fault, keep: bool, counts: bool) -> HandOver {
        HandOver { not_before: until, fault: Some(fault), keep, counts }
    }

    /// Doubles with each attempt, plus up to a quarter that is spread by the job's id, so that jobs
    /// which failed together do not come back together.
    fn backoff(&self) -> SignedDuration {
        let doublings = self.job.attempt.saturating_sub(1).min(16);
        let wait = self
            .pace
            .backoff
            .checked_mul(1 << doublings)
            .map_or(self.pace.backoff_max, |wait| wait.min(self.pace.backoff_max));
        let spread = (self.job.id.0.as_u128() % 256) as i32;
        (wait + wait * spread / 1024).min(self.pace.backoff_max)
    }
}
