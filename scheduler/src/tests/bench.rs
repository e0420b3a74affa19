//! A job core in a file, a clock that the test sets, and candidates that are stepped by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use drs_backend::{Backend, JobFilter};
use drs_backend_sqlite::SqliteBackend;
use drs_model::{
    Calendar, Fire, Host, HypervisorKind, Job, Schedule, SignedDuration, Subject, Timestamp,
    Transfer, Work,
};
use drs_protocol::leader::Event;
use drs_protocol::store::CancelAnswer;
use tempfile::TempDir;

use crate::due::DueRuns;
use crate::leadership::Leadership;

pub(crate) const LEASE: SignedDuration = SignedDuration::from_secs(15);

pub(crate) struct Bench {
    pub(crate) backend: Backend,
    _folder: TempDir,
    now: AtomicI64,
}

/// One scheduler, as far as leadership and due runs go.
pub(crate) struct Candidate {
    leadership: Leadership,
    due: DueRuns,
}

impl Bench {
    pub(crate) async fn new(now: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = SqliteBackend::open(&folder.path().join("drs.db")).expect("a file").backend();
        let host = Host {
            name: "dc".parse().expect("a name"),
            site: "here".parse().expect("a name"),
            kind: HypervisorKind::Simulated,
            address: "vms=1".into(),
            key_file: None,
            host_keys: Vec::new(),
            image_dir: None,
            dump_dir: None,
            slots: 2,
            bytes_per_second: None,
        };
        backend.catalog.add_host(&host).await.expect("added");
        let now = AtomicI64::new(time(now).as_second());
        Self { backend, _folder: folder, now }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.now.load(Ordering::SeqCst)).expect("a time")
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) async fn schedule(&self, expression: &str, zone: &str) -> Schedule {
        let schedule = Schedule {
            name: "nightly".parse().expect("a name"),
            subject: Subject::Vm("dc/web".parse().expect("a VM")),
            work: Work::Backup,
            calendar: Calendar::cron(expression, zone).expect("a calendar"),
            transfer: Transfer::default(),
            paused: false,
            counts_from: self.now(),
        };
        self.backend.catalog.add_schedule(&schedule).await.expect("added");
        schedule
    }

    pub(crate) fn candidate(&self, name: &str) -> Candidate {
        let leadership = Leadership::new(name.into(), LEASE, self.backend.clone(), self.now());
        let look_every = SignedDuration::from_secs(2);
        let due = DueRuns::new(self.backend.clone(), leadership.trust(), look_every);
        Candidate { leadership, due }
    }

    pub(crate) async fn step(&self, candidate: &mut Candidate) {
        candidate.leadership.happened(&|| self.now(), Event::Tick).await;
        candidate.due.look(&|| self.now()).await;
    }

    /// Gives the candidate's term back, as an orderly end does.
    pub(crate) async fn end(&self, mut candidate: Candidate) {
        candidate.leadership.resign(&|| self.now()).await;
    }

    /// A look with what was known of leadership before: as a process does that was paused after it had
    /// looked whether it leads.
    pub(crate) async fn look_alone(&self, candidate: &mut Candidate) {
        candidate.due.look(&|| self.now()).await;
    }

    /// The jobs, oldest first.
    pub(crate) async fn jobs(&self) -> Vec<Job> {
        let all = JobFilter { limit: JobFilter::LIMIT_MAX, ..JobFilter::default() };
        let mut jobs = self.backend.store.list(&all).await.expect("the jobs");
        jobs.sort_by_key(|job| job.created_at);
        jobs
    }

    /// Ends every job.
    pub(crate) async fn end_jobs(&self) {
        for job in self.jobs().await.iter().filter(|job| !job.state.is_terminal()) {
            let answer = self.backend.store.cancel(self.now(), job.id).await.expect("an answer");
            assert!(matches!(answer, CancelAnswer::Cancelled { .. }), "{answer:?}");
        }
    }

    pub(crate) async fn latest(&self, schedule: &Schedule) -> Option<Fire> {
        self.backend.catalog.schedule(&schedule.name).await.expect("it is there").1
    }
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}
