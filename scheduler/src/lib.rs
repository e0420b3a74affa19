//! Decides what is due, keeps jobs moving that nobody drives, and records those that are over.
//!
//! A [`Scheduler`] is five loops over the ports of the job core. Any number of processes run one.
//!
//! | loop | runs | does |
//! |---|---|---|
//! | leadership | always | asks to lead, and trusts its term as [`drs_protocol::leader`] says |
//! | due | while it leads | submits the runs of schedules that are due, and those that were lost |
//! | upkeep | always | the reaper and the sweeper, see [`drs_protocol::upkeep`] |
//! | recorder | where there is a history | takes jobs that are over into history, tells of their end, lets the store forget them |
//! | figures | always | tells how many jobs wait for what |
//!
//! # Invariants
//! - Nothing but effort rests on leadership: the job of a run has an id that follows from the schedule
//!   and the time ([`drs_model::Fire::job_id`]), so that two leaders submit it once.
//! - A scheduler keeps nothing that another one needs: it may be killed or paused at any instruction.
//! - The end of a job is in history before other programs are told of it, and both before the store
//!   may forget the job.
//!
//! # Crash points
//! Between the submission of a run and the note of it: the next look finds the run due again and its
//! job there. Between history and the mark in the store: the job is recorded again, which changes
//! nothing, and its end is told again.

mod due;
mod figures;
mod leadership;
mod recorder;
mod scheduler;
mod upkeep;

#[cfg(test)]
mod tests;

pub use drs_protocol::upkeep::UpkeepPace;
pub use scheduler::{Scheduler, SchedulerConfig};
pub use upkeep::upkeep;
