//! What a server may lose, and how the store goes on.

use std::time::Duration;

use drs_backend::{Events, JobStore, NewLine};
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::{Proxy, Redis};
use drs_model::{FencingToken, LogLevel, Phase, Progress};
use drs_protocol::store::{
    BeatAnswer, ClaimAnswer, Driving, Outcome, ReassertAnswer, RefenceAnswer,
};

use super::{TTL, at, backup, claimed, config, fresh, until};

#[tokio::test]
async fn a_wiped_server_says_that_it_knows_nothing_and_is_told_again() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    redis.cli(&["FLUSHALL"]);
    redis.cli(&["SCRIPT", "FLUSH"]);
    let who = Driving { job: job.id, worker: "w", fence: job.fence };
    assert_eq!(store.beat(at(2), who, TTL, true).await.expect("beat"), BeatAnswer::Unknown);
    let told = store.reassert(at(3), &job, "w", TTL).await.expect("reassert");
    assert_eq!(told, ReassertAnswer::Restored);
    let beat = store.beat(at(4), who, TTL, true).await.expect("beat");
    assert_eq!(beat, BeatAnswer::Kept { cancel: false });
    let other =
        store.claim(at(5), &(&backup("b", "dc/web")).into(), "v", TTL).await.expect("claim");
    assert!(matches!(other, ClaimAnswer::Parked { holders, .. } if holders == [job.id]));
}

#[tokio::test]
async fn a_restart_keeps_everything_and_the_store_connects_again() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    redis.kill();
    let error = store.get(job.id).await.expect_err("no server").to_string();
    assert!(error.contains(&format!("Redis at 127.0.0.1:{}", redis.port())), "{error}");
    redis.restart();
    let kept = until("the server is back", || store.get(job.id)).await;
    assert_eq!(kept.as_ref(), Some(&job));
    let who = Driving { job: job.id, worker: "w", fence: job.fence };
    let beat = until("the server is back", || store.beat(at(2), who, TTL, true)).await;
    assert_eq!(beat, BeatAnswer::Kept { cancel: false });
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_found_again() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    redis.freeze();
    let error = store.get(job.id).await.expect_err("no answer").to_string();
    assert!(error.contains("timed out"), "{error}");
    redis.thaw();
    let kept = until("the server answers again", || store.get(job.id)).await;
    assert_eq!(kept, Some(job));
}

/// A worker has several calls under way in one task, and looks at one of them at a time.
#[tokio::test]
async fn a_call_that_nobody_looks_at_keeps_no_other_one_from_a_server_that_is_there_again() {
    let redis = Redis::start();
    let line = Proxy::to(redis.port());
    let url = format!("redis://127.0.0.1:{}", line.port());
    let config = RedisConfig { prefix: redis.fresh_prefix(), ..RedisConfig::new(url) };
    let store = RedisStore::connect(&config, Clock::Caller).await.expect("a store");
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    line.cut();
    store.get(job.id).await.expect_err("no answer");
    let mut laid_aside = store.get(job.id);
    let looked = tokio::time::timeout(Duration::from_millis(100), &mut laid_aside).await;
    assert!(looked.is_err(), "it opens a connection");
    line.heal();
    let kept = until("the server answers again", || store.get(job.id)).await;
    assert_eq!(kept, Some(job));
    drop(laid_aside);
}

