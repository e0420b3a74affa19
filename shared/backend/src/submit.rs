//! How a job gets in: the record first, then the message.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use drs_model::{Host, HostName, Job, JobId, JobSpec, Lane, Need, Phase, Timestamp, TraceContext};
use drs_protocol::store::CreateAnswer;
use tracing::Instrument;

use crate::{
    Announcement, BackendError, Catalog, DeadLetters, Dispatch, Events, Feed, Happening, History,
    JobFilter, JobStore,
};

/// The ports of the job core together.
#[derive(Clone)]
pub struct Backend {
    /// Job records.
    pub store: Arc<dyn JobStore>,
    /// Messages.
    pub dispatch: Arc<dyn Dispatch>,
    /// Hosts, sites, pairs and schedules.
    pub catalog: Arc<dyn Catalog>,
    /// Logs and progress.
    pub events: Arc<dyn Events>,
    /// Jobs that are over; `None` where the store keeps them for good.
    pub history: Option<Arc<dyn History>>,
    /// What other programs are told; `None` where nobody listens.
    pub feed: Option<Arc<dyn Feed>>,
    /// Messages that no worker could understand, or that were delivered too often; `None` where there can
    /// be none.
    pub dead: Option<Arc<dyn DeadLetters>>,
}

impl Backend {
    /// A job, wherever it is: in the store, or in history when the store has forgotten it.
    ///
    /// # Errors
    /// An adapter failed.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, BackendError> {
        match (self.store.get(id).await?, &self.history) {
            (None, Some(history)) => history.find(id).await,
            (found, _) => Ok(found),
        }
    }

    /// Jobs, newest first, those of history among them: the first page. A cursor (`before`) belongs to
    /// one of the two, whose port pages through it. While history cannot be reached its jobs are left out, and
    /// that is logged: for people to read, since what is missing cannot be told from what never was.
    ///
    /// # Errors
    /// An adapter failed.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        let jobs = self.store.list(filter).await?;
        let past = match self.past(filter).await {
            Err(error @ BackendError::Unavailable { .. }) => {
                tracing::warn!("jobs of the past are left out: {error}");
                Vec::new()
            }
            past => past?,
        };
        Ok(merged(jobs, past, filter))
    }

    /// As [`Backend::jobs`], with none left out: for what follows from which jobs there are.
    ///
    /// # Errors
    /// An adapter failed, that of history included.
    pub async fn all_jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        let jobs = self.store.list(filter).await?;
        Ok(merged(jobs, self.past(filter).await?, filter))
    }

    async fn past(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        match &self.history {
            Some(history) => history.past(filter).await,
            None => Ok(Vec::new()),
        }
    }

    /// Removes a host of which no unfinished job is left.
    ///
    /// # Errors
    /// As [`Catalog::remove_host`], and [`BackendError::InUse`] when an unfinished job names it.
    pub async fn remove_host(&self, name: &HostName) -> Result<(), BackendError> {
        let phases = Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()).collect();
        let subject = Some(name.to_string());
        let open = JobFilter { phases, subject, limit: 1, ..JobFilter::default() };
        if let Some(job) = self.store.list(&open).await?.first() {
            let (what, by) = (format!("host {name}"), format!("job {}", job.id));
            return Err(BackendError::InUse { what, by });
        }
        self.catalog.remove_host(name).await
    }

    /// Publishes a job's message; says whether it is with the broker. What cannot be published now, the
    /// sweeper publishes later.
    pub async fn publish(&self, job: &Job) -> bool {
        let published = self.dispatch.publish(&job.into()).await;
        published
            .inspect_err(|error| {
                tracing::warn!(job = %job.id, %error, "not published, the sweeper will");
            })
            .is_ok()
    }

    /// Tells other programs what happened to a job, if anybody listens. What cannot be told is lost.
    pub async fn announce(&self, job: &Job, at: Timestamp, what: Happening) {
        let Some(feed) = &self.feed else { return };
        if let Err(error) = feed.announce(&Announcement::of(job, at, what)).await {
            tracing::debug!(job = %job.id, %error, "not announced");
        }
    }
}

/// What is in both stands in the store as it is now.
fn merged(mut jobs: Vec<Job>, past: Vec<Job>, filter: &JobFilter) -> Vec<Job> {
    let known: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
    jobs.extend(past.into_iter().filter(|job| !known.contains(&job.id)));
    jobs.sort_by_key(|job| Reverse((job.created_at, job.id)));
    jobs.truncate(filter.limit.min(JobFilter::LIMIT_MAX));
    jobs
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// A new job.
    New(Box<Job>),
    /// The same idempotency key was submitted before; this is that job as it stands.
    Existing(Box<Job>),
}

impl Submitted {
    /// The job, new or not.
    #[must_use]
    pub fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Existing(job) => job,
        }
    }
}

