//! What a host has written down of a command: when it began and ended, each time.

use std::path::Path;

use anyhow::{Context, Result};
use drs_model::Timestamp;

/// The runs of one command.
pub(crate) struct Record {
    /// Milliseconds since 1970, with +1 for a begin and -1 for an end; in order.
    marks: Vec<(i64, i32)>,
    over_at: Option<Timestamp>,
}

impl Record {
    /// Reads what is written; `over_at` is when the queue reported the job over.
    pub(crate) fn read(path: &Path, over_at: Option<Timestamp>) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut marks = Vec::new();
        for line in text.lines() {
            let (what, at_ms) = line.split_once(' ').context("a mark and a time")?;
            marks.push((at_ms.parse()?, if what == "start" { 1 } else { -1 }));
        }
        marks.sort_unstable();
        Ok(Self { marks, over_at })
    }

    /// How often the command was started.
    pub(crate) fn starts(&self) -> usize {
        self.marks.iter().filter(|(_, change)| *change > 0).count()
    }

    /// Whether none runs.
    pub(crate) fn is_quiet(&self) -> bool {
        self.marks.iter().map(|(_, change)| change).sum::<i32>() == 0
    }

    /// Seconds in which more than one ran.
    pub(crate) fn overlap(&self) -> f64 {
        let (mut running, mut ms) = (0, 0);
        for pair in self.marks.windows(2) {
            let [(from, change), (until, _)] = pair else { continue };
            running += change;
            if running > 1 {
                ms += until - from;
            }
        }
        ms as f64 / 1000.0
    }

    /// Seconds from the first begin to the report that the job is over.
    pub(crate) fn over(&self) -> Option<f64> {
        let (first, _) = self.marks.first()?;
        Some((self.over_at?.as_millisecond() - first) as f64 / 1000.0)
    }
}
