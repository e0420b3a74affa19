//! The job protocol as pure state machines: who may do what with a job, decided without I/O.
pub mod guard;
pub mod store;
