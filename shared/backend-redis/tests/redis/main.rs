//! The adapter on real servers.

mod clock;
mod conformance;
mod damage;
mod loss;
mod refusals;
mod scale;
mod sentinel;
mod tls;

use std::time::Duration;

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;
use drs_model::{Job, JobId, JobSpec, Need, SignedDuration, Timestamp, VmRef};
use drs_protocol::store::ClaimAnswer;

const TTL: SignedDuration = SignedDuration::from_secs(60);
/// How long to wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(redis: &Redis) -> RedisConfig {
    RedisConfig { prefix: redis.fresh_prefix(), ..RedisConfig::new(redis.url()) }
}

/// A store of its own on a server, by the caller's clock.
async fn fresh(redis: &Redis) -> RedisStore {
    RedisStore::connect(&config(redis), Clock::Caller).await.expect("a connection")
}

/// An instant, by seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

/// A backup that needs its VM.
fn backup(key: &str, vm: &str) -> Job {
    let vm: VmRef = vm.parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone())];
    Job::new(JobId::from_key(key), JobSpec::backup(vm), needs, at(0))
}

async fn claimed(store: &RedisStore, now: Timestamp, job: &Job) -> Job {
    match store.claim(now, &job.into(), "w", TTL).await.expect("an answer") {
        ClaimAnswer::Claimed(job) => *job,
        other => panic!("not claimed: {other:?}"),
    }
}

/// A port of this machine that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Asks again and again until there is an answer.
async fn until<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if tokio::time::Instant::now() > deadline => panic!("{what}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
