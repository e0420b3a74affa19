//! Whose clock decides.

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisStore};
use drs_lab_servers::Redis;
use drs_model::{JobState, SignedDuration, Timestamp};
use drs_protocol::store::{ClaimAnswer, Driving, HandOver, LeadAnswer};

use super::{TTL, at, backup, config, until};

#[tokio::test]
async fn a_lease_lapses_by_the_servers_clock_whatever_the_callers_say() {
    let redis = Redis::shared();
    let store = RedisStore::connect(&config(redis), Clock::Server).await.expect("a connection");
    let (job, long_ago) = (backup("a", "dc/web"), Timestamp::UNIX_EPOCH);
    let ttl = SignedDuration::from_millis(300);
    let before = Timestamp::now();
    let answer = store.claim(long_ago, &(&job).into(), "w", ttl).await.expect("an answer");
    let ClaimAnswer::Claimed(claimed) = answer else { panic!("not claimed: {answer:?}") };
    let ends = claimed.state.lease().expect("a lease").until;
    assert!(ends >= before + ttl, "{ends} is not by the server's clock");
    let reaped = until("the lease lapses", || async {
        let reaped = store.reap(long_ago, 9).await.expect("an answer");
        if reaped.is_empty() { Err("nothing lapsed") } else { Ok(reaped) }
    })
    .await;
    assert_eq!(reaped[0].id, job.id);
    assert!(Timestamp::now() >= ends, "it lapsed before its time");
}

#[tokio::test]
async fn a_delay_counts_from_the_servers_time() {
    let redis = Redis::shared();
    let store = RedisStore::connect(&config(redis), Clock::Server).await.expect("a connection");
    let job = super::claimed(&store, at(0), &backup("a", "dc/web")).await;
    let who = Driving { job: job.id, worker: "w", fence: job.fence };
    let hour = SignedDuration::from_hours(1);
    let how = HandOver { not_before: at(0) + hour, fault: None, keep: false, counts: true };
    let before = Timestamp::now();
    store.hand_over(at(0), who, &how).await.expect("an answer");
    let job = store.get(job.id).await.expect("an answer").expect("the job");
    let JobState::Queued { not_before } = job.state else { panic!("{:?}", job.state) };
    assert!(not_before >= before + hour && not_before <= Timestamp::now() + hour, "{not_before}");
}

#[tokio::test]
async fn a_leader_leads_by_the_servers_clock() {
    let redis = Redis::shared();
    let store = RedisStore::connect(&config(redis), Clock::Server).await.expect("a connection");
    let first = store.lead(at(0), "a", TTL).await.expect("an answer");
    let LeadAnswer::Leading(term) = first else { panic!("{first:?}") };
    // Another's clock is a day ahead.
    let other = store.lead(Timestamp::now() + SignedDuration::from_hours(24), "b", TTL).await;
    assert_eq!(other.expect("an answer"), LeadAnswer::Following(term));
}
