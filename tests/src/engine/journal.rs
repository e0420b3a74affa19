//! What a simulated host wrote down: who had a VM, from when to when.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A hold of a VM, or a command that ran on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The job.
    pub job: String,
    /// `hold`, or the name of the command.
    pub step: String,
    /// The claim under which it began.
    pub fence: u64,
    /// Milliseconds since 1970.
    pub begin: u64,
    /// The same; `u64::MAX` while it goes on.
    pub end: u64,
}

/// Reads a VM's journal: its intervals in the order in which they began. A VM that was never used
/// has none.
///
/// # Errors
/// The file cannot be read, or an end has no beginning.
pub fn journal(path: &Path) -> Result<Vec<Interval>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let mut intervals: Vec<Interval> = Vec::new();
    let mut open: HashMap<(String, String, u64), usize> = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [at, job, step, fence, what] = fields.as_slice() else { bail!("not a line: {line}") };
        let (at, fence) = (at.parse()?, fence.parse()?);
        let key = ((*job).to_owned(), (*step).to_owned(), fence);
        if *what == "begin" {
            open.insert(key.clone(), intervals.len());
            let (job, step, fence) = key;
            intervals.push(Interval { job, step, fence, begin: at, end: u64::MAX });
        } else {
            let index = open.remove(&key).with_context(|| format!("no beginning: {line}"))?;
            let interval = intervals.get_mut(index).context("an interval")?;
            interval.end = at;
        }
    }
    Ok(intervals)
}

/// The first two intervals of different jobs that share time.
#[must_use]
pub fn overlapping(intervals: &[Interval]) -> Option<(&Interval, &Interval)> {
    let mut latest: Option<&Interval> = None;
    for interval in intervals {
        if let Some(before) = latest
            && before.job != interval.job
            && interval.begin < before.end
        {
            return Some((before, interval));
        }
        if latest.is_none_or(|before| interval.end >= before.end) {
            latest = Some(interval);
        }
    }
    None
}
