//! What the record of a job tells of the recovery point that it made.

use drs_model::{DiskContent, Job, JobSpec, Phase, StepMark, Timestamp, VmRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A recovery point, as far as its job tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) vm: VmRef,
    pub(super) consistent_at: Option<Timestamp>,
    pub(super) consistency: Option<String>,
    pub(super) completed_at: Timestamp,
    pub(super) size_bytes: Option<i64>,
    pub(super) stored_bytes: Option<i64>,
}

/// What `export` hands on in a backup or replication, and `locate` inside its archive.
#[derive(Deserialize)]
struct Frozen {
    consistent_at: Timestamp,
    consistency: String,
}

#[derive(Deserialize)]
struct Located {
    export: Option<Frozen>,
}

/// What `copy` hands on.
#[derive(Deserialize)]
struct Copied {
    disks: Vec<DiskContent>,
    completed_at: Timestamp,
}

impl Point {
    /// The point that the job made; `None` when it made none.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let vm = match &job.spec {
            JobSpec::Backup { vm, .. } => vm,
            JobSpec::Replicate { source, .. } => source,
            _ => return None,
        };
        if job.state.phase() != Phase::Succeeded {
            return None;
        }
        let frozen: Option<Frozen> = output(job, "export")
            .or_else(|| output::<Located>(job, "locate").and_then(|located| located.export));
        let copied: Option<Copied> = output(job, "copy");
        let sum = |size: fn(&DiskContent) -> u64| {
            let disks = &copied.as_ref()?.disks;
            Some(i64::try_from(disks.iter().map(size).sum::<u64>()).unwrap_or(i64::MAX))
        };
        Some(Self {
            vm: vm.clone(),
            size_bytes: sum(|disk| disk.size_bytes),
            stored_bytes: sum(|disk| disk.stored_bytes),
            completed_at: copied.map_or(job.updated_at, |copied| copied.completed_at),
            consistent_at: frozen.as_ref().map(|frozen| frozen.consistent_at),
            consistency: frozen.map(|frozen| frozen.consistency),
        })
    }
}

/// What a step that is done handed on, where it is of that form.
fn output<T: DeserializeOwned>(job: &Job, step: &str) -> Option<T> {
    let record = job.steps.iter().find(|record| record.step == step)?;
    (record.mark == StepMark::Done).then(|| T::deserialize(&record.output).ok()).flatten()
}