#[tokio::test]
async fn a_store_needs_its_server_at_the_first_call_and_checks_it_then() {
    let redis = Redis::start_with(&["--appendfsync", "everysec"]);
    let line = Proxy::to(redis.port());
    line.sever();
    let url = format!("redis://127.0.0.1:{}", line.port());
    let config = RedisConfig { prefix: redis.fresh_prefix(), ..RedisConfig::new(url) };
    let store = RedisStore::open(&config, Clock::Caller).expect("nothing is asked so far");
    let error = store.reach().await.expect_err("no server").to_string();
    assert!(error.starts_with(store.server()), "{error}");
    line.heal();
    until("the server answers", || store.reach()).await;
    let warnings = store.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("everysec"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_while_it_is_checked_is_checked_again() {
    let redis = Redis::start_with(&["--appendfsync", "everysec"]);
    let line = Proxy::to(redis.port());
    line.delay(Duration::from_millis(100));
    let url = format!("redis://127.0.0.1:{}", line.port());
    let config = RedisConfig { prefix: redis.fresh_prefix(), ..RedisConfig::new(url) };
    let store = RedisStore::open(&config, Clock::Caller).expect("nothing is asked so far");
    let asking = tokio::spawn({
        let store = store.clone();
        async move { store.reach().await }
    });
    // The first setting is told, and others are still to be asked for.
    while !redis.cli(&["INFO", "commandstats"]).contains("cmdstat_config") {
        assert!(!asking.is_finished(), "it asks for no setting");
    }
    line.sever();
    asking.await.expect("a task").expect_err("the server is lost");
    line.delay(Duration::ZERO);
    line.heal();
    until("the server answers", || store.reach()).await;
    let warnings = store.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("everysec"), "{warnings:?}");
}

#[tokio::test]
async fn a_server_that_is_rolled_back_is_brought_beyond_the_hosts_token() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    let job = backup("a", "dc/web");
    store.create(&job).await.expect("create");
    let data = redis.dir().join("appendonlydir");
    redis.stop();
    let copy = redis.dir().join("copy");
    copy_files(&data, &copy);
    redis.restart();
    let first = until("the server is back", || store.get(job.id)).await.expect("the job");
    let mut seen = FencingToken::default();
    for round in 0..5 {
        let claim = claimed(&store, at(100 * round), &first).await;
        assert!(claim.fence > seen, "{} behind {seen}", claim.fence);
        seen = claim.fence;
        assert_eq!(store.reap(at(100 * round + 60), 9).await.expect("reap").len(), 1);
    }
    redis.stop();
    copy_files(&copy, &data);
    redis.restart();
    let old = until("the server is back", || store.get(job.id)).await;
    assert_eq!(old, Some(job.clone()), "it knows only what it knew at the copy");
    // The clock was set back, too: only the host knows how far the tokens were.
    let again = claimed(&store, at(1), &job).await;
    assert!(again.fence < seen);
    let who = Driving { job: job.id, worker: "w", fence: again.fence };
    let fenced = store.refence(at(2), who, seen).await.expect("refence");
    assert_eq!(fenced, RefenceAnswer::Fenced(FencingToken(seen.0 + 1)));
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("an empty place");
    }
    std::fs::create_dir(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

#[tokio::test]
async fn a_record_that_somebody_deleted_is_in_nobodys_way() {
    let redis = Redis::start();
    let config = config(&redis);
    let store = RedisStore::connect(&config, Clock::Caller).await.expect("a connection");
    let holder = claimed(&store, at(1), &backup("holder", "dc/web")).await;
    let (queued, parked) = (backup("queued", "dc/web"), backup("parked", "dc/web"));
    store.create(&queued).await.expect("create");
    store.claim(at(1), &(&parked).into(), "w", TTL).await.expect("claim");
    let over = claimed(&store, at(1), &backup("over", "dc/mail")).await;
    let who = Driving { job: over.id, worker: "w", fence: over.fence };
    store.finish(at(2), who, &Outcome::Succeeded).await.expect("finish");
    let leased = claimed(&store, at(1), &backup("leased", "dc/db")).await;
    let waiter = backup("waiter", "dc/web");
    store.claim(at(2), &(&waiter).into(), "w", TTL).await.expect("claim");
    for job in [&queued, &parked, &leased, &over] {
        redis.cli(&["DEL", &format!("{{{}}}:job:{}", config.prefix, job.id)]);
    }
    let who = Driving { job: holder.id, worker: "w", fence: holder.fence };
    store.finish(at(3), who, &Outcome::Succeeded).await.expect("finish");
    assert_eq!(store.bury(at(4), "w").await.expect("bury"), 1);
    assert_eq!(store.reap(at(999), 9).await.expect("reap"), []);
    let settled = store.settled(9).await.expect("settled");
    assert_eq!(settled.iter().map(|job| job.id).collect::<Vec<_>>(), [holder.id]);
    assert_eq!(store.settled(1).await.expect("settled").len(), 1, "the lost one is out of the way");
    let swept = store.sweep(at(999), TTL, 9).await.expect("sweep");
    assert_eq!(swept.iter().map(|job| job.id).collect::<Vec<_>>(), [waiter.id]);
}

#[tokio::test]
async fn a_forgotten_job_leaves_nothing_behind() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    let line = NewLine { at: at(1), level: LogLevel::Info, attempt: 1, text: "begun".into() };
    store.log(job.id, line).await.expect("log");
    store.set_progress(job.id, &Progress::default()).await.expect("progress");
    let who = Driving { job: job.id, worker: "w", fence: job.fence };
    store.finish(at(2), who, &Outcome::Succeeded).await.expect("finish");
    store.recorded(job.id).await.expect("recorded");
    assert_eq!(store.prune(at(2), 9).await.expect("prune"), 0, "it ended at that time, not before");
    assert_eq!(
        store.get(job.id).await.expect("get").map(|j| j.state.phase()),
        Some(Phase::Succeeded)
    );
    assert_eq!(store.prune(at(3), 9).await.expect("prune"), 1);
    let left = redis.cli(&["KEYS", "*"]);
    let left: Vec<&str> = left.lines().filter(|key| !key.ends_with(":fence")).collect();
    assert_eq!(left, Vec::<&str>::new());
}
