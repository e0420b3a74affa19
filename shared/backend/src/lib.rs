//! The ports of the job core: where jobs stand, how they are handed out, what is known, what is told.
//!
//! | port | holds | lost means |
//! |---|---|---|
//! | [`JobStore`] | job records, leases, resources | rebuilt from messages, workers and hosts |
//! | [`Dispatch`] | messages that wait for a worker | published again by the sweeper |
//! | [`Catalog`] | hosts, sites, pairs, schedules | restored from a copy; nothing derives it |
//! | [`Events`] | job logs and progress | gone; no decision rests on it |
//! | [`History`] | jobs that are over | what the store still has is recorded again |
//! | [`Feed`] | nothing: it tells other programs | they miss what was told meanwhile, but no end |
//! | [`DeadLetters`] | messages that no worker could understand, or that were delivered too often | gone; their jobs are in the store |
//!
//! The last three are there in a cluster only: embedded, the store is its own history.
//!
//! A job is submitted by [`submit()`]: the record first, then the message. A crash between the two
//! leaves a record that the sweeper finds.
//!
//! Every adapter passes the suite in `conformance` (feature `conformance`).

pub mod catalog;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dead;
pub mod dispatch;
pub mod error;
pub mod events;
pub mod feed;
pub mod history;
pub mod job_store;
pub mod submit;
pub mod work;

pub use catalog::Catalog;
pub use dead::{DeadLetter, DeadLetters};
pub use dispatch::{Delivery, Dispatch};
pub use error::{BackendError, Named};
pub use events::{Events, NewLine};
pub use feed::{Announcement, Feed, Happening};
pub use history::History;
pub use job_store::{JobFilter, JobStore, Wait};
pub use submit::{Backend, Submitted, submit};
pub use work::job_of;
