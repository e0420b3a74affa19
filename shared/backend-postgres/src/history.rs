//! The history: jobs that are over, and the recovery points that they made.

mod point;

use async_trait::async_trait;
use drs_backend::{BackendError, History, JobFilter};
use drs_model::{HostName, Job, JobId};
use tokio_postgres::types::{Json, ToSql};

use crate::PostgresCatalog;
use point::Point;

/// Both tables in one statement, so that they never tell two stories. An older end changes neither; a later
/// one without a point takes back the point of the one before.
const RECORD: &str = "\
    WITH kept AS ( \
        INSERT INTO drs.job_history AS known \
            (id, kind, subject, host, phase, attempt, created_at, started_at, ended_at, record) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
        ON CONFLICT (id) DO UPDATE SET \
            kind = EXCLUDED.kind, subject = EXCLUDED.subject, host = EXCLUDED.host, \
            phase = EXCLUDED.phase, attempt = EXCLUDED.attempt, created_at = EXCLUDED.created_at, \
            started_at = EXCLUDED.started_at, ended_at = EXCLUDED.ended_at, \
            record = EXCLUDED.record \
        WHERE known.ended_at <= EXCLUDED.ended_at \
        RETURNING id \
    ), gone AS ( \
        DELETE FROM drs.point USING kept WHERE point.id = kept.id AND $15::timestamptz IS NULL \
    ) \
    INSERT INTO drs.point AS known \
        (id, host, vm, consistent_at, consistency, completed_at, size_bytes, stored_bytes) \
    SELECT id, $11, $12, $13, $14, $15, $16, $17 FROM kept WHERE $15::timestamptz IS NOT NULL \
    ON CONFLICT (id) DO UPDATE SET \
        host = EXCLUDED.host, vm = EXCLUDED.vm, consistent_at = EXCLUDED.consistent_at, \
        consistency = EXCLUDED.consistency, completed_at = EXCLUDED.completed_at, \
        size_bytes = EXCLUDED.size_bytes, stored_bytes = EXCLUDED.stored_bytes";

const OLDER: &str = "\
    (created_at, id) < (SELECT created_at, id FROM drs.job_history WHERE id = ?)";

const FIND: &str = "SELECT record FROM drs.job_history WHERE id = $1";

#[async_trait]
impl History for PostgresCatalog {
    async fn record(&self, job: &Job) -> Result<(), BackendError> {
        let point = Point::of(job);
        let made = point.as_ref();
        let values: [&(dyn ToSql + Sync); 17] = [
            &job.id.0,
            &job.spec.kind().to_string(),
            &job.spec.subject(),
            &job.spec.host().map(HostName::as_str),
            &job.state.phase().as_str(),
            &i32::try_from(job.attempt).unwrap_or(i32::MAX),
            &job.created_at,
            &job.started_at,
            &job.updated_at,
            &Json(job),
            &made.map(|point| point.vm.host.as_str()),
            &made.map(|point| point.vm.name.as_str()),
            &made.and_then(|point| point.consistent_at),
            &made.and_then(|point| point.consistency.as_deref()),
            &made.map(|point| point.completed_at),
            &made.and_then(|point| point.size_bytes),
            &made.and_then(|point| point.stored_bytes),
        ];
        self.database.rows(RECORD, &values).await?;
        Ok(())
    }

    async fn find(&self, id: JobId) -> Result<Option<Job>, BackendError> {
        Ok(self.database.records(FIND, &[&id.0]).await?.into_iter().next())
    }

    async fn past(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        let (sql, values) = list_query(filter);
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        self.database.records(&sql, &values).await
    }
}

type Value = Box<dyn ToSql + Sync + Send>;

/// The query for a filter: constant pieces, all values as parameters.
fn list_query(filter: &JobFilter) -> (String, Vec<Value>) {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if let Some(subject) = &filter.subject {
        conditions.push(if subject.contains('/') { "subject = ?" } else { "host = ?" });
        values.push(Box::new(subject.clone()));
    }
    if !filter.phases.is_empty() {
        let phases: Vec<&str> = filter.phases.iter().map(|phase| phase.as_str()).collect();
        conditions.push("phase = ANY(?)");
        values.push(Box::new(phases));
    }
    if let Some(before) = filter.before {
        conditions.push(OLDER);
        values.push(Box::new(before.0));
    }
    let mut sql = "SELECT record FROM drs.job_history".to_owned();
    for (number, condition) in (1..).zip(&conditions) {
        let word = if number == 1 { "WHERE" } else { "AND" };
        sql += &format!(" {word} {}", condition.replace('?', &format!("${number}")));
    }
    let limit = filter.limit.min(JobFilter::LIMIT_MAX);
    values.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
    sql += &format!(" ORDER BY created_at DESC, id DESC LIMIT ${}", values.len());
    (sql, values)
}

#[cfg(test)]
mod tests;