/// Submits a job under an id. Its hosts must be in the catalogue. `trace` is the span that asks for it.
///
/// # Errors
/// [`BackendError::NotFound`] when a host is not there, or an adapter failed. After an error of the
/// publication the job is in all the same and the sweeper publishes it.
pub async fn submit(
    backend: &Backend,
    id: JobId,
    spec: JobSpec,
    trace: Option<TraceContext>,
    now: Timestamp,
) -> Result<Submitted, BackendError> {
    if let Some(history) = &backend.history
        && let Some(past) = history.find(id).await?
    {
        return Ok(Submitted::Existing(Box::new(past)));
    }
    let mut hosts = Vec::new();
    for name in spec.host().into_iter().chain(spec.counterpart().map(|vm| &vm.host)) {
        hosts.push(backend.catalog.host(name).await?);
    }
    let needs = needs(&spec, &hosts);
    let lane = match hosts.first() {
        Some(host) => backend.catalog.site(&host.site).await?.lane,
        None => Lane::default(),
    };
    let job = Job { lane, trace, ..Job::new(id, spec, needs, now) };
    if let CreateAnswer::Exists(existing) = backend.store.create(&job).await? {
        return Ok(Submitted::Existing(existing));
    }
    let span = tracing::info_span!("publish", job = %id, lane = %job.lane);
    match backend.dispatch.publish(&(&job).into()).instrument(span).await {
        Ok(()) => backend.store.published(now, id).await?,
        Err(error) => tracing::warn!(job = %id, %error, "not published yet, the sweeper will"),
    }
    backend.announce(&job, now, Happening::Submitted).await;
    Ok(Submitted::New(Box::new(job)))
}

/// What a job must have before it may run: its VMs for itself, a slot of each host on which it moves
/// data, and the dump slot of a host that it reads from, where that dumps one VM at a time.
fn needs(spec: &JobSpec, hosts: &[Host]) -> Vec<Need> {
    let vms = spec.vm().into_iter().chain(spec.counterpart()).cloned().map(Need::vm);
    let (moves, reads) = match spec {
        JobSpec::Backup { .. } | JobSpec::Replicate { .. } => (true, true),
        JobSpec::Restore { .. } => (true, false),
        JobSpec::Inspect { .. }
        | JobSpec::Verify { .. }
        | JobSpec::Power { .. }
        | JobSpec::FanOut { .. } => (false, false),
    };
    let mut needs: Vec<Need> = vms.collect();
    let slots = hosts.iter().filter(|_| moves);
    for slot in slots.map(|host| Need::host_slot(host.name.clone(), host.slots)) {
        // A replication within one host takes one slot of it.
        if !needs.contains(&slot) {
            needs.push(slot);
        }
    }
    let dumps = hosts.first().filter(|host| reads && host.kind.dumps_one_at_a_time());
    needs.extend(dumps.map(|host| Need::dump_slot(host.name.clone())));
    needs
}

#[cfg(test)]
mod tests {
    use drs_model::{HypervisorKind, RestoreTarget, Transfer, VmRef};

    use super::*;

    fn host(name: &str, kind: HypervisorKind) -> Host {
        Host {
            name: name.parse().expect("a name"),
            site: "dc".parse().expect("a name"),
            kind,
            address: "root@h".into(),
            key_file: None,
            host_keys: Vec::new(),
            image_dir: None,
            dump_dir: None,
            slots: 2,
            bytes_per_second: None,
        }
    }

    fn keys(needs: &[Need]) -> Vec<String> {
        needs.iter().map(|need| need.resource.to_string()).collect()
    }

    #[test]
    fn a_replication_needs_both_vms_both_hosts_and_the_dump_slot_of_the_one_it_reads() {
        let vm = |text: &str| text.parse::<VmRef>().expect("a VM");
        let spec = JobSpec::Replicate {
            source: vm("dc/112"),
            target: RestoreTarget {
                vm: vm("drc/111"),
                networks: Default::default(),
                storage: Default::default(),
                keep_macs: true,
                start: false,
                replace: None,
                pair: None,
            },
            transfer: Transfer::default(),
        };
        let hosts = [host("dc", HypervisorKind::Proxmox), host("drc", HypervisorKind::Proxmox)];
        let needs = needs(&spec, &hosts);
        assert_eq!(keys(&needs), ["vm:dc/112", "vm:drc/111", "host:dc", "host:drc", "dump:dc"]);
        assert!(needs.len() <= Job::NEEDS_MAX);
    }

    #[test]
    fn a_backup_needs_the_dump_slot_on_proxmox_alone() {
        let spec = JobSpec::backup("dc/112".parse().expect("a VM"));
        let proxmox = needs(&spec, &[host("dc", HypervisorKind::Proxmox)]);
        assert_eq!(keys(&proxmox), ["vm:dc/112", "host:dc", "dump:dc"]);
        let libvirt = needs(&spec, &[host("dc", HypervisorKind::Libvirt)]);
        assert_eq!(keys(&libvirt), ["vm:dc/112", "host:dc"]);
    }
}
