//! One call of a script: its arguments, and the way to the server.

use std::fmt::Display;

use drs_backend::BackendError;
use drs_model::{Job, SignedDuration, Timestamp};
use drs_protocol::store::Driving;
use redis::{Script, ScriptInvocation, ToRedisArgs};

use crate::answer::Answer;
use crate::{Clock, RedisStore, record, time};

/// A script with its arguments so far.
pub(crate) struct Call<'a> {
    store: &'a RedisStore,
    script: ScriptInvocation<'a>,
}

impl RedisStore {
    /// Begins the call of a script at a time.
    pub(crate) fn at<'a>(&'a self, now: Timestamp, script: &'a Script) -> Call<'a> {
        let now = match self.clock {
            Clock::Server => String::new(),
            Clock::Caller => time::text(now),
        };
        self.begin(script, &now)
    }

    /// Begins the call of a script that asks for no time.
    pub(crate) fn call<'a>(&'a self, script: &'a Script) -> Call<'a> {
        self.begin(script, "0")
    }

    fn begin<'a>(&'a self, script: &'a Script, now: &str) -> Call<'a> {
        let mut script = script.key(self.link.prefix());
        script.arg(now);
        Call { store: self, script }
    }
}

impl Call<'_> {
    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.script.arg(arg);
        self
    }

    pub(crate) fn text(self, arg: impl Display) -> Self {
        self.arg(arg.to_string())
    }

    pub(crate) fn flag(self, set: bool) -> Self {
        self.arg(if set { "1" } else { "0" })
    }

    /// Two arguments.
    pub(crate) fn duration(self, duration: SignedDuration) -> Self {
        let (seconds, nanoseconds) = time::parts(duration);
        self.text(seconds).text(nanoseconds)
    }

    /// Three arguments.
    pub(crate) fn driving(self, who: Driving<'_>) -> Self {
        self.text(who.job).arg(who.worker).text(who.fence.0)
    }

    /// All that remain.
    pub(crate) fn record(mut self, job: &Job) -> Result<Self, BackendError> {
        let fields = record::fields(job).map_err(|failure| failure.told(self.store.link.what()))?;
        for (name, value) in fields {
            self.script.arg(name).arg(value);
        }
        Ok(self)
    }

    pub(crate) async fn run(self) -> Result<Answer, BackendError> {
        self.store.link.run(&self.script).await
    }
}
