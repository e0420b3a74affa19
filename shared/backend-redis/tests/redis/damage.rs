//! Records that cannot be read: of a newer version, or damaged. The others go on.

use drs_backend::{BackendError, JobFilter, JobStore};
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;
use drs_model::{Job, JobId, SignedDuration};
use drs_protocol::store::{ClaimAnswer, Driving, Outcome, SettleAnswer};

use super::{TTL, at, backup, claimed, config};

const STALE: SignedDuration = SignedDuration::from_secs(30);

struct Rig {
    redis: &'static Redis,
    config: RedisConfig,
    store: RedisStore,
}

impl Rig {
    async fn new() -> Self {
        let redis = Redis::shared();
        let config = config(redis);
        let store = RedisStore::connect(&config, Clock::Caller).await.expect("a connection");
        Self { redis, config, store }
    }

    fn key(&self, job: &Job) -> String {
        format!("{{{}}}:job:{}", self.config.prefix, job.id)
    }

    /// As a version would write it that knows more.
    fn is_newer(&self, job: &Job) {
        self.redis.cli(&["HSET", &self.key(job), "message", "{\"spec\":{\"kind\":\"teleport\"}}"]);
    }

    fn lacks(&self, job: &Job, field: &str) {
        assert_eq!(self.redis.cli(&["HDEL", &self.key(job), field]).trim(), "1");
    }

    fn garbled(&self, job: &Job, field: &str) {
        self.redis.cli(&["HSET", &self.key(job), field, "garbage"]);
    }

    fn has(&self, job: &Job, field: &str, value: &str) {
        self.redis.cli(&["HSET", &self.key(job), field, value]);
    }

    fn field(&self, job: &Job, field: &str) -> String {
        self.redis.cli(&["HGET", &self.key(job), field]).trim().to_owned()
    }

    /// How many entries an index has.
    fn entries(&self, index: &str) -> String {
        let key = format!("{{{}}}:{index}", self.config.prefix);
        self.redis.cli(&["ZCARD", &key]).trim().to_owned()
    }

    async fn published(&self, jobs: &[Job]) {
        for job in jobs {
            self.store.create(job).await.expect("create");
            self.store.published(at(1), job.id).await.expect("published");
        }
    }

    async fn ended(&self, job: &Job, second: i64) {
        let claim = claimed(&self.store, at(second), job).await;
        let who = Driving { job: job.id, worker: "w", fence: claim.fence };
        self.store.finish(at(second), who, &Outcome::Succeeded).await.expect("finish");
    }
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

fn three(what: &str) -> [Job; 3] {
    [1, 2, 3].map(|n| backup(&format!("{what} {n}"), &format!("dc/{what}{n}")))
}

#[tokio::test]
async fn queued_jobs_are_swept_and_listed_without_the_one_that_cannot_be_read() {
    let rig = Rig::new().await;
    let [newer, damaged, good] = three("queued");
    for job in [&newer, &damaged, &good] {
        rig.store.create(job).await.expect("create");
    }
    rig.is_newer(&newer);
    rig.lacks(&damaged, "at");
    let swept = rig.store.sweep(at(1), STALE, 9).await.expect("sweep");
    assert_eq!(ids(&swept), [good.id]);
    let listed = rig.store.list(&JobFilter::default()).await.expect("list");
    assert_eq!(ids(&listed), [good.id]);
    for limit in [1, 2] {
        for subject in [None, Some("dc".to_owned())] {
            let page = JobFilter { limit, subject, ..JobFilter::default() };
            let listed = rig.store.list(&page).await.expect("list");
            assert_eq!(ids(&listed), [good.id], "a page is filled with what can be read");
        }
    }
    let error = rig.store.get(newer.id).await.expect_err("it cannot be read");
    assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
    let claim = rig.store.claim(at(2), &(&damaged).into(), "w", TTL).await;
    let error = claim.expect_err("nobody can tell how it stands");
    assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("it has no field at"), "{error}");
}

#[tokio::test]
async fn lapsed_leases_are_reaped_without_the_one_that_cannot_be_read() {
    let rig = Rig::new().await;
    let [newer, damaged, good] = three("leased");
    for job in [&newer, &damaged, &good] {
        claimed(&rig.store, at(1), job).await;
    }
    rig.is_newer(&newer);
    rig.lacks(&damaged, "until");
    let reaped = rig.store.reap(at(61), 9).await.expect("reap");
    assert_eq!(ids(&reaped), [good.id]);
    assert_eq!(rig.store.reap(at(61), 9).await.expect("reap"), []);
}

#[tokio::test]
async fn what_is_over_reaches_history_past_those_that_cannot_be_read() {
    let rig = Rig::new().await;
    let [newer, damaged, good] = three("over");
    for (second, job) in [&newer, &damaged, &good].into_iter().enumerate() {
        rig.ended(job, second as i64).await;
    }
    rig.is_newer(&newer);
    rig.lacks(&damaged, "updated");
    for _ in 0..2 {
        assert_eq!(ids(&rig.store.settled(1).await.expect("settled")), [good.id]);
    }
    rig.store.recorded(good.id).await.expect("recorded");
    assert_eq!(rig.store.settled(1).await.expect("settled"), []);
    // A version that can read it finds it where it was.
    let message = serde_json::to_string(&drs_protocol::store::JobMessage::from(&newer));
    rig.redis.cli(&["HSET", &rig.key(&newer), "message", &message.expect("JSON")]);
    assert_eq!(ids(&rig.store.settled(1).await.expect("settled")), [newer.id]);
    rig.store.recorded(newer.id).await.expect("recorded");
    rig.lacks(&newer, "order");
    assert_eq!(rig.store.prune(at(99), 9).await.expect("prune"), 2);
    assert_eq!(rig.store.get(newer.id).await.expect("get"), None);
}

