//! How long a job waits that could run at once: from its submission to the moment at which its host begins,
//! as the host's own journal has it. Real RabbitMQ, Redis and PostgreSQL; the host's guard is the real one,
//! over real SSH to an sshd of this machine. What is submitted is a power job: its host is asked for the VM,
//! and nothing else happens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use drs_backend::{Backend, submit};
use drs_model::{FencingToken, Grip, GuardAnswer, JobId, JobSpec, PowerAction, SignedDuration};
use drs_runtime::{Shutdown, clock};
use drs_tests::fleet::{Fleet, Login, Sshd, host, submit_all};
use drs_transport::{Argv, HostGuard};
use drs_worker::WorkerConfig;
use tokio::task::JoinHandle;

use crate::numbers::percentile;
use crate::table::Table;

const SUBMISSIONS: usize = 300;
const WAITING: usize = 10_000;
/// The VM that critical jobs are about.
const VM: &str = "lab/vm-001";
/// Calls of the bare guard.
const CALLS: u64 = 100;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    table.section("latency: from submission to the start on the host, over SSH");
    runtime.block_on(async {
        let sshd = Sshd::start()?;
        bare(table, &sshd.login()?).await?;
        let fleet = Fleet::start("")?;
        let scene = Scene::new(&fleet, &sshd).await?;
        let idle = scene.starts("idle").await?;
        idle.tell(table, "idle cluster", (25.0, 120.0));
        scene.fill().await?;
        let busy = scene.starts("busy").await?;
        table.note(format!("{WAITING} normal jobs wait: critical job, p50"), ms(&busy.all, 50.0));
        let name = format!("{WAITING} normal jobs wait: critical job, p99");
        table.at_most(name, percentile(&busy.all, 99.0), 300.0, "ms");
        scene.end().await
    })
}

fn ms(times: &[f64], percent: f64) -> String {
    format!("{:.1} ms", percentile(times, percent))
}

/// The guard by itself.
async fn bare(table: &mut Table, login: &Login) -> Result<()> {
    let guard = login.guard(&host("bare", "", 1)?)?;
    let (mut starts, mut holds) = (Vec::new(), Vec::new());
    for number in 1..=CALLS {
        let vm = format!("bare/vm-{number}").parse()?;
        let fence = FencingToken(number);
        let grip = Grip { job: JobId::from_key(&format!("{number}")), fence, vm };
        let began = Instant::now();
        let (answer, hold) = guard.hold(&grip, None).await?;
        holds.push(began.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(answer == GuardAnswer::Started, "{answer:?}");
        hold.context("a hold")?.release().await?;
        let began = Instant::now();
        guard.start(&grip, "step", &Argv::new("true")).await?;
        starts.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    table.note("the guard alone: start, p50 and p99", both(&starts));
    table.note("the guard alone: hold, p50 and p99", both(&holds));
    Ok(())
}

fn both(times: &[f64]) -> String {
    format!("{:.1}, {:.1} ms", percentile(times, 50.0), percentile(times, 99.0))
}

/// A worker with four slots and one for critical jobs, and who submits.
struct Scene<'a> {
    sshd: &'a Sshd,
    backend: Backend,
    shutdown: Shutdown,
    worker: JoinHandle<Option<JobId>>,
}

/// Milliseconds of each submission.
struct Starts {
    /// Until the host began.
    all: Vec<f64>,
    /// Until the worker had claimed the job.
    to_claim: Vec<f64>,
}

impl Starts {
    fn tell(&self, table: &mut Table, name: &str, (half, most): (f64, f64)) {
        table.note(format!("{name}: to the claim, p50 and p99"), both(&self.to_claim));
        table.at_most(
            format!("{name}: to the start, p50"),
            percentile(&self.all, 50.0),
            half,
            "ms",
        );
        table.at_most(
            format!("{name}: to the start, p99"),
            percentile(&self.all, 99.0),
            most,
            "ms",
        );
    }
}

impl<'a> Scene<'a> {
    async fn new(fleet: &Fleet, sshd: &'a Sshd) -> Result<Self> {
        let reach = fleet.reach();
        let backend = reach.backend().await?;
        backend
            .catalog
            .add_host(&host("lab", "vms=10000,backup_ms=3600000,disk_mib=1", 4)?)
            .await?;
        let worker = reach.worker(WorkerConfig::named("worker"), Some(sshd.login()?)).await?;
        let shutdown = Shutdown::new();
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Ok(Self { sshd, backend, shutdown, worker })
    }

    /// Submits critical jobs, each when the one before is over.
    async fn starts(&self, name: &str) -> Result<Starts> {
        let mut submitted = HashMap::new();
        let mut to_claim = Vec::new();
        for number in 0..SUBMISSIONS {
            let id = JobId::from_key(&format!("{name} {number}"));
            let spec = JobSpec::Power { vm: VM.parse()?, action: PowerAction::Start };
            let at = clock::now();
            submit(&self.backend, id, spec, None, at).await?;
            submitted.insert(id.to_string(), at);
            let job = self.over(id).await?;
            let started = job.started_at.context("a start")?;
            to_claim.push(milliseconds(started.duration_since(at)));
        }
        let began = self.sshd.journal("vm-001").into_iter().filter(|(_, _, begin)| *begin);
        let waited = began.filter_map(|(began_ms, job, _)| {
            let submitted_us = submitted.get(&job)?.as_microsecond();
            Some(began_ms as f64 - submitted_us as f64 / 1000.0)
        });
        let all: Vec<f64> = waited.collect();
        anyhow::ensure!(all.len() == SUBMISSIONS, "the host began {} jobs", all.len());
        Ok(Starts { all, to_claim })
    }

    async fn over(&self, id: JobId) -> Result<drs_model::Job> {
        let began = Instant::now();
        loop {
            let job = self.backend.store.get(id).await?.context("the job")?;
            if job.state.is_terminal() {
                return Ok(job);
            }
            anyhow::ensure!(began.elapsed() < LIMIT, "not over: {job:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Fills every slot but the critical one for an hour, and the queue behind them.
    async fn fill(&self) -> Result<()> {
        let backup = |number: usize| {
            let vm = format!("lab/vm-{number:03}").parse()?;
            anyhow::Ok((format!("backup {number}"), JobSpec::backup(vm)))
        };
        let jobs: Result<Vec<_>> = (2..=WAITING).map(backup).collect();
        submit_all(&self.backend, jobs?).await
    }

    async fn end(self) -> Result<()> {
        self.shutdown.stop();
        self.worker.await?;
        Ok(())
    }
}

fn milliseconds(time: SignedDuration) -> f64 {
    time.as_secs_f64() * 1000.0
}
