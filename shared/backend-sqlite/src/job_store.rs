//! The job store: each operation of `drs_protocol::store` inside one transaction.

use async_trait::async_trait;
use drs_backend::{BackendError, JobFilter, JobStore, Wait};
use drs_model::{
    FencingToken, Job, JobId, JobState, Phase, Resource, SignedDuration, StepRecord, Timestamp,
};
use drs_protocol::store::{
    self, BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Driving, HandOver, JobMessage,
    LeadAnswer, Outcome, ReassertAnswer, RefenceAnswer, RetryAnswer, Rows, SettleAnswer,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::SqliteBackend;
use crate::failure::Failure;
use crate::rows::{SqlRows, count, json, nanoseconds, rank};
use crate::writer::Durability;

/// How many waiters a job has before it, itself included, and how many there are.
pub(crate) const POSITION: &str = "\
    SELECT count(*) FILTER (WHERE (class, created_at, id) <= (?2, ?3, ?4)), count(*) \
    FROM job WHERE parked_on = ?1";

pub(crate) const COUNT: &str = "SELECT count(*) FROM job WHERE phase = ?1";

const WAITING: &str = "\
    SELECT parked_on, count(*) FROM job WHERE parked_on IS NOT NULL \
    GROUP BY parked_on ORDER BY count(*) DESC, parked_on LIMIT ?1";

impl SqliteBackend {
    async fn change<T, F>(&self, operation: F) -> Result<T, BackendError>
    where
        F: FnOnce(&mut SqlRows<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.database
            .write(Durability::Full, |connection| operation(&mut SqlRows(connection)))
            .await
    }

    async fn drive<T, F>(&self, who: Driving<'_>, operation: F) -> Result<T, BackendError>
    where
        F: FnOnce(&mut SqlRows<'_>, &Driving<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let (job, worker, fence) = (who.job, who.worker.to_owned(), who.fence);
        self.change(move |rows| operation(rows, &Driving { job, worker: &worker, fence })).await
    }
}

#[async_trait]
impl JobStore for SqliteBackend {
    async fn create(&self, job: &Job) -> Result<CreateAnswer, BackendError> {
        let job = job.clone();
        self.change(move |rows| store::create(rows, &job)).await
    }

    async fn claim(
        &self,
        now: Timestamp,
        message: &JobMessage,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ClaimAnswer, BackendError> {
        let (message, worker) = (message.clone(), worker.to_owned());
        self.change(move |rows| store::claim(rows, now, &message, &worker, ttl)).await
    }

    async fn beat(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        ttl: SignedDuration,
        accepted: bool,
    ) -> Result<BeatAnswer, BackendError> {
        self.drive(who, move |rows, who| store::beat(rows, now, who, ttl, accepted)).await
    }

    async fn log_step(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        record: &StepRecord,
    ) -> Result<BeatAnswer, BackendError> {
        let record = record.clone();
        self.drive(who, move |rows, who| store::log_step(rows, now, who, &record)).await
    }

    async fn reassert(
        &self,
        now: Timestamp,
        known: &Job,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ReassertAnswer, BackendError> {
        let (known, worker) = (known.clone(), worker.to_owned());
        self.change(move |rows| store::reassert(rows, now, &known, &worker, ttl)).await
    }

    async fn refence(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        seen: FencingToken,
    ) -> Result<RefenceAnswer, BackendError> {
        self.drive(who, move |rows, who| store::refence(rows, now, who, seen)).await
    }

    async fn finish(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        outcome: &Outcome,
    ) -> Result<SettleAnswer, BackendError> {
        let outcome = outcome.clone();
        self.drive(who, move |rows, who| store::finish(rows, now, who, &outcome)).await
    }

    async fn hand_over(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        how: &HandOver,
    ) -> Result<SettleAnswer, BackendError> {
        let how = how.clone();
        self.drive(who, move |rows, who| store::hand_over(rows, now, who, &how)).await
    }

    async fn cancel(&self, now: Timestamp, id: JobId) -> Result<CancelAnswer, BackendError> {
        self.change(move |rows| store::cancel(rows, now, id)).await
    }

    async fn retry(&self, now: Timestamp, id: JobId) -> Result<RetryAnswer, BackendError> {
        self.change(move |rows| store::retry(rows, now, id)).await
    }

    async fn published(&self, now: Timestamp, id: JobId) -> Result<(), BackendError> {
        self.change(move |rows| store::published(rows, now, id)).await
    }

    async fn reap(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, BackendError> {
        self.change(move |rows| store::reap(rows, now, limit)).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        stale: SignedDuration,
        limit: usize,
    ) -> Result<Vec<Job>, BackendError> {
        self.change(move |rows| store::sweep(rows, now, stale, limit)).await
    }

    async fn bury(&self, now: Timestamp, worker: &str) -> Result<usize, BackendError> {
        let worker = worker.to_owned();
        self.change(move |rows| store::bury(rows, now, &worker)).await
    }

    async fn lead(
        &self,
        now: Timestamp,
        candidate: &str,
        ttl: SignedDuration,
    ) -> Result<LeadAnswer, BackendError> {
        let candidate = candidate.to_owned();
        self.change(move |rows| store::lead(rows, now, &candidate, ttl)).await
    }

    async fn resign(&self, now: Timestamp, candidate: &str) -> Result<(), BackendError> {
        let candidate = candidate.to_owned();
        self.change(move |rows| store::resign(rows, now, &candidate)).await
    }

    async fn settled(&self, limit: usize) -> Result<Vec<Job>, BackendError> {
        self.database.read(move |connection| store::settled(&mut SqlRows(connection), limit)).await
    }

    async fn recorded(&self, id: JobId) -> Result<(), BackendError> {
        self.change(move |rows| store::recorded(rows, id)).await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, BackendError> {
        self.change(move |rows| store::prune(rows, before, limit)).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(Resource, usize)>, BackendError> {
        self.database.read(move |connection| waiting(connection, limit)).await
    }

    async fn count(&self, phase: Phase) -> Result<usize, BackendError> {
        let counted = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(COUNT)?;
            let jobs: i64 = statement.query_row([phase.as_str()], |row| row.get(0))?;
            Ok(usize::try_from(jobs).unwrap_or_default())
        };
        self.database.read(counted).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, BackendError> {
        self.database.read(move |connection| SqlRows(connection).job(id)).await
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        let (sql, values) = list_query(filter);
        self.database.read(move |connection| list(connection, &sql, values)).await
    }

    async fn wait_of(&self, id: JobId) -> Result<Option<Wait>, BackendError> {
        self.database.read(move |connection| wait_of(connection, id)).await
    }
}

/// The query for a filter: constant pieces, all values as parameters.
pub(crate) fn list_query(filter: &JobFilter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if let Some(subject) = &filter.subject {
        conditions.push(if subject.contains('/') { "subject = ?" } else { "host = ?" }.to_owned());
        values.push(subject.clone().into());
    }
    if !filter.phases.is_empty() {
        let places = vec!["?"; filter.phases.len()].join(", ");
        conditions.push(format!("phase IN ({places})"));
        values.extend(filter.phases.iter().map(|phase| Value::from(phase.as_str().to_owned())));
    }
    if let Some(before) = filter.before {
        let older = "(created_at, id) < (SELECT created_at, id FROM job WHERE id = ?)";
        conditions.push(older.to_owned());
        values.push(before.to_string().into());
    }
    let mut sql = "SELECT record FROM job".to_owned();
    if !conditions.is_empty() {
        sql += &format!(" WHERE {}", conditions.join(" AND "));
    }
    sql += " ORDER BY created_at DESC, id DESC LIMIT ?";
    values.push(count(filter.limit.min(JobFilter::LIMIT_MAX)).into());
    (sql, values)
}

fn list(connection: &Connection, sql: &str, values: Vec<Value>) -> Result<Vec<Job>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let records = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(0))?;
    records.map(|text| json("job", &text?)).collect()
}

fn waiting(connection: &Connection, limit: usize) -> Result<Vec<(Resource, usize)>, Failure> {
    let mut statement = connection.prepare_cached(WAITING)?;
    let rows = statement.query_map([count(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.map(|row| {
        let (resource, jobs): (String, i64) = row?;
        let resource = resource.parse().map_err(|error| Failure::record("resource", error))?;
        Ok((resource, usize::try_from(jobs).unwrap_or_default()))
    })
    .collect()
}

fn wait_of(connection: &Connection, id: JobId) -> Result<Option<Wait>, Failure> {
    let mut rows = SqlRows(connection);
    let Some(job) = rows.job(id)? else { return Ok(None) };
    let JobState::Parked { resource, .. } = job.state else { return Ok(None) };
    let place = params![
        resource.to_string(),
        rank(job.class),
        nanoseconds(job.created_at),
        job.id.to_string()
    ];
    let (position, waiters): (i64, i64) = connection
        .prepare_cached(POSITION)?
        .query_row(place, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(Wait {
        holders: rows.holders(&resource)?,
        resource,
        position: usize::try_from(position).unwrap_or_default(),
        waiters: usize::try_from(waiters).unwrap_or_default(),
    }))
}
