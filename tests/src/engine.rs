//! The whole engine inside a test: one installation on disk, workers that come and go, simulated
//! hosts.
//!
//! An [`Installation`] is what outlives every process: the SQLite file, the vault, the hosts. An
//! [`Engine`] is one process: its own connections and its own runtime, so that it can die as a
//! process does.

mod faulty;
mod journal;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use drs_backend::{Backend, Catalog, Submitted, submit};
use drs_backend_sqlite::SqliteBackend;
use drs_hypervisor::simulated::SimulatedDriver;
use drs_hypervisor::{Driver, Drivers};
use drs_model::{
    Fault, Host, HostName, HypervisorKind, Job, JobId, JobSpec, PointId, SignedDuration, VmRef,
};
use drs_runtime::{Shutdown, clock};
use drs_scheduler::{UpkeepPace, upkeep};
use drs_vault::{DirVault, Vault};
use drs_worker::{Worker, WorkerConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use faulty::{FaultPlan, Moment};
pub use journal::{Interval, journal, overlapping};

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long a dying engine's threads may take to end.
const DEATH_LIMIT: Duration = Duration::from_secs(30);

/// Looks until `condition` gives a value.
///
/// # Errors
/// It gave none within three minutes, or failed.
pub async fn until<T, F>(what: &str, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        ensure!(Instant::now() < give_up, "waited {} s in vain: {what}", PATIENCE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// Submits a job under a key.
///
/// # Errors
/// The store failed, or the key was used before.
pub async fn submit_new(backend: &Backend, key: &str, spec: JobSpec) -> Result<JobId> {
    match submit(backend, JobId::from_key(key), spec, None, clock::now()).await? {
        Submitted::New(job) => Ok(job.id),
        Submitted::Existing(job) => bail!("{key} was submitted before, as job {}", job.id),
    }
}

/// What an installation keeps on disk.
pub struct Installation {
    dir: TempDir,
    backend: Backend,
    vault: DirVault,
    faults: FaultPlan,
}

impl Installation {
    /// A fresh one in a temporary directory.
    ///
    /// # Errors
    /// The directory cannot be made or used.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("drs-engine-").tempdir()?;
        let backend = SqliteBackend::open(&dir.path().join("drs.db"))?.backend();
        let vault = DirVault::create(dir.path().join("vault"))?;
        Ok(Self { dir, backend, vault, faults: FaultPlan::default() })
    }

    /// The job core, over connections that no engine shares.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> &DirVault {
        &self.vault
    }

    /// What goes wrong in every engine of this installation; nothing, at first.
    #[must_use]
    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Adds a simulated host.
    ///
    /// # Errors
    /// The name is taken or wrong.
    pub async fn add_host(&self, name: &str, description: &str, slots: u32) -> Result<()> {
        let host = Host {
            name: name.parse()?,
            site: "lab".parse()?,
            kind: HypervisorKind::Simulated,
            address: description.to_owned(),
            key_file: None,
            host_keys: Vec::new(),
            image_dir: None,
            dump_dir: None,
            slots,
            bytes_per_second: None,
        };
        Ok(self.backend.catalog.add_host(&host).await?)
    }

    /// A host as an engine sees it.
    ///
    /// # Errors
    /// No such host.
    pub async fn driver(&self, host: &str) -> Result<SimulatedDriver> {
        let host = self.backend.catalog.host(&host.parse()?).await?;
        Ok(SimulatedDriver::open(host, &self.simulated())?)
    }

    /// As [`submit_new`], from outside every engine.
    ///
    /// # Errors
    /// The same.
    pub async fn submit(&self, key: &str, spec: JobSpec) -> Result<JobId> {
        submit_new(&self.backend, key, spec).await
    }

    /// Submits a backup of `host/vm` under a key.
    ///
    /// # Errors
    /// As [`Installation::submit`].
    pub async fn submit_backup(&self, key: &str, vm: &str) -> Result<JobId> {
        self.submit(key, JobSpec::backup(vm.parse()?)).await
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// There is none.
    pub async fn job(&self, id: JobId) -> Result<Job> {
        self.backend.store.get(id).await?.with_context(|| format!("no job {id}"))
    }

    /// A job, once it is as wanted.
    ///
    /// # Errors
    /// It did not come to that.
    pub async fn job_when(
        &self,
        id: JobId,
        what: &str,
        wanted: impl Fn(&Job) -> bool,
    ) -> Result<Job> {
        let found = until(what, async || {
            let job = self.job(id).await?;
            Ok(wanted(&job).then_some(job))
        });
        match found.await {
            Ok(job) => Ok(job),
            Err(error) => Err(error.context(format!("{:?}", self.job(id).await?))),
        }
    }

    /// A job, once it is over.
    ///
    /// # Errors
    /// It never was.
    pub async fn over(&self, id: JobId) -> Result<Job> {
        self.job_when(id, "the job is over", |job| job.state.is_terminal()).await
    }

    /// Every job, once all are over.
    ///
    /// # Errors
    /// One never was.
    pub async fn all_over(&self, ids: &[JobId]) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for id in ids {
            jobs.push(self.over(*id).await?);
        }
        Ok(jobs)
    }

    /// The ids of the points in the vault, in order.
    ///
    /// # Errors
    /// The vault cannot be read.
    pub async fn points(&self) -> Result<Vec<PointId>> {
        let mut points: Vec<_> =
            self.vault.list().await?.points.into_iter().map(|point| point.manifest.id).collect();
        points.sort_unstable();
        Ok(points)
    }

    /// What unfinished work has left of a VM: on its host and in the vault. Empty when all is in
    /// order.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub async fn leftovers(&self, vm: &str) -> Result<Vec<String>> {
        let vm: VmRef = vm.parse()?;
        let mut found = self.driver(vm.host.as_str()).await?.leftovers(&vm.name).await?;
        for entry in std::fs::read_dir(self.vault.path().join("unfinished"))? {
            found.push(format!("unfinished point {}", entry?.file_name().to_string_lossy()));
        }
        Ok(found)
    }

    /// When the VM of `host/vm` was held or had a command running, as its host wrote it down.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn journal(&self, vm: &str) -> Result<Vec<Interval>> {
        let vm: VmRef = vm.parse()?;
        journal(&self.driver(vm.host.as_str()).await?.journal(&vm.name))
    }

    /// Starts a process with a worker of that name and its upkeep.
    ///
    /// # Errors
    /// The files cannot be opened.
    pub fn start(&self, config: WorkerConfig) -> Result<Engine> {
        Engine::start(self, config)
    }

    fn simulated(&self) -> PathBuf {
        self.dir.path().join("simulated")
    }
}