#[tokio::test]
async fn a_waiter_that_cannot_be_read_keeps_no_other_one_waiting() {
    let rig = Rig::new().await;
    let holder = backup("holder", "dc/web");
    let claim = claimed(&rig.store, at(1), &holder).await;
    let waiters = [1, 2, 3].map(|n| backup(&format!("waiter {n}"), "dc/web"));
    for waiter in &waiters {
        let answer = rig.store.claim(at(2), &waiter.into(), "w", TTL).await.expect("claim");
        assert!(matches!(answer, ClaimAnswer::Parked { .. }), "{answer:?}");
    }
    let mut in_order: Vec<&Job> = waiters.iter().collect();
    in_order.sort_by_key(|job| job.id);
    rig.lacks(in_order[0], "resource");
    let who = Driving { job: holder.id, worker: "w", fence: claim.fence };
    let settled = rig.store.finish(at(3), who, &Outcome::Succeeded).await.expect("finish");
    let SettleAnswer::Settled { woken } = settled else { panic!("{settled:?}") };
    assert_eq!(ids(&woken), [in_order[1].id]);
}

#[tokio::test]
async fn a_record_with_a_garbled_field_stops_no_sweep() {
    for field in ["updated", "at", "published", "attempt", "fence", "order"] {
        let rig = Rig::new().await;
        let jobs = three("garbled");
        rig.published(&jobs).await;
        rig.garbled(&jobs[1], field);
        let swept = rig.store.sweep(at(100), STALE, 9).await.expect("sweep");
        let mut found = ids(&swept);
        found.sort();
        let mut others = vec![jobs[0].id, jobs[2].id];
        others.sort();
        assert_eq!(found, others, "{field}");
        let error = rig.store.cancel(at(101), jobs[1].id).await.expect_err(field);
        assert!(error.to_string().contains(&format!("its field {field} is garbled")), "{error}");
    }
}

#[tokio::test]
async fn a_record_with_a_garbled_lease_stops_no_reap() {
    let rig = Rig::new().await;
    let jobs = three("lease");
    for job in &jobs {
        claimed(&rig.store, at(1), job).await;
    }
    rig.garbled(&jobs[1], "until");
    assert_eq!(rig.store.reap(at(61), 9).await.expect("reap").len(), 2);
}

#[tokio::test]
async fn a_damaged_record_that_is_put_back_goes_on_where_it_stood() {
    let rig = Rig::new().await;
    let [waits, runs, over] = three("put back");
    rig.published(std::slice::from_ref(&waits)).await;
    claimed(&rig.store, at(1), &runs).await;
    rig.ended(&over, 1).await;
    let before = [(&waits, "at"), (&runs, "until"), (&over, "updated")]
        .map(|(job, field)| (job, field, rig.field(job, field)));
    for (job, field, _) in &before {
        rig.lacks(job, field);
    }
    for second in [100, 105] {
        assert_eq!(rig.store.sweep(at(second), STALE, 9).await.expect("sweep"), []);
        assert_eq!(rig.store.reap(at(second), 9).await.expect("reap"), []);
        assert_eq!(rig.store.settled(9).await.expect("settled"), []);
        assert_eq!(rig.entries("damaged"), "3");
    }
    for (job, field, value) in &before {
        rig.has(job, field, value);
    }
    assert_eq!(rig.store.sweep(at(110), STALE, 9).await.expect("sweep").len(), 1);
    assert_eq!(ids(&rig.store.reap(at(110), 9).await.expect("reap")), [runs.id]);
    assert_eq!(ids(&rig.store.settled(9).await.expect("settled")), [over.id]);
    assert_eq!(rig.entries("damaged"), "0");
}

#[tokio::test]
async fn a_record_in_a_phase_that_only_a_newer_version_knows_comes_back_to_its_place() {
    let rig = Rig::new().await;
    let [job, _, _] = three("phase");
    claimed(&rig.store, at(1), &job).await;
    rig.has(&job, "phase", "suspended");
    assert_eq!(rig.store.reap(at(61), 9).await.expect("reap"), []);
    rig.has(&job, "phase", "running");
    rig.store.sweep(at(62), STALE, 9).await.expect("sweep");
    assert_eq!(ids(&rig.store.reap(at(63), 9).await.expect("reap")), [job.id]);
}

#[tokio::test]
async fn a_damaged_record_that_was_deleted_is_forgotten() {
    let rig = Rig::new().await;
    let [job, _, _] = three("deleted");
    rig.published(std::slice::from_ref(&job)).await;
    rig.lacks(&job, "at");
    rig.store.sweep(at(100), STALE, 9).await.expect("sweep");
    rig.redis.cli(&["DEL", &rig.key(&job)]);
    rig.store.sweep(at(105), STALE, 9).await.expect("sweep");
    assert_eq!(rig.entries("damaged"), "0");
}

#[tokio::test]
async fn an_index_entry_that_another_version_made_is_put_right() {
    let rig = Rig::new().await;
    let [job, _, _] = three("entry");
    rig.published(std::slice::from_ref(&job)).await;
    let sent = format!("{{{}}}:sent", rig.config.prefix);
    rig.redis.cli(&["DEL", &sent]);
    let other = format!("{}:{}", "3".repeat(21), rig.field(&job, "order"));
    rig.redis.cli(&["ZADD", &sent, "0", &other, "0", "0 is no entry"]);
    assert_eq!(rig.store.sweep(at(3), STALE, 9).await.expect("sweep"), []);
    assert_eq!(rig.entries("sent"), "1");
    assert_eq!(rig.store.sweep(at(100), STALE, 9).await.expect("sweep").len(), 1);
    assert_eq!(rig.store.sweep(at(105), STALE, 9).await.expect("sweep"), []);
}
