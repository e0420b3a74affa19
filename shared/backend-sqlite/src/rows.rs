//! The rows of the job store, over a transaction that somebody else began.

use std::str::FromStr;

use drs_model::{FencingToken, Job, JobClass, JobId, JobState, Resource, Timestamp};
use drs_protocol::store::{Rows, Term, unclaimed_since};
use rusqlite::{Connection, OptionalExtension, Params, params};

use crate::failure::Failure;

/// The rows that `drs_protocol::store` decides over.
pub(crate) struct SqlRows<'c>(pub(crate) &'c Connection);

pub(crate) const JOB: &str = "SELECT record FROM job WHERE id = ?1";
/// What a job is, as opposed to where it stands, never changes.
pub(crate) const PUT: &str = "\
    INSERT INTO job (id, class, created_at, subject, host, \
        phase, due, published_at, lease_worker, lease_until, parked_on, record, ended_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
    ON CONFLICT (id) DO UPDATE SET phase = excluded.phase, due = excluded.due, \
        published_at = excluded.published_at, lease_worker = excluded.lease_worker, \
        lease_until = excluded.lease_until, parked_on = excluded.parked_on, \
        record = excluded.record, ended_at = excluded.ended_at";
pub(crate) const HOLDERS: &str = "SELECT job FROM held WHERE resource = ?1 ORDER BY job";
pub(crate) const HOLD: &str = "INSERT OR IGNORE INTO held (resource, job) VALUES (?1, ?2)";
pub(crate) const RELEASE: &str = "DELETE FROM held WHERE job = ?1";
pub(crate) const WAITERS: &str =
    "SELECT id FROM job WHERE parked_on = ?1 ORDER BY class, created_at, id LIMIT ?2";
pub(crate) const FENCE: &str =
    "UPDATE meta SET value = max(value, ?1) + 1 WHERE key = 'fence' RETURNING value";
pub(crate) const LAPSED: &str =
    "SELECT id FROM job WHERE lease_until <= ?1 ORDER BY class, created_at, id LIMIT ?2";
pub(crate) const LEASED: &str =
    "SELECT id FROM job WHERE lease_worker = ?1 ORDER BY class, created_at, id";
/// In `published_at` stands since when the message counts as unclaimed.
pub(crate) const OWED: &str = "\
    SELECT id FROM job WHERE due <= ?1 AND published_at <= ?2 \
    ORDER BY class, created_at, id LIMIT ?3";
/// Jumps from one resource to the next, however many jobs wait for each.
pub(crate) const AWAITED: &str = "\
    WITH RECURSIVE awaited (resource) AS ( \
        SELECT min(parked_on) FROM job WHERE parked_on IS NOT NULL \
        UNION ALL \
        SELECT (SELECT min(parked_on) FROM job WHERE parked_on > resource) \
        FROM awaited WHERE resource IS NOT NULL) \
    SELECT resource FROM awaited WHERE resource IS NOT NULL";
pub(crate) const TERM: &str = "SELECT record FROM term";
pub(crate) const PUT_TERM: &str = "\
    INSERT INTO term (one, record) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET record = ?1";
pub(crate) const UNRECORDED: &str = "\
    SELECT id FROM job WHERE recorded = 0 AND ended_at IS NOT NULL ORDER BY ended_at, id LIMIT ?1";
pub(crate) const RECORD: &str = "UPDATE job SET recorded = 1 WHERE id = ?1";
pub(crate) const FORGETTABLE: &str = "\
    SELECT id FROM job WHERE recorded = 1 AND ended_at < ?1 ORDER BY ended_at, id LIMIT ?2";
/// What belongs to a job beside its record; what it held was released at its end.
const FORGET: [&str; 3] = [
    "DELETE FROM job WHERE id = ?1",
    "DELETE FROM job_line WHERE job = ?1",
    "DELETE FROM job_progress WHERE job = ?1",
];

