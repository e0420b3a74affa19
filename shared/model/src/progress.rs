//! What a running job tells while it runs.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The step it is in.
    pub step: String,
    /// Bytes of the disks that are dealt with (holes count as dealt with when skipped).
    pub done_bytes: u64,
    /// Bytes to deal with in all; 0 when not known.
    pub total_bytes: u64,
    /// Bytes that were really moved.
    pub moved_bytes: u64,
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What happens.
    Info,
    /// Unexpected, dealt with.
    Warn,
    /// Lost, or a person must act.
    Error,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Position in the job's log, from 1, without holes.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How serious.
    pub level: LogLevel,
    /// The attempt during which it was written.
    pub attempt: u32,
    /// The text, one line.
    pub text: String,
}
