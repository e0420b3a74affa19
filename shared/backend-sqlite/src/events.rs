//! Logs and progress. Of a job's lines the first [`FIRST_KEPT`] and the latest [`LATEST_KEPT`] stay.

use async_trait::async_trait;
use drs_backend::{BackendError, Events, NewLine};
use drs_model::{JobId, LogLevel, LogLine, Progress, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteBackend;
use crate::failure::Failure;
use crate::rows::{count, json, nanoseconds, to_json};
use crate::writer::Durability;

/// Lines that tell how a job began.
const FIRST_KEPT: i64 = 1_000;
/// Lines that tell what it does now.
const LATEST_KEPT: i64 = 9_000;

pub(crate) const LAST_SEQ: &str = "SELECT max(seq) FROM job_line WHERE job = ?1";
pub(crate) const ADD_LINE: &str = "\
    INSERT INTO job_line (job, seq, at, level, attempt, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const DROP_LINE: &str = "DELETE FROM job_line WHERE job = ?1 AND seq = ?2";
pub(crate) const LINES: &str = "\
    SELECT seq, at, level, attempt, text FROM job_line WHERE job = ?1 AND seq > ?2 \
    ORDER BY seq LIMIT ?3";
pub(crate) const SET_PROGRESS: &str = "\
    INSERT INTO job_progress (job, progress) VALUES (?1, ?2) \
    ON CONFLICT (job) DO UPDATE SET progress = excluded.progress";
pub(crate) const PROGRESS: &str = "SELECT progress FROM job_progress WHERE job = ?1";

#[async_trait]
impl Events for SqliteBackend {
    async fn log(&self, job: JobId, line: NewLine) -> Result<(), BackendError> {
        self.database
            .write(Durability::Relaxed, move |connection| add_line(connection, job, &line))
            .await
    }

    async fn lines(
        &self,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogLine>, BackendError> {
        self.database
            .read(move |connection| {
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                let mut statement = connection.prepare_cached(LINES)?;
                let mut rows = statement.query(params![job.to_string(), after, count(limit)])?;
                let mut lines = Vec::new();
                while let Some(row) = rows.next()? {
                    lines.push(line(row)?);
                }
                Ok(lines)
            })
            .await
    }

    async fn set_progress(&self, job: JobId, progress: &Progress) -> Result<(), BackendError> {
        let progress = to_json("progress", progress).map_err(|failure| failure.told("progress"))?;
        self.database
            .write(Durability::Relaxed, move |connection| {
                connection.prepare_cached(SET_PROGRESS)?.execute([job.to_string(), progress])?;
                Ok(())
            })
            .await
    }

    async fn progress(&self, job: JobId) -> Result<Option<Progress>, BackendError> {
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(PROGRESS)?;
                let text = statement.query_row([job.to_string()], |row| row.get(0)).optional()?;
                text.map(|text: String| json("progress", &text)).transpose()
            })
            .await
    }
}

fn add_line(connection: &Connection, job: JobId, line: &NewLine) -> Result<(), Failure> {
    let job = job.to_string();
    let last: Option<i64> =
        connection.prepare_cached(LAST_SEQ)?.query_row([&job], |row| row.get(0))?;
    let seq = last.unwrap_or(0) + 1;
    let text: String = line
        .text
        .chars()
        .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c })
        .take(NewLine::CHARS_MAX)
        .collect();
    connection.prepare_cached(ADD_LINE)?.execute(params![
        job,
        seq,
        nanoseconds(line.at),
        level_name(line.level),
        line.attempt,
        text
    ])?;
    if seq - LATEST_KEPT > FIRST_KEPT {
        connection.prepare_cached(DROP_LINE)?.execute(params![job, seq - LATEST_KEPT])?;
    }
    Ok(())
}

fn line(row: &Row<'_>) -> Result<LogLine, Failure> {
    let (seq, at, level): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(LogLine {
        seq: u64::try_from(seq).map_err(|error| Failure::record("log line", error))?,
        at: Timestamp::from_nanosecond(at.into())
            .map_err(|error| Failure::record("log line", error))?,
        level: level_of(&level)?,
        attempt: row.get(3)?,
        text: row.get(4)?,
    })
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn level_of(name: &str) -> Result<LogLevel, Failure> {
    match name {
        "info" => Ok(LogLevel::Info),
        "warn" => Ok(LogLevel::Warn),
        "error" => Ok(LogLevel::Error),
        _ => Err(Failure::record("log line", format!("{name:?} is no level"))),
    }
}
