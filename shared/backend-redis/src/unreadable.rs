//! Records that cannot be read: each is told of once and is in nobody's way.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use drs_model::Job;

use crate::failure::Failure;
use crate::record;

/// Most records that are told of; what comes behind them hardly has another cause.
const TOLD_MAX: usize = 1000;
/// Where a job's id begins in its order.
const ORDER_ID: usize = 24;

/// The records that this process could not read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeSet<String>>);

impl Unreadable {
    /// How many were found so far.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The records that can be read. Of the others each is told of when it is found first; `server` and the
    /// `prefix` of its keys say where it lies.
    pub(crate) fn leave_out(
        &self,
        records: &[HashMap<String, String>],
        server: &str,
        prefix: &str,
    ) -> Vec<Job> {
        let readable = records.iter().filter_map(|fields| {
            let failure = match read(fields) {
                Ok(job) => return Some(job),
                Err(failure) => failure,
            };
            let id = id(fields);
            if self.is_news(id) {
                tracing::error!(
                    job = id, record = %format_args!("{prefix}job:{id}"), server, error = %failure,
                    "a job's record cannot be read, it is left out: bring every process of drs to the newest \
                     version; if this goes on, put the record back from a copy of the server's data"
                );
            }
            None
        });
        readable.collect()
    }

    fn is_news(&self, id: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < TOLD_MAX && told.insert(id.to_owned())
    }
}

fn read(fields: &HashMap<String, String>) -> Result<Job, Failure> {
    match fields.get("damage") {
        Some(wrong) => Err(Failure::record("job", wrong)),
        None => record::job(fields),
    }
}

/// The id, as far as it can be told from what is there.
fn id(fields: &HashMap<String, String>) -> &str {
    let of_order = || fields.get("order").and_then(|order| order.get(ORDER_ID..));
    fields.get("id").map(String::as_str).or_else(of_order).unwrap_or("of unknown id")
}

#[cfg(test)]
mod tests {
    use drs_model::{JobId, JobSpec, Timestamp};

    use super::*;

    fn stored(key: &str) -> HashMap<String, String> {
        let spec = JobSpec::Inspect { host: "dc".parse().expect("a name") };
        let job = Job::new(JobId::from_key(key), spec, Vec::new(), Timestamp::UNIX_EPOCH);
        record::fields(&job).expect("fields").into_iter().collect()
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_news_once() {
        let (good, mut newer) = (stored("a"), stored("b"));
        newer.insert("message".into(), "{\"from\": \"the future\"}".into());
        let damaged: HashMap<String, String> = [("id", "c"), ("damage", "it has no field at")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let unreadable = Unreadable::default();
        for _ in 0..2 {
            let records = [newer.clone(), good.clone(), damaged.clone()];
            let read = unreadable.leave_out(&records, "Redis", "{drs}:");
            assert_eq!(read.iter().map(|job| job.id).collect::<Vec<_>>(), [JobId::from_key("a")]);
            assert_eq!(unreadable.count(), 2);
        }
        assert_eq!(id(&newer), JobId::from_key("b").to_string());
        assert!(!unreadable.is_news("c"), "told of already");
    }
}
