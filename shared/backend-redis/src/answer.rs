//! What the server answers, read piece by piece.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use drs_backend::BackendError;
use drs_model::{Job, JobId, Timestamp};
use redis::{FromRedisValue, Value, from_redis_value};

use crate::failure::Failure;
use crate::link::Link;
use crate::{record, time};

/// The rest of an answer, a list.
pub(crate) struct Answer {
    rest: std::vec::IntoIter<Value>,
    /// Where it comes from, for what cannot be read.
    link: Arc<Link>,
}

impl Answer {
    /// An answer; nothing is an empty list.
    pub(crate) fn new(value: Value, link: Arc<Link>) -> Result<Self, BackendError> {
        let values = match value {
            Value::Nil => Ok(Vec::new()),
            list => read::<Vec<Value>>(list),
        };
        let rest = values.map_err(|failure| failure.told(link.what()))?.into_iter();
        Ok(Self { rest, link })
    }

    /// Whether there is nothing more.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    /// The next value, of whatever type.
    pub(crate) fn next<T: FromRedisValue>(&mut self) -> Result<T, BackendError> {
        let value = self.rest.next().unwrap_or_default();
        self.told(read(value))
    }

    /// The next value, a text.
    pub(crate) fn text(&mut self) -> Result<String, BackendError> {
        self.next()
    }

    /// The next value, a text that stands for something.
    pub(crate) fn parsed<T: FromStr<Err: ToString>>(&mut self) -> Result<T, BackendError> {
        let text = self.text()?;
        self.told(parsed(&text))
    }

    /// The next value, a time.
    pub(crate) fn time(&mut self) -> Result<Timestamp, BackendError> {
        let text = self.text()?;
        self.told(time::read(&text).map_err(|error| Failure::record("time", error)))
    }

    /// The next value, the name of a phase.
    pub(crate) fn phase(&mut self) -> Result<drs_model::Phase, BackendError> {
        let name = self.text()?;
        self.told(record::phase(&name))
    }

    /// The next value, a record.
    pub(crate) fn job(&mut self) -> Result<Job, BackendError> {
        let fields: HashMap<String, String> = self.next()?;
        self.told(record::job(&fields))
    }

    /// The next value, a list of records, without those that cannot be read: these are told of in the log.
    pub(crate) fn jobs(&mut self) -> Result<Vec<Job>, BackendError> {
        let records: Vec<HashMap<String, String>> = self.next()?;
        let link = &self.link;
        Ok(link.unreadable().leave_out(&records, link.what(), link.prefix()))
    }

    /// The next value, a list of answers.
    pub(crate) fn groups(&mut self) -> Result<Vec<Self>, BackendError> {
        let groups: Vec<Value> = self.next()?;
        groups.into_iter().map(|group| Self::new(group, Arc::clone(&self.link))).collect()
    }

    /// The next value, a list of ids.
    pub(crate) fn ids(&mut self) -> Result<Vec<JobId>, BackendError> {
        let texts: Vec<String> = self.next()?;
        self.told(texts.iter().map(|text| parsed(text)).collect())
    }

    /// An answer that the operation does not have.
    pub(crate) fn unexpected<T>(&self, word: &str) -> Result<T, BackendError> {
        self.told(Err(Failure::record("answer", format!("{word:?} is none"))))
    }

    fn told<T>(&self, result: Result<T, Failure>) -> Result<T, BackendError> {
        result.map_err(|failure| failure.told(self.link.what()))
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Failure> {
    from_redis_value(value).map_err(|error| Failure::record("answer", error))
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: T::Err| Failure::record("value", error))
}
