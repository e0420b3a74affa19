//! The log of a saga: which steps were planned, done and undone.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepMark {
    /// Logged before its first effect: from here on it may have happened in part.
    Planned,
    /// Its effect is complete.
    Done,
    /// Its effect was taken back.
    Undone,
}

/// One entry of a saga's log; a step has at most one, its latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step's name, unique in its saga.
    pub step: String,
    /// Where it stands.
    pub mark: StepMark,
    /// What it hands to later steps, also after a crash; `null` when nothing.
    pub output: serde_json::Value,
    /// When it was written.
    pub at: Timestamp,
}
