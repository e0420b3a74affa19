//! Measures what the crate's documentation says of memory and latency, on a private server that is as
//! durable as production: `cargo run -p drs-backend-redis --example figures`.

use std::time::{Duration, Instant};

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;
use drs_model::{
    Job, JobId, JobSpec, Need, SignedDuration, StepMark, StepRecord, Timestamp, VmRef,
};
use drs_protocol::store::{ClaimAnswer, Driving, Outcome};

const TTL: SignedDuration = SignedDuration::from_secs(60);

fn job(number: usize) -> Job {
    let vm: VmRef = format!("host-{}/machine-{number}", number % 200).parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 100_000)];
    let id = JobId::from_key(&format!("{number}"));
    Job::new(id, JobSpec::backup(vm), needs, Timestamp::now())
}

async fn claim(store: &RedisStore, job: &Job) -> Job {
    let answer = store.claim(Timestamp::now(), &job.into(), "worker-1", TTL).await;
    match answer.expect("an answer") {
        ClaimAnswer::Claimed(job) => *job,
        other => panic!("not claimed: {other:?}"),
    }
}

/// A life with five steps.
async fn finish(store: &RedisStore, job: &Job) {
    let who = Driving { job: job.id, worker: "worker-1", fence: job.fence };
    for step in ["locate", "freeze", "copy", "thaw", "record"] {
        let at = Timestamp::now();
        let output = serde_json::json!({"file": "/var/lib/drs/some-file"});
        let record = StepRecord { step: step.into(), mark: StepMark::Done, output, at };
        store.log_step(at, who, &record).await.expect("an answer");
    }
    store.finish(Timestamp::now(), who, &Outcome::Succeeded).await.expect("an answer");
}

fn used_memory(redis: &Redis) -> usize {
    let info = redis.cli(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).expect("a number")
}

async fn store(redis: &Redis) -> RedisStore {
    RedisStore::connect(&RedisConfig::new(redis.url()), Clock::Server).await.expect("a connection")
}

async fn memory(jobs: usize) {
    let redis = Redis::start();
    let store = store(&redis).await;
    let empty = used_memory(&redis);
    let each = |redis: &Redis| (used_memory(redis) - empty) / jobs;
    let numbers = 0..jobs;
    for number in numbers.clone() {
        store.create(&job(number)).await.expect("an answer");
    }
    let queued = each(&redis);
    let mut claimed = Vec::new();
    for number in numbers {
        claimed.push(claim(&store, &job(number)).await);
    }
    let running = each(&redis);
    for job in &claimed {
        finish(&store, job).await;
    }
    println!("{jobs} jobs: {queued} bytes waiting, {running} running, {} finished", each(&redis));
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    for jobs in [1_000, 10_000] {
        memory(jobs).await;
    }
    let redis = Redis::start();
    let store = store(&redis).await;
    let mut times = Vec::new();
    for number in 0..5_000 {
        let job = job(number);
        store.create(&job).await.expect("an answer");
        let start = Instant::now();
        claim(&store, &job).await;
        times.push(start.elapsed());
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("claim, appendfsync always: p50 {p50:?}, p99 {p99:?}");
}
