//! Logs and progress. Of a job's lines the first [`FIRST_KEPT`] and the latest [`LATEST_KEPT`] stay, in two
//! lists; the numbers of the lines follow from their places.

use async_trait::async_trait;
use drs_backend::{BackendError, Events, NewLine};
use drs_model::{JobId, LogLevel, LogLine, Progress, Timestamp};

use crate::{RedisStore, script};

/// Lines that tell how a job began.
const FIRST_KEPT: u64 = 1_000;
/// Lines that tell what it does now.
const LATEST_KEPT: u64 = 9_000;
/// Most lines that one call returns.
const CALL_MAX: usize = 1_000;

/// A line as it is stored: when, how serious, during which attempt, the text.
type Stored = (Timestamp, LogLevel, u32, String);

#[async_trait]
impl Events for RedisStore {
    async fn log(&self, job: JobId, line: NewLine) -> Result<(), BackendError> {
        let one_line = line.text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c });
        let text: String = one_line.take(NewLine::CHARS_MAX).collect();
        let stored = self.json("log line", &(line.at, line.level, line.attempt, text))?;
        let call = self.call(&script::LOG).text(job).arg(FIRST_KEPT).arg(LATEST_KEPT);
        call.arg(stored).run().await.map(drop)
    }

    async fn lines(
        &self,
        job: JobId,
        mut after: u64,
        limit: usize,
    ) -> Result<Vec<LogLine>, BackendError> {
        let mut lines = Vec::new();
        while lines.len() < limit {
            let call = self.call(&script::LINES).text(job).arg(FIRST_KEPT).arg(after);
            let mut answer = call.arg((limit - lines.len()).min(CALL_MAX)).run().await?;
            after = answer.next()?;
            let texts: Vec<String> = answer.next()?;
            if texts.is_empty() {
                break;
            }
            for text in texts {
                let (at, level, attempt, text): Stored = self.read_json("log line", &text)?;
                after += 1;
                lines.push(LogLine { seq: after, at, level, attempt, text });
            }
        }
        Ok(lines)
    }

    async fn set_progress(&self, job: JobId, progress: &Progress) -> Result<(), BackendError> {
        let text = self.json("progress", progress)?;
        self.link.command(&["SET", &self.progress_key(job), &text]).await.map(drop)
    }

    async fn progress(&self, job: JobId) -> Result<Option<Progress>, BackendError> {
        match self.link.command(&["GET", &self.progress_key(job)]).await? {
            redis::Value::BulkString(text) => {
                self.read_json("progress", &String::from_utf8_lossy(&text)).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl RedisStore {
    fn progress_key(&self, job: JobId) -> String {
        format!("{}progress:{job}", self.link.prefix())
    }
}
