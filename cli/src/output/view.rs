//! The JSON forms of jobs and points, and their lines in tables.

use drs_backend::{BackendError, JobStore, Wait};
use drs_model::{
    Consistency, Fault, FaultClass, FaultCode, HypervisorKind, Job, JobId, JobKind, JobSpec, Phase,
    PointId, PointState, Progress, Resource, StepRecord, Timestamp, VmForm, VmRef,
};
use drs_runtime::clock;
use drs_vault::{Listing, StoredPoint, VaultError};
use serde::Serialize;

use super::table::Table;
use super::units;

/// A job as `--json` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    pub id: JobId,
    pub kind: JobKind,
    pub subject: String,
    pub state: Phase,
    pub attempt: u32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub cancel_requested: bool,
    pub worker: Option<String>,
    /// Why it failed, or why it is tried again.
    pub fault: Option<Fault>,
    /// What it was asked to do.
    pub spec: JobSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
}

/// What a parked job waits for.
#[derive(Debug, Serialize)]
pub(crate) struct WaitView {
    /// As the store names it, for example `vm:dc1/web1`.
    pub resource: String,
    #[serde(skip)]
    worded: String,
    pub holders: Vec<JobId>,
    /// Those holders that wait for a decision: they hold it until a person decides.
    pub undecided: Vec<JobId>,
    pub position: usize,
    pub waiters: usize,
}

impl WaitView {
    /// What a job waits for; `None` when it is not parked.
    pub(crate) async fn of(store: &dyn JobStore, id: JobId) -> Result<Option<Self>, BackendError> {
        let Some(Wait { resource, holders, position, waiters }) = store.wait_of(id).await? else {
            return Ok(None);
        };
        let mut undecided = Vec::new();
        for holder in &holders {
            let job = store.get(*holder).await?;
            if job.is_some_and(|job| job.state.phase() == Phase::NeedsOperator) {
                undecided.push(*holder);
            }
        }
        let (worded, resource) = (worded(&resource), resource.to_string());
        Ok(Some(Self { resource, worded, holders, undecided, position, waiters }))
    }

    /// In words: who holds what is needed, and the place in the line.
    pub(crate) fn sentence(&self) -> String {
        let holders: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        let held = match holders.as_slice() {
            [] => "which is free now".to_owned(),
            ids => format!("held by {}", ids.join(", ")),
        };
        let mut text = format!(
            "waits for {}, {held}; position {} of {}",
            self.worded, self.position, self.waiters
        );
        for id in &self.undecided {
            text.push_str(&format!("; job {id} waits for a decision: {}", way_out(*id)));
        }
        text
    }
}

/// A resource as people call it.
fn worded(resource: &Resource) -> String {
    match resource {
        Resource::Vm(vm) => format!("VM {vm}"),
        Resource::HostSlot(host) => format!("a slot of host {host}"),
        Resource::DumpSlot(host) => {
            format!("the dump slot of {host} (a Proxmox VE node dumps one VM at a time)")
        }
    }
}

/// What a person can do about a job that waits for a decision.
fn way_out(id: JobId) -> String {
    format!(
        "`drs job show {id}` tells why; when that is mended `drs job retry {id}` lets it go on, and \
         `drs job cancel {id}` takes back what it did and frees the VM"
    )
}

/// Why a job failed, is tried again, or waits for a decision; the latter with the way out.
pub(crate) fn fault_of(job: &Job) -> Option<Fault> {
    if job.state.phase() != Phase::NeedsOperator {
        return job.fault.clone();
    }
    let mut fault = job.fault.clone().unwrap_or_else(|| {
        let text = "the job waits for a decision";
        Fault::new(FaultClass::NeedsOperator, FaultCode::HypervisorFailed, text, "")
    });
    let remedy = format!("{} The job waits for a decision: {}.", fault.remedy, way_out(job.id));
    fault.remedy = remedy.trim_start().to_owned();
    Some(fault)
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            kind: job.spec.kind(),
            subject: job.spec.subject(),
            state: job.state.phase(),
            attempt: job.attempt,
            created_at: job.created_at,
            started_at: job.started_at,
            updated_at: job.updated_at,
            cancel_requested: job.cancel_requested,
            worker: job.state.lease().map(|lease| lease.worker.clone()),
            fault: fault_of(job),
            spec: job.spec.clone(),
            waits: None,
            progress: None,
            steps: Vec::new(),
        }
    }
}

