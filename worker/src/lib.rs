//! Turns deliveries into finished jobs: delivery, claim, saga, settlement.
//!
//! A [`Worker`] has slots; each free slot asks for one message, claims its job and drives it with a
//! [`drs_protocol::session::Session`] until it is settled. The saga of each job kind is in `sagas`;
//! what a session decides is done in `drive`.
//!
//! # Invariants
//! - A worker keeps nothing that another one needs: it may be killed at any instruction. Archives in
//!   its spool are fetched or packed again by a worker that does not have them.
//! - A slot that is busy asks for no message.
//! - A step sees its `StepContext` and nothing else of the process.
//! - Nothing that is only told holds up a step, a cancel or a stop for long, however long a server is silent: each
//!   log line at most 2 s, and so the end of a job by its latest progress; other progress, news, and the look for
//!   a cancel not at all.
//! - A replication holds both of its VMs, the source first; once its recovery point is committed, it
//!   holds the counterpart alone.
//!
//! # Crash points
//! Those of a saga are named `KIND/STEP/planned`, `/midway`, `/done`, `/undone`; those of every job `claim`,
//! `start`, `ack`, `finish`, `hand_over` and `publish`, each `/before` and `/after`. With the feature
//! `crash-points` a test ends the process there; what lies between each two stands in `crash`.

mod children;
mod crash;
mod drive;
mod limits;
mod occupancy;
mod pairs;
mod reporter;
mod saga;
mod sagas;
mod spool;
mod telemetry;
mod tidy;
mod worker;

pub use spool::tidy_spool;
pub use tidy::tidy_vault;
pub use worker::{Until, Worker, WorkerConfig};