/// A worker's configuration for tests: so many slots, leases renewed and faults retried within a
/// fraction of a second.
#[must_use]
pub fn brisk(name: &str, slots: usize) -> WorkerConfig {
    let mut config = WorkerConfig::named(name).with_lease(SignedDuration::from_secs(3));
    config.slots = slots;
    config.pace.beat = SignedDuration::from_millis(100);
    config.pace.backoff = SignedDuration::from_millis(50);
    config.pace.busy_wait = SignedDuration::from_millis(50);
    config
}

fn brisk_upkeep() -> UpkeepPace {
    UpkeepPace {
        reap_every: SignedDuration::from_millis(50),
        reap_pause: SignedDuration::from_millis(100),
        sweep_every: SignedDuration::from_millis(50),
        stale: SignedDuration::from_secs(2),
        batch: 200,
    }
}

/// One process of the product.
pub struct Engine {
    backend: Backend,
    runtime: Option<Runtime>,
    worker: JoinHandle<Option<JobId>>,
    shutdown: Shutdown,
}

impl Engine {
    fn start(installation: &Installation, mut config: WorkerConfig) -> Result<Self> {
        config.spool = installation.dir.path().join("spool");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&config.name)
            .enable_all()
            .build()?;
        let backend = SqliteBackend::open(&installation.dir.path().join("drs.db"))?.backend();
        let vault = installation.faults.vault(Arc::new(DirVault::open(installation.vault.path())?));
        let drivers = Arc::new(SimulatedHosts {
            catalog: Arc::clone(&backend.catalog),
            root: installation.simulated(),
            faults: installation.faults.clone(),
            known: Mutex::default(),
        });
        let shutdown = Shutdown::new();
        let worker = Worker::new(config, backend.clone(), drivers, vault);
        let worker = runtime.spawn(worker.run(shutdown.clone()));
        runtime.spawn(upkeep(backend.clone(), brisk_upkeep(), shutdown.clone()));
        Ok(Self { backend, runtime: Some(runtime), worker, shutdown })
    }

    /// The job core, over the connections of this process.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Tells the worker to stop, as SIGTERM does, waits until it has, and tells how long that took.
    ///
    /// # Errors
    /// The worker panicked.
    pub async fn stop(mut self) -> Result<Duration> {
        let began = Instant::now();
        self.shutdown.stop();
        (&mut self.worker).await?;
        let took = began.elapsed();
        self.kill().await?;
        Ok(took)
    }

    /// Ends the process as SIGKILL does: nothing is handed over. Returns when its last thread is
    /// gone.
    ///
    /// # Errors
    /// A thread did not end.
    pub async fn kill(mut self) -> Result<()> {
        if let Some(runtime) = self.runtime.take() {
            tokio::task::spawn_blocking(move || runtime.shutdown_timeout(DEATH_LIMIT)).await?;
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The drivers of an engine.
struct SimulatedHosts {
    catalog: Arc<dyn Catalog>,
    root: PathBuf,
    faults: FaultPlan,
    known: Mutex<HashMap<HostName, Arc<dyn Driver>>>,
}

impl SimulatedHosts {
    fn open(&self, host: Host, root: &Path) -> Result<Arc<dyn Driver>, Fault> {
        let driver = SimulatedDriver::open(host, root).map_err(|error| error.fault())?;
        Ok(self.faults.driver(Arc::new(driver)))
    }
}

#[async_trait]
impl Drivers for SimulatedHosts {
    async fn host(&self, name: &HostName) -> Result<Host, Fault> {
        self.catalog.host(name).await.map_err(|error| error.fault())
    }

    async fn driver(&self, name: &HostName) -> Result<Arc<dyn Driver>, Fault> {
        let host = self.host(name).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = known.get(name) {
            return Ok(Arc::clone(driver));
        }
        let driver = self.open(host, &self.root)?;
        known.insert(name.clone(), Arc::clone(&driver));
        Ok(driver)
    }
}