/// Jobs as a table.
pub(crate) fn job_table(jobs: &[JobView]) -> String {
    let headings = Table::new(["ID", "KIND", "SUBJECT", "STATE", "CREATED", "WHY"]);
    let row = |table: Table, job: &JobView| {
        let mut why = job.fault.as_ref().map(|fault| fault.message.clone()).unwrap_or_default();
        if job.state == Phase::NeedsOperator {
            why.push_str("; `drs job show ID` tells what to do");
        }
        table.row([
            job.id.to_string(),
            job.kind.to_string(),
            job.subject.clone(),
            job.state.to_string(),
            clock::local(job.created_at),
            why,
        ])
    };
    jobs.iter().fold(headings, row).to_string()
}

/// Whether a point's content was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    Complete,
    Verified,
    Damaged,
}

/// A recovery point as `--json` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct PointView {
    pub id: PointId,
    pub source: VmRef,
    pub hypervisor: HypervisorKind,
    pub consistent_at: Timestamp,
    pub completed_at: Timestamp,
    pub consistency: Consistency,
    pub form: VmForm,
    pub disks: usize,
    pub size_bytes: u64,
    pub stored_bytes: u64,
    pub state: Proof,
    /// When it was re-read last.
    pub verified_at: Option<Timestamp>,
}

impl From<&StoredPoint> for PointView {
    fn from(point: &StoredPoint) -> Self {
        let manifest = &point.manifest;
        let (state, verified_at) = match point.state {
            PointState::Complete => (Proof::Complete, None),
            PointState::Verified(at) => (Proof::Verified, Some(at)),
            PointState::Damaged(at) => (Proof::Damaged, Some(at)),
        };
        Self {
            id: manifest.id,
            source: manifest.source.clone(),
            hypervisor: manifest.hypervisor,
            consistent_at: manifest.consistent_at,
            completed_at: manifest.completed_at,
            consistency: manifest.consistency,
            form: manifest.spec.form,
            disks: manifest.disks.len(),
            size_bytes: manifest.size_bytes(),
            stored_bytes: manifest.stored_bytes(),
            state,
            verified_at,
        }
    }
}

impl PointView {
    /// Whether and when it was proven, in words.
    pub(crate) fn proof(&self) -> String {
        let at = self.verified_at.map(clock::local).unwrap_or_default();
        match self.state {
            Proof::Complete => "complete, never re-read".into(),
            Proof::Verified => format!("verified {at}"),
            Proof::Damaged => format!("DAMAGED, found {at}"),
        }
    }
}

/// A recovery point whose manifest cannot be read: of which VM it is and from when is not known.
#[derive(Debug, Serialize)]
pub(crate) struct UnreadableView {
    pub id: PointId,
    /// Always [`Proof::Damaged`].
    pub state: Proof,
    /// Why it cannot be read.
    pub damage: String,
}

impl UnreadableView {
    pub(crate) fn new(id: PointId, error: &VaultError) -> Self {
        Self { id, state: Proof::Damaged, damage: why_unreadable(error) }
    }
}

/// Why a point cannot be read, where its id is told already.
pub(crate) fn why_unreadable(error: &VaultError) -> String {
    match error {
        VaultError::Damaged { damage, .. } => damage.clone(),
        other => other.to_string(),
    }
}

/// A recovery point in a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum PointEntry {
    Readable(PointView),
    Unreadable(UnreadableView),
}

impl PointEntry {
    /// The readable points first, in the vault's order.
    pub(crate) fn all(listing: &Listing) -> Vec<Self> {
        let readable = listing.points.iter().map(|point| Self::Readable(PointView::from(point)));
        let unreadable = listing.unreadable.iter();
        let unreadable =
            unreadable.map(|(id, why)| Self::Unreadable(UnreadableView::new(*id, why)));
        readable.chain(unreadable).collect()
    }
}

/// Points as a table.
pub(crate) fn point_table(points: &[PointEntry]) -> String {
    let headings = Table::new(["ID", "VM", "TIME", "CONSISTENCY", "SIZE", "STORED", "STATE"]);
    let row = |table: Table, point: &PointEntry| match point {
        PointEntry::Readable(point) => table.row([
            point.id.to_string(),
            point.source.to_string(),
            clock::local(point.consistent_at),
            point.consistency.to_string(),
            units::bytes(point.size_bytes),
            units::bytes(point.stored_bytes),
            point.proof(),
        ]),
        PointEntry::Unreadable(point) => {
            let [vm, time, consistency, size, stored] = [(); 5].map(|()| "-".to_owned());
            let state = format!("DAMAGED: {}", point.damage);
            table.row([point.id.to_string(), vm, time, consistency, size, stored, state])
        }
    };
    points.iter().fold(headings, row).to_string()
}
