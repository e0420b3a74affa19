//! The oracles that look at the whole: who waits for nothing, and what is left at the end.

use drs_model::{Job, JobState, Phase};

use super::{Harm, World};
use crate::agenda::Happening;
use crate::kinds::Kind;

/// How long a free resource may be waited for while everything works.
const IDLE: u64 = 2_500;

impl World<'_> {
    /// A resource that is free and waited for must be on its way to somebody.
    pub(super) fn watch(&mut self) {
        self.after(900..1_100, Happening::Watch);
        let Some(held) = self.store.held() else { return };
        let jobs = self.store.jobs();
        let mut idle = std::collections::BTreeMap::new();
        for job in &jobs {
            let JobState::Parked { resource, .. } = &job.state else { continue };
            let Some(need) = job.needs.iter().find(|need| need.resource == *resource) else {
                continue;
            };
            let holders = held.iter().filter(|(held, _)| held == resource).count();
            let on_its_way = |other: &Job| {
                let waits =
                    matches!(other.state, JobState::Queued { .. } | JobState::RetryWait { .. });
                waits && other.needs.contains(need)
            };
            if holders < need.capacity as usize && !jobs.iter().any(on_its_way) {
                let key = resource.to_string();
                let since = self.oracle.idle_since.get(&key).copied().unwrap_or(self.t);
                idle.insert(key, since);
            }
        }
        self.oracle.idle_since = idle;
        let long = |since: &u64| self.t - since > IDLE;
        let starved: Vec<String> = self
            .oracle
            .idle_since
            .iter()
            .filter(|(_, since)| self.store_up && long(since))
            .map(|(resource, _)| resource.clone())
            .collect();
        for resource in starved {
            self.harm(Harm::Starved, format!("{resource} is free, and somebody waits for it"));
        }
    }

    fn is_over(&self, n: usize) -> bool {
        let job = self.jobs[n].record.id;
        self.oracle.ended.contains_key(&job) || self.oracle.excused.contains(&job)
    }

    /// Whether everything has come to its end; then the last oracles have looked.
    pub(super) fn all_is_over(&mut self) -> bool {
        if !self.probed || self.oracle.ended.len() + self.oracle.excused.len() < self.jobs.len() {
            return false;
        }
        if !(0..self.jobs.len()).all(|n| self.is_over(n)) {
            return false;
        }
        self.last_look();
        true
    }

    fn last_look(&mut self) {
        let records = self.store.jobs();
        for record in &records {
            if self.planned(record.id).kind != Kind::Probe {
                continue;
            }
            // Nothing goes wrong any more: the first attempt must do.
            if record.state.phase() != Phase::Succeeded || record.attempt > 1 {
                let (name, phase) = (self.name(record.id), record.state.phase());
                let what = format!("{name} {phase} at attempt {}", record.attempt);
                self.harm(Harm::Unusable, what);
            }
        }
        for (resource, job) in self.store.held().unwrap_or_default() {
            let what = format!("{resource} is still held by {job}");
            self.harm(Harm::Leaked, what);
        }
        for job in records {
            if !job.state.is_terminal() {
                let what = format!("{} is {} after its end", job.id, job.state.phase());
                self.harm(Harm::EndedTwice, what);
            }
        }
    }

    pub(super) fn not_over(&mut self) {
        let jobs = self.store.jobs();
        for n in 0..self.jobs.len() {
            if self.is_over(n) {
                continue;
            }
            let id = self.jobs[n].record.id;
            let record = jobs.iter().find(|job| job.id == id);
            let state = record.map(|job| &job.state);
            let what = format!("{} ({id}) never ended: {state:?}", self.name(id));
            self.harm(Harm::Lost, what);
        }
    }
}
