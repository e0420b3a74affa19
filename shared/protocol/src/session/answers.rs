//! What the answers of the host and of the store mean for a session.

use drs_model::{GuardAnswer, Timestamp};

use super::{Action, BEAT_AGAIN, Back, Doing, Goal, Session, StepMode, settle};
use crate::store::{BeatAnswer, ReassertAnswer, RefenceAnswer};

impl Session {
    pub(super) fn guard_answered(
        &mut self,
        now: Timestamp,
        answer: &GuardAnswer,
        out: &mut Vec<Action>,
    ) {
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

    pub(super) fn hold_lost(&mut self, now: Timestamp, out: &mut Vec<Action>) {
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

    pub(super) fn logged(&mut self, now: Timestamp, answer: BeatAnswer, out: &mut Vec<Action>) {
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
            BeatAnswer::Lost | BeatAnswer::Done(_) => self.replaced(out),
            BeatAnswer::Unknown => out.push(Action::Reassert),
        }
    }

    pub(super) fn beaten(&mut self, now: Timestamp, answer: BeatAnswer, out: &mut Vec<Action>) {
        self.beat_again = BEAT_AGAIN;
        match answer {
            BeatAnswer::Kept { cancel: false } => {}
            BeatAnswer::Kept { cancel: true } => self.cancel_asked(now, out),
            // It may have crossed the question for a new token; the answer to that one tells the same.
            BeatAnswer::Lost if self.doing == Doing::Refencing => {}
            BeatAnswer::Lost | BeatAnswer::Done(_) => self.replaced(out),
            BeatAnswer::Unknown => out.push(Action::Reassert),
        }
    }

    pub(super) fn cancel_asked(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.cancel = true;
        if self.goal == Goal::Forward && matches!(self.doing, Doing::Running(_)) {
            out.push(Action::Abort);
            self.goal = Goal::Back(Back::Cancel);
            self.doing = Doing::Nothing;
            self.proceed(now, out);
        }
    }

    pub(super) fn reasserted(
        &mut self,
        now: Timestamp,
        answer: &ReassertAnswer,
        out: &mut Vec<Action>,
    ) {
        match answer {
            ReassertAnswer::Conflict(_) => self.replaced(out),
            ReassertAnswer::Restored | ReassertAnswer::Exists => match self.doing.clone() {
                Doing::Logging(record) => out.push(Action::Log(record)),
                Doing::Settling(action) => out.push(*action),
                Doing::Nothing => self.proceed(now, out),
                _ => {}
            },
        }
    }

    pub(super) fn refenced(
        &mut self,
        now: Timestamp,
        answer: RefenceAnswer,
        out: &mut Vec<Action>,
    ) {
        match answer {
            RefenceAnswer::Fenced(fence) => {
                self.job.fence = fence;
                if self.doing == Doing::Refencing {
                    self.doing = Doing::Nothing;
                    self.proceed(now, out);
                }
            }
            RefenceAnswer::Lost => self.replaced(out),
            RefenceAnswer::Unknown => {
                // The host says once more which token it has seen.
                if self.doing == Doing::Refencing {
                    self.doing = Doing::Nothing;
                }
                out.push(Action::Reassert);
            }
        }
    }
}
