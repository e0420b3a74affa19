//! Job records, leases, resources, logs and progress on Redis.

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

use std::sync::Arc;

use drs_backend::BackendError;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use config::RedisConfig;
use failure::Failure;
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
    /// What all keys begin with, braces and colon included.
    prefix: Arc<str>,
    clock: Clock,
    warnings: Arc<[String]>,
}

impl RedisStore {
    /// Connects, makes sure that the user may do what is needed, and looks whether the server keeps what
    /// it answers; if not, that is logged and stands in [`RedisStore::warnings`].
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when the server cannot be reached, refuses the user or the password,
    /// or does not let the user do something that is needed, and when the URL is not understood.
    pub async fn connect(config: &RedisConfig, clock: Clock) -> Result<Self, BackendError> {
        let mut store = Self {
            link: Arc::new(Link::new(config)?),
            prefix: format!("{{{}}}:", config.prefix).into(),
            clock,
            warnings: Arc::new([]),
        };
        store.check_rights().await?;
        store.warnings = durability::warnings(&store.link).await.into();
        Ok(store)
    }

    /// Why the server may lose what it answered, one line for each setting that is not as it must be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A right that is missing would break a script in the middle.
    async fn check_rights(&self) -> Result<(), BackendError> {
        let mut answer = self.link.run(&script::RIGHTS.key(self.prefix.as_ref())).await?;
        let mut missing = Vec::new();
        while !answer.is_empty() {
            missing.push(format!("+{}", answer.text()?));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "its user lacks rights: grant them with ACL SETUSER USER ~{}* {}",
            self.prefix,
            missing.join(" ")
        );
        Err(Failure::Refused(reason).told(self.link.what()))
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
