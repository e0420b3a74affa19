//! What a job costs that does nothing: `inspect` of a simulated host with one VM, the job with the
//! fewest steps. Every state it passes is on the disk before the next one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Context, Result};
use drs_backend::Backend;
use drs_model::{JobId, JobSpec, SignedDuration};
use drs_tests::engine::{Installation, brisk, submit_new};

use crate::numbers::{percentile, seconds};
use crate::table::Table;

/// Slots of a worker by default, and many.
const SLOTS: [usize; 2] = [4, 16];
const JOBS: usize = 1000;
/// Who submits, how many jobs together, how often, and what 99 of 100 may wait at most, in ms.
const BURSTS: [(&str, usize, usize, f64); 4] = [
    (INSIDE, 1, 200, 50.0),
    (INSIDE, 50, 20, 500.0),
    (INSIDE, 500, 4, 5000.0),
    (OUTSIDE, 1, 100, 100.0),
];
/// In the process of the worker, as `drs serve` will.
const INSIDE: &str = "inside";
/// In another process, as `drs backup --detach` does.
const OUTSIDE: &str = "outside";
const SYNCS: u32 = 300;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    table.section("engine: inspect jobs on a simulated host with one VM");
    table.note("durable 4 KiB writes, one after the other", format!("{:.0} /s", syncs()?));
    for slots in SLOTS {
        let rate = runtime.block_on(rate(slots))?;
        table.at_least(format!("no-op jobs, {slots} slots"), rate, 50.0, "/s");
    }
    for (from, pending, times, target) in BURSTS {
        let waits = runtime.block_on(waits(from, pending, times))?;
        let name = format!("submit to start, {pending} pending, {from}");
        table.note(format!("{name}, p50"), format!("{:.1} ms", percentile(&waits, 50.0)));
        table.at_most(format!("{name}, p99"), percentile(&waits, 99.0), target, "ms");
    }
    Ok(())
}

/// How many small writes a second this machine makes durable: what a job's states are made of.
fn syncs() -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let file = File::create(dir.path().join("writes"))?;
    let began = Instant::now();
    for n in 0..u64::from(SYNCS) {
        file.write_all_at(&[n as u8; 4096], n * 4096)?;
        file.sync_data()?;
    }
    Ok(f64::from(SYNCS) / seconds(began.elapsed()))
}

async fn installation() -> Result<Installation> {
    let lab = Installation::new()?;
    lab.add_host("dc", "vms=1", 1).await?;
    Ok(lab)
}

async fn submit(backend: &Backend, key: &str, jobs: usize) -> Result<Vec<JobId>> {
    let mut ids = Vec::new();
    for n in 0..jobs {
        let spec = JobSpec::Inspect { host: "dc".parse()? };
        ids.push(submit_new(backend, &format!("{key} {n}"), spec).await?);
    }
    Ok(ids)
}

/// Jobs per second from the start of the worker to the end of the last job.
async fn rate(slots: usize) -> Result<f64> {
    let lab = installation().await?;
    let jobs = submit(lab.backend(), "job", JOBS).await?;
    let began = Instant::now();
    let engine = lab.start(brisk("worker", slots))?;
    lab.all_over(&jobs).await?;
    let took = began.elapsed();
    engine.stop().await?;
    Ok(JOBS as f64 / seconds(took))
}

/// Milliseconds from submission to claim of jobs that are submitted together.
async fn waits(from: &str, pending: usize, times: usize) -> Result<Vec<f64>> {
    let lab = installation().await?;
    let engine = lab.start(brisk("worker", SLOTS[0]))?;
    let mut waits = Vec::new();
    for burst in 0..times {
        let backend = if from == INSIDE { engine.backend() } else { lab.backend() };
        let jobs = submit(backend, &format!("burst {burst}"), pending).await?;
        for job in lab.all_over(&jobs).await? {
            let started = job.started_at.context("a start")?;
            waits.push(milliseconds(started.duration_since(job.created_at)));
        }
    }
    engine.stop().await?;
    Ok(waits)
}

fn milliseconds(time: SignedDuration) -> f64 {
    time.as_secs_f64() * 1000.0
}
