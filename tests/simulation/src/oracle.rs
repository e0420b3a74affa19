//! What must never happen, watched from outside of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use drs_model::{FencingToken, Job, JobId, Phase};

use crate::agenda::Millis;

/// What was harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Harm {
    /// Two jobs changed one VM at one time.
    Overlap,
    /// A job worked on a VM where the unfinished work of another job lay.
    Interleaved,
    /// Two sessions drove one job at one time, or one wrote that had been replaced.
    TwoDrivers,
    /// A detached command ran again though it had succeeded and its host was not told to take it back.
    Rerun,
    /// A command started though it had been cancelled under the same or a newer claim.
    RanAfterCancel,
    /// A command began after its job had ended.
    RanAfterEnd,
    /// A job never came to an end.
    Lost,
    /// The store holds a resource for a job that is over, or for more jobs than may have it.
    Leaked,
    /// A job waited though what it needs was free and nobody else was about to take it.
    Starved,
    /// A job ended twice, or its end changed.
    EndedTwice,
    /// A job that failed or was cancelled left something on a host.
    Leftover,
    /// After the faults were over, a job on a VM did not succeed.
    Unusable,
}

/// A harm that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub harm: Harm,
    /// Milliseconds since the world began.
    pub at: u64,
    /// The particulars.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s {:?}: {}", self.at as f64 / 1000.0, self.harm, self.what)
    }
}

/// What a step did on a host and was not taken back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Effect {
    /// A detached command succeeded, and was not cancelled since.
    pub(crate) succeeded: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) violations: Vec<Violation>,
    /// The latest claim of each job.
    pub(crate) claims: BTreeMap<JobId, (String, FencingToken)>,
    pub(crate) ended: BTreeMap<JobId, Phase>,
    /// The newest token under which a detached step was cancelled.
    pub(crate) cancelled: BTreeMap<(JobId, &'static str), FencingToken>,
    pub(crate) effects: BTreeMap<(JobId, &'static str), Effect>,
    /// Jobs that nobody can be asked for: all that knew of them was lost.
    pub(crate) excused: BTreeSet<JobId>,
    /// Jobs whose log the store may have lost in part: what they did after that is known to nobody, and
    /// is found by the next job that cleans up.
    pub(crate) shaken: BTreeSet<JobId>,
    /// Jobs whose last holder of any knowledge had to pass it on: the broker for a worker that died over
    /// a message, a session that ended while the store did not know the job.
    pub(crate) owed: BTreeSet<JobId>,
    /// Jobs of which the store told a worker that others look after them now.
    pub(crate) relieved: BTreeSet<(JobId, String)>,
    /// Since when a resource is free while somebody waits for it.
    pub(crate) idle_since: BTreeMap<String, Millis>,
}

impl Oracle {
    pub(crate) fn harm(&mut self, at: Millis, harm: Harm, what: impl Into<String>) {
        self.violations.push(Violation { harm, at, what: what.into() });
    }

    /// A worker wrote under a claim.
    pub(crate) fn wrote(&mut self, at: Millis, job: JobId, worker: &str, fence: FencingToken) {
        if let Some((latest, newest)) = self.claims.get(&job)
            && (latest != worker || *newest != fence)
        {
            let what =
                format!("{worker} wrote job {job} under {fence}, {latest} has it under {newest}");
            self.harm(at, Harm::TwoDrivers, what);
        }
    }

    pub(crate) fn claimed(&mut self, at: Millis, job: &Job, worker: &str) {
        if self.ended.contains_key(&job.id) {
            self.harm(at, Harm::EndedTwice, format!("job {} was claimed after its end", job.id));
        }
        self.claims.insert(job.id, (worker.to_owned(), job.fence));
        // Somebody knew of it after all.
        self.excused.remove(&job.id);
    }

    pub(crate) fn ended(&mut self, at: Millis, job: JobId, phase: Phase) {
        if let Some(before) = self.ended.insert(job, phase) {
            let what = format!("job {job} ended as {before}, and again as {phase}");
            self.harm(at, Harm::EndedTwice, what);
        }
    }

    /// The store lost what it had confirmed: what it says now is what there is.
    pub(crate) fn store_became(&mut self, jobs: &[Job]) {
        let terminal = |id: &JobId| jobs.iter().any(|job| job.id == *id && job.state.is_terminal());
        self.ended.retain(|id, _| terminal(id));
        // A store that was emptied may be rolled back to what it knew before that.
        for job in jobs.iter().filter(|job| job.state.is_terminal()) {
            self.ended.entry(job.id).or_insert_with(|| job.state.phase());
        }
        self.claims = jobs
            .iter()
            .filter_map(|job| Some((job.id, (job.state.lease()?.worker.clone(), job.fence))))
            .collect();
        self.idle_since.clear();
    }
}
