//! What the store of a cluster takes: memory of each waiting, running and finished job, and the times of a
//! claim and of an end, while 1,000, 10,000 and 100,000 jobs are there. Redis writes everything to its disk
//! before it answers.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use drs_backend::JobStore;
use drs_lab_servers::Redis;
use drs_model::{
    Job, JobId, JobSpec, Need, SignedDuration, StepMark, StepRecord, Timestamp, VmRef,
};
use drs_protocol::store::{ClaimAnswer, Driving, Outcome};
use drs_tests::fleet::store_on;
use tokio::task::JoinSet;

use crate::numbers::percentile;
use crate::table::Table;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Calls under way while a store is filled.
const CALLERS: usize = 64;
/// Calls that are timed, one after the other.
const TIMED: usize = 1_000;
const WORKER: &str = "worker-1";
const LEASE: SignedDuration = SignedDuration::from_mins(10);
/// What a backup logs.
const STEPS: [&str; 6] = ["inspect", "clean", "export", "copy", "close", "commit"];

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    table.section(
        "cluster: the store on Redis, appendfsync always; one job for each VM of 200 hosts",
    );
    let mut claims = Vec::new();
    for jobs in SIZES {
        claims.push(runtime.block_on(grown(table, jobs))?);
    }
    if let (Some(first), Some(last)) = (claims.first(), claims.last()) {
        let name = format!("claim p50 at {} jobs as part of that at {}", 100_000, 1_000);
        table.at_most(name, last / first, 2.0, "");
    }
    Ok(())
}

/// Fills a store, and empties its queue again. Returns the p50 of a claim among so many jobs.
async fn grown(table: &mut Table, jobs: usize) -> Result<f64> {
    let redis = Redis::start();
    let store = store_on(&redis).await?;
    let empty = used_memory(&redis)?;
    let each = || anyhow::Ok((used_memory(&redis)? - empty) / jobs as f64 / 1024.0);
    let mut tell = |what: &str, kib: f64| {
        table.note(format!("{jobs} jobs: memory of one that {what}"), format!("{kib:.2} KiB"));
    };
    for_all(TIMED..jobs + TIMED, &store, |store, number| async move {
        store.create(&job(number)?).await?;
        Ok(())
    })
    .await?;
    tell("waits", each()?);
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for number in 0..TIMED {
        let waiting = job(number)?;
        store.create(&waiting).await?;
        let began = Instant::now();
        let claimed = claim(store.as_ref(), &waiting).await?;
        claims.push(began.elapsed().as_secs_f64() * 1000.0);
        let began = Instant::now();
        end(store.as_ref(), &claimed).await?;
        ends.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    for_all(TIMED..jobs + TIMED, &store, |store, number| async move {
        let claimed = claim(store.as_ref(), &job(number)?).await?;
        for step in STEPS {
            let at = Timestamp::now();
            let output = serde_json::json!({ "file": "/var/lib/drs/some-file" });
            let record = StepRecord { step: step.into(), mark: StepMark::Done, output, at };
            store.log_step(at, driving(&claimed), &record).await?;
        }
        end(store.as_ref(), &claimed).await
    })
    .await?;
    let kib = each()? * jobs as f64 / (jobs + TIMED) as f64;
    table.note(format!("{jobs} jobs: memory of one that ended"), format!("{kib:.2} KiB"));
    for (what, times) in [("claim", &claims), ("end", &ends)] {
        let (half, most) = (percentile(times, 50.0), percentile(times, 99.0));
        let name = format!("{jobs} jobs: {what}, p50 and p99");
        table.note(name, format!("{half:.2}, {most:.2} ms"));
    }
    Ok(percentile(&claims, 50.0))
}

fn job(number: usize) -> Result<Job> {
    let vm: VmRef = format!("host-{}/machine-{number}", number % 200).parse()?;
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 1_000_000)];
    let id = JobId::from_key(&format!("{number}"));
    Ok(Job::new(id, JobSpec::backup(vm), needs, Timestamp::now()))
}

async fn claim(store: &dyn JobStore, job: &Job) -> Result<Job> {
    match store.claim(Timestamp::now(), &job.into(), WORKER, LEASE).await? {
        ClaimAnswer::Claimed(job) => Ok(*job),
        other => bail!("not claimed: {other:?}"),
    }
}

async fn end(store: &dyn JobStore, job: &Job) -> Result<()> {
    store.finish(Timestamp::now(), driving(job), &Outcome::Succeeded).await?;
    Ok(())
}

fn driving(job: &Job) -> Driving<'_> {
    Driving { job: job.id, worker: WORKER, fence: job.fence }
}

/// Does something with every number, many at one time.
async fn for_all<F>(
    numbers: std::ops::Range<usize>,
    store: &Arc<dyn JobStore>,
    act: impl Fn(Arc<dyn JobStore>, usize) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for number in numbers {
        if under_way.len() == CALLERS {
            under_way.join_next().await.context("a call")???;
        }
        under_way.spawn(act(Arc::clone(store), number));
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

fn used_memory(redis: &Redis) -> Result<f64> {
    let info = redis.cli(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.context("used_memory")?.trim().parse()?)
}
