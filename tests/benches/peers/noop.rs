//! Jobs per second that do nothing, taken from a full queue by two worker processes.
//!
//! Celery: a task that returns; its result is written to Redis. Ours: `inspect` of a simulated host without
//! VMs, run by `drs worker` as it is shipped: the message taken from a quorum queue, the job claimed, its one
//! step logged before and after, its log lines and its end written to Redis, the message acknowledged.
//! Redis is the same server for both and has every write on its disk before it answers.
//!
//! The clock runs from the moment at which a tenth of the jobs is over: no process's start counts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use drs_lab_servers::PASSWORD;
use drs_model::JobSpec;
use drs_tests::fleet::{Fleet, Reach, host, submit_all};

use crate::celery::{Celery, Setting};
use crate::process::Process;
use crate::redis::Counter;
use crate::table::{Row, median};

/// Jobs that our workers have under way at one time, each: such a job is nothing but waiting for servers.
const SLOTS: usize = 96;
const WORKERS: usize = 2;
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the three in turns, so many rounds, and gives the medians.
pub(crate) fn measure(jobs: usize, rounds: usize) -> Result<Vec<Row>> {
    let fleet = Fleet::start("")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let [fastest, durable, ours] = &mut rates;
    for round in 1..=rounds {
        fastest.push(celery(&fleet, Setting::Fastest, jobs)?);
        durable.push(celery(&fleet, Setting::Durable, jobs)?);
        ours.push(runtime.block_on(drs(&fleet, round, jobs))?);
        let [fastest, durable, ours] =
            [&*fastest, &*durable, &*ours].map(|rates| rates.last().copied().unwrap_or_default());
        println!("  round {round}: {fastest:.0}, {durable:.0}, {ours:.0} jobs/s");
    }
    let [fastest, durable, ours] = rates.map(|rates| median(&rates));
    let per_second = |rate: f64| format!("{rate:.0}");
    Ok(vec![
        Row::new("no-op jobs per second", [fastest, durable, ours].map(per_second)),
        Row::new(
            "ours as multiple of it",
            [
                format!("{:.2} (target 1)", ours / fastest),
                format!("{:.2} (target 3)", ours / durable),
                String::new(),
            ],
        ),
    ])
}

fn celery(fleet: &Fleet, setting: Setting, jobs: usize) -> Result<f64> {
    let reach = fleet.reach();
    let results = format!("{}/1", reach.redis_url());
    let celery = Celery::new(setting, fleet.rabbitmq.fresh_vhost(), results)?;
    let mut counter = Counter::on(reach.redis, 1)?;
    counter.clear()?;
    celery.fill(jobs)?;
    let worker = celery.worker("peer@localhost", WORKERS, &reach.dir.join("celery.log"))?;
    let rate = drained(jobs, || counter.count("DBSIZE"));
    worker.kill();
    rate
}

async fn drs(fleet: &Fleet, round: usize, jobs: usize) -> Result<f64> {
    let reach = Reach { amqp: fleet.rabbitmq.fresh_vhost(), ..fleet.reach() };
    let mut counter = Counter::on(reach.redis, 0)?;
    counter.clear()?;
    let backend = reach.backend().await?;
    let name = format!("host-{round}");
    backend.catalog.add_host(&host(&name, "vms=0", 1)?).await?;
    let spec = JobSpec::Inspect { host: name.parse()? };
    submit_all(&backend, (0..jobs).map(|n| (format!("{round} {n}"), spec.clone()))).await?;
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push(worker(&reach, &reach.dir.join(format!("drs-{number}")))?);
    }
    let rate = drained(jobs, || counter.count("ZCARD {drs}:phase:succeeded"));
    drop(workers);
    rate
}

/// The `drs worker` that is shipped.
fn worker(reach: &Reach, data: &Path) -> Result<Process> {
    let bench = std::env::current_exe()?;
    let target = bench.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    let drs = target.context("the bench stands in cargo's target directory")?.join("release/drs");
    let command = |args: &[&str]| {
        let mut command = Command::new(&drs);
        command.arg("--data-dir").arg(data).args(args).stdin(Stdio::null());
        for (name, url) in [
            ("AMQP", reach.amqp_url()),
            ("REDIS", reach.redis_url()),
            ("POSTGRES", reach.postgres_url()),
        ] {
            command.env(format!("DRS_{name}_URL"), url);
            command.env(format!("DRS_{name}_PASSWORD"), PASSWORD);
        }
        command.env_remove("DRS_REDIS_PASSWORD");
        command
    };
    if !data.exists() {
        let made = command(&["init"]).stdout(Stdio::null()).status()?;
        ensure!(made.success(), "drs init: {made}");
        std::fs::write(data.join("drs.toml"), format!("[worker]\nslots = {SLOTS}\n"))?;
    }
    Process::start(&mut command(&["worker"]), &data.with_extension("log"))
}

/// Jobs per second from the tenth part of them to the last.
fn drained(jobs: usize, mut done: impl FnMut() -> Result<usize>) -> Result<f64> {
    let begun = Instant::now();
    let mut first = None;
    loop {
        let (count, now) = (done()?, Instant::now());
        if count >= jobs / 10 && first.is_none() {
            first = Some((count, now));
        }
        if let Some((before, since)) = first
            && count >= jobs
        {
            return Ok((count - before) as f64 / (now - since).as_secs_f64());
        }
        ensure!(begun.elapsed() < PATIENCE, "{count} of {jobs} jobs are over");
        std::thread::park_timeout(LOOK);
    }
}
