//! Many jobs: nothing in a script grows with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use drs_backend::{JobFilter, JobStore};
use drs_backend_redis::RedisStore;
use drs_lab_servers::Redis;
use drs_model::{JobId, JobState, Phase, Resource};
use drs_protocol::store::{Driving, Outcome, SettleAnswer};
use tokio::task::JoinSet;

use super::{TTL, at, backup, claimed, fresh};

const JOBS: usize = 10_000;

/// A server that writes nothing to its disk, which is not looked at here.
fn quick() -> Redis {
    Redis::start_with(&["--appendonly", "no"])
}

/// Runs something for each of many jobs, some at a time.
async fn each<F: Future<Output = ()> + Send + 'static>(
    store: &Arc<RedisStore>,
    run: impl Fn(Arc<RedisStore>, usize) -> F,
) {
    for chunk in 0..JOBS / 100 {
        let mut running = JoinSet::new();
        for i in 0..100 {
            running.spawn(run(store.clone(), chunk * 100 + i));
        }
        running.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_wait_for_one_vm_and_are_forgotten_when_they_are_over() {
    let redis = quick();
    let store = Arc::new(fresh(&redis).await);
    let holder = claimed(&store, at(1), &backup("holder", "dc/web")).await;
    each(&store, |store, i| async move {
        let message = (&backup(&format!("{i}"), "dc/web")).into();
        store.claim(at(2), &message, "w", TTL).await.expect("an answer");
    })
    .await;
    let vm = Resource::Vm("dc/web".parse().expect("a VM"));
    assert_eq!(store.waiting(9).await.expect("waiting"), [(vm, JOBS)]);
    let listed = listed(&store).await;
    assert_eq!(listed.len(), JOBS);
    assert_eq!(store.sweep(at(3), TTL, 100).await.expect("sweep"), []);

    let who = Driving { job: holder.id, worker: "w", fence: holder.fence };
    let settled = store.finish(at(4), who, &Outcome::Succeeded).await.expect("finish");
    let SettleAnswer::Settled { woken } = settled else { panic!("{settled:?}") };
    assert_eq!(woken.len(), 1);
    assert!(matches!(woken[0].state, JobState::Queued { .. }));
    let wait = store.wait_of(listed[0]).await.expect("wait").expect("it waits");
    assert_eq!(wait.waiters, JOBS - 1);

    each(&store, |store, i| async move {
        store.cancel(at(5), JobId::from_key(&format!("{i}"))).await.expect("cancel");
    })
    .await;
    let mut recorded = 0;
    loop {
        let over = store.settled(1000).await.expect("settled");
        if over.is_empty() {
            break;
        }
        for job in &over {
            store.recorded(job.id).await.expect("recorded");
        }
        recorded += over.len();
    }
    assert_eq!(recorded, JOBS + 1);
    let mut forgotten = 0;
    while let pruned @ 1.. = store.prune(at(6), 1000).await.expect("prune") {
        forgotten += pruned;
    }
    assert_eq!(forgotten, JOBS + 1);
    assert_eq!(store.list(&JobFilter::default()).await.expect("a list"), []);
}

/// All parked jobs of the host, page by page.
async fn listed(store: &RedisStore) -> Vec<JobId> {
    let mut listed = Vec::new();
    loop {
        let page = JobFilter {
            phases: vec![Phase::Parked],
            subject: Some("dc".into()),
            before: listed.last().copied(),
            limit: JobFilter::LIMIT_MAX,
        };
        let jobs = store.list(&page).await.expect("a page");
        if jobs.is_empty() {
            let distinct: BTreeSet<JobId> = listed.iter().copied().collect();
            assert_eq!(distinct.len(), listed.len());
            return listed;
        }
        listed.extend(jobs.iter().map(|job| job.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_lapsed_leases_and_lost_messages_are_worked_off_in_turns() {
    let redis = quick();
    let store = Arc::new(fresh(&redis).await);
    each(&store, |store, i| async move {
        let job = backup(&format!("{i}"), &format!("h{}/vm{i}", i % 50));
        store.claim(at(1), &(&job).into(), "w", TTL).await.expect("an answer");
    })
    .await;
    let mut reaped = BTreeSet::new();
    loop {
        let jobs = store.reap(at(61), 700).await.expect("reap");
        if jobs.is_empty() {
            break;
        }
        reaped.extend(jobs.iter().map(|job| job.id));
    }
    assert_eq!(reaped.len(), JOBS);
    let mut swept = BTreeSet::new();
    loop {
        let jobs = store.sweep(at(200), TTL, 700).await.expect("sweep");
        if jobs.is_empty() {
            break;
        }
        swept.extend(jobs.iter().map(|job| job.id));
    }
    assert_eq!(swept, reaped);
}