impl Rows for SqlRows<'_> {
    type Error = Failure;

    fn job(&mut self, id: JobId) -> Result<Option<Job>, Failure> {
        let mut statement = self.0.prepare_cached(JOB)?;
        let record = statement.query_row([id.to_string()], |row| row.get(0)).optional()?;
        record.map(|text: String| json("job", &text)).transpose()
    }

    fn put(&mut self, job: &Job) -> Result<(), Failure> {
        let (due, parked_on) = match &job.state {
            JobState::Queued { not_before: due } | JobState::RetryWait { until: due } => {
                (Some(nanoseconds(*due)), None)
            }
            JobState::Parked { resource, .. } => (None, Some(resource.to_string())),
            _ => (None, None),
        };
        let lease = job.state.lease();
        self.0.prepare_cached(PUT)?.execute(params![
            job.id.to_string(),
            rank(job.class),
            nanoseconds(job.created_at),
            job.spec.subject(),
            job.spec.host().map(ToString::to_string),
            job.state.phase().as_str(),
            due,
            unclaimed_since(job).map_or(i64::MIN, nanoseconds),
            lease.map(|lease| lease.worker.as_str()),
            lease.map(|lease| nanoseconds(lease.until)),
            parked_on,
            to_json("job", job)?,
            job.state.is_terminal().then(|| nanoseconds(job.updated_at)),
        ])?;
        Ok(())
    }

    fn holders(&mut self, resource: &Resource) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, HOLDERS, [resource.to_string()])
    }

    fn hold(&mut self, resource: &Resource, job: JobId) -> Result<(), Failure> {
        self.0.prepare_cached(HOLD)?.execute([resource.to_string(), job.to_string()])?;
        Ok(())
    }

    fn release_all(&mut self, job: JobId) -> Result<(), Failure> {
        self.0.prepare_cached(RELEASE)?.execute([job.to_string()])?;
        Ok(())
    }

    fn waiters(&mut self, resource: &Resource, limit: usize) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, WAITERS, params![resource.to_string(), count(limit)])
    }

    fn next_fence(&mut self, above: FencingToken) -> Result<FencingToken, Failure> {
        let above = i64::try_from(above.0)
            .map_err(|_| Failure::record("fencing token", "it is beyond the range"))?;
        let next: i64 = self.0.prepare_cached(FENCE)?.query_row([above], |row| row.get(0))?;
        u64::try_from(next).map(FencingToken).map_err(|e| Failure::record("fencing token", e))
    }

    fn lapsed(&mut self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, LAPSED, params![nanoseconds(now), count(limit)])
    }

    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, LEASED, [worker])
    }

    fn owed(
        &mut self,
        now: Timestamp,
        stale: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, OWED, params![nanoseconds(now), nanoseconds(stale), count(limit)])
    }

    fn awaited(&mut self) -> Result<Vec<Resource>, Failure> {
        let mut resources = parsed(self.0, AWAITED, [])?;
        resources.sort();
        Ok(resources)
    }

    fn term(&mut self) -> Result<Option<Term>, Failure> {
        let mut statement = self.0.prepare_cached(TERM)?;
        let record = statement.query_row([], |row| row.get(0)).optional()?;
        record.map(|text: String| json("term", &text)).transpose()
    }

    fn put_term(&mut self, term: &Term) -> Result<(), Failure> {
        self.0.prepare_cached(PUT_TERM)?.execute([to_json("term", term)?])?;
        Ok(())
    }

    fn unrecorded(&mut self, limit: usize) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, UNRECORDED, [count(limit)])
    }

    fn put_recorded(&mut self, id: JobId) -> Result<(), Failure> {
        self.0.prepare_cached(RECORD)?.execute([id.to_string()])?;
        Ok(())
    }

    fn forgettable(&mut self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, Failure> {
        parsed(self.0, FORGETTABLE, params![nanoseconds(before), count(limit)])
    }

    fn forget(&mut self, id: JobId) -> Result<(), Failure> {
        for sql in FORGET {
            self.0.prepare_cached(sql)?.execute([id.to_string()])?;
        }
        Ok(())
    }
}

/// The first column of every row, read from its text.
pub(crate) fn parsed<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let mut statement = connection.prepare_cached(sql)?;
    let texts = statement.query_map(params, |row| row.get::<_, String>(0))?;
    texts.map(|text| text?.parse().map_err(|e| Failure::record("id", e))).collect()
}

/// A value from the JSON that is stored.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::record(what, error))
}

/// A value as the JSON that is stored.
pub(crate) fn to_json(
    what: &'static str,
    value: &impl serde::Serialize,
) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::record(what, error))
}

/// Nanoseconds since 1970 in UTC; times before 1677 and after 2262 become the first and the last.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    let exact = at.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// A class as a number that sorts by urgency.
pub(crate) fn rank(class: JobClass) -> i64 {
    match class {
        JobClass::Critical => 0,
        JobClass::Normal => 1,
        JobClass::Bulk => 2,
    }
}

/// A limit as SQLite takes it.
pub(crate) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
