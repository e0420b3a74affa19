//! The job protocol as pure state machines: who may do what with a job, decided without I/O.
//!
//! *The message carries the spec, the store carries the state, the host carries the truth.*
//!
//! | module | decides |
//! |---|---|
//! | [`store`] | who drives a job and who holds a resource, over rows that an adapter keeps |
//! | [`session`] | what the worker of a claimed job does next |
//! | [`guard`] | what a host admits for one VM |
//! | [`upkeep`] | when lapsed leases and lost messages are looked for |
//! | [`leader`] | whether this scheduler decides what is due |
//! | [`due`] | which schedules are due, and what becomes of each |
//!
//! # Invariants
//! - At most one job changes a VM at any time: the host guard sees to it alone, whatever happens to
//!   stores, brokers, clocks and workers.
//! - A lease says who drives, never what may run. Time frees no VM.
//! - Everything here is `step(now, event) -> actions` or an atomic function over rows; the same code
//!   runs in production and under simulated faults.
//!
//! Deliberately absent: I/O, clocks, randomness, retry of anything but whole attempts.

pub mod due;
pub mod guard;
pub mod leader;
pub mod session;
pub mod store;
pub mod upkeep;
