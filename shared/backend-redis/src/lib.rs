//! Job records, leases, resources, logs and progress on Redis: the job store of a cluster.
//!
//! Each operation of `drs_protocol::store` is one Lua script, so it is atomic; what it answers is held against
//! the reference store by the conformance suite. A script is known to the server by its digest and given
//! again when the server forgot it.
//!
//! # Keys
//! All begin with `{drs}:` (the prefix is a setting), so all lie in one hash slot. Every index is a sorted
//! set whose entries all have the score 0: they are ordered by their text, which keeps times to the
//! nanosecond. A time is 21 digits, an *order* is `class:created:id`, the best waiter first.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `job:ID` | hash | a record: its message as JSON, which no script reads, and what scripts decide by |
//! | `held:RESOURCE` | sorted set | ids of the jobs that hold it |
//! | `wait:RESOURCE` | sorted set | orders of the jobs that are parked on it |
//! | `awaited` | sorted set | resources with waiters, scored by how many, negative |
//! | `unsent` | sorted set | `due:order` of jobs that are owed a message |
//! | `sent` | sorted set | `since:order` of jobs whose message is on its way, unclaimed since then |
//! | `leases` | sorted set | `until:order` of jobs that a worker has |
//! | `worker:NAME` | sorted set | ids of the jobs that this worker has |
//! | `ended`, `recorded` | sorted set | `end:id` of jobs that are over: not yet in history, in history |
//! | `damaged` | sorted set | ids of the jobs whose record scripts cannot deal with, scored by their turn |
//! | `phase:PHASE` | sorted set | `created:id` of the jobs in this phase |
//! | `about:HOST/VM`, `about:HOST` | sorted set | `created:id` of the jobs about it |
//! | `fence` | number | the latest fencing token |
//! | `term` | hash | who leads |
//! | `swept` | number | where the next sweep goes on among many awaited resources |
//! | `log:ID:first`, `:latest`, `:dropped` | lists, number | a job's log |
//! | `progress:ID` | JSON | a job's progress |
//!
//! # Invariants
//! - A job stands in exactly the indexes that its state asks for: scripts change a record and its indexes
//!   together, in one function. An entry that does not agree with its record is put right where it is found.
//! - Nothing has a time to live: a resource is freed by an operation, never by time.
//! - Nothing grows with the number of jobs: one call returns or changes at most 1,000 records and looks at
//!   most at 1,000 entries of an index. `reap` and `sweep` take the best of the 1,000 that wait longest and
//!   go on with the next call.
//! - A right that the user lacks is found when the first connection is made, never in the middle of a script.
//! - An index entry whose record was deleted by hand, or evicted, is dropped where it would be in the way. A
//!   record that lacks what scripts decide by is set aside in `damaged`; each sweep looks at 1,000 of these and
//!   gives a record that reads again its places back.
//! - A record that cannot be read (a newer version wrote it, a hand changed it) is left out of every answer that
//!   holds several, and told of in the log once by each process; asked for by itself it is an error.
//!
//! # The clock
//! In production ([`Clock::Server`]) the server's clock decides when a lease ends, so the clocks of workers
//! and schedulers need not agree. A time that a caller names as the end of a delay is taken as the delay.
//!
//! # The connection
//! One connection carries all calls, many at a time; nothing blocks, so there is no pool. The first call
//! opens it. When it is lost, calls under way fail as unavailable, and the next call opens another: after a
//! failed attempt calls fail at once for 50 ms, then longer, at most 1 s. The Sentinels are asked each time.
//! A call without an answer for 10 s fails, and the connection with it. Nothing is repeated here: what
//! failed may have happened, and every operation may be repeated by the caller.
//!
//! # What the server must be
//! Redis 6.2 or newer (tested with 7.0) with `appendonly yes`, `appendfsync always` and
//! `maxmemory-policy noeviction`; [`RedisStore::warnings`] tells what is not so. A user needs the keys
//! `~{drs}:*` and the commands of `@connection`, `@scripting`, `@read` and `@write` besides `TIME`; `CONFIG GET`
//! for the check above and `ROLE` behind Sentinels.
//!
//! # Crash points
//! Before a script runs nothing has happened, behind it everything has, whether or not the caller was told.
//! A server that loses its latest answers (no `always`, or a failover) knows less than workers and hosts:
//! they bring it back by `reassert` and `refence`, queued jobs come back from their messages.
//!
//! # Figures
//! On two cores that had other work, Redis 7.0.15, `appendfsync always`. By `cargo run -p drs-backend-redis
//! --example figures`, over 1,000 and 10,000 jobs: a waiting job takes 2.1 KiB of the server's memory, a
//! running one 2.5 to 2.7 KiB, one that ended after five steps 3.2 to 3.4 KiB; one caller's claim takes
//! 0.8 ms (p50) and 7 ms (p99). Of the server's processor time, by `INFO cpu` with 20,000 jobs: 0.13 ms for a
//! claim, 7 ms for a sweep of 100 jobs, 60 ms for a `reap` of 1,000.
//!
//! Deliberately absent: retries, and any time-out for a resource.

mod answer;
mod call;
mod config;
mod durability;
mod events;
mod failure;
mod job_store;
mod link;
mod record;
mod script;
mod time;
mod unreadable;

use std::sync::Arc;

use drs_backend::BackendError;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use config::RedisConfig;
use link::Link;

/// Whose clock says when a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The server's: one clock for all processes, whatever time the callers name.
    Server,
    /// The caller's, by the `now` of each call: for tests and simulations.
    Caller,
}

/// The job store and the events on one Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    clock: Clock,
}

impl RedisStore {
    /// A store that connects when it is first used, makes sure then that the user may do what is needed, and
    /// looks whether the server keeps what it answers; if not, that is logged and stands in
    /// [`RedisStore::warnings`].
    ///
    /// # Errors
    /// [`BackendError::Refused`] when the URL or the file of authorities cannot be used.
    pub fn open(config: &RedisConfig, clock: Clock) -> Result<Self, BackendError> {
        Ok(Self { link: Arc::new(Link::new(config)?), clock })
    }

    /// A store that is connected.
    ///
    /// # Errors
    /// As [`RedisStore::open`] and [`RedisStore::reach`].
    pub async fn connect(config: &RedisConfig, clock: Clock) -> Result<Self, BackendError> {
        let store = Self::open(config, clock)?;
        store.reach().await?;
        Ok(store)
    }

    /// The server, as errors name it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.link.what()
    }

    /// Asks the server whether it answers. The first question connects.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when the server cannot be reached or is not ready,
    /// [`BackendError::Refused`] when it refuses the user or the password, when the user lacks a right, and
    /// when its certificate is not trusted.
    pub async fn reach(&self) -> Result<(), BackendError> {
        self.link.command(&["PING"]).await.map(drop)
    }

    /// Why the server may lose what it answered, one line for each setting that is not as it must be. Empty
    /// as long as nothing was asked.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.link.warnings()
    }

    fn json(&self, what: &'static str, value: &impl Serialize) -> Result<String, BackendError> {
        record::to_json(what, value).map_err(|failure| failure.told(self.link.what()))
    }

    fn read_json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        text: &str,
    ) -> Result<T, BackendError> {
        record::json(what, text).map_err(|failure| failure.told(self.link.what()))
    }
}
