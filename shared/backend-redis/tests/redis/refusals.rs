//! What a server or its settings may refuse, and that the reason is one clear line without a secret.

use drs_backend::{BackendError, JobStore};
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;
use drs_model::Secret;
use drs_protocol::store::CreateAnswer;

use super::{at, backup, config, fresh};

/// No waiting helps.
fn refused(error: BackendError, wanted: &str) {
    assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
    one_line(&error, wanted);
}

/// It may pass.
fn unavailable(error: BackendError, wanted: &str) {
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error:?}");
    one_line(&error, wanted);
}

fn one_line(error: &BackendError, wanted: &str) {
    let fault = error.fault();
    let text = format!("{} {}", fault.message, fault.remedy);
    assert!(text.starts_with("Redis at 127.0.0.1:"), "{text}");
    assert!(text.contains(wanted) && !text.contains('\n'), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

async fn refusal(config: &RedisConfig) -> BackendError {
    RedisStore::connect(config, Clock::Caller).await.err().expect("a refusal")
}

#[tokio::test]
async fn a_wrong_login_is_told_and_the_right_one_works() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let login = |password: Option<&str>| RedisConfig {
        password: password.map(Secret::new),
        ..config(&redis)
    };
    refused(refusal(&login(None)).await, "refuses the user or the password");
    refused(refusal(&login(Some("hunter2"))).await, "refuses the user or the password");
    RedisStore::connect(&login(Some("right")), Clock::Caller).await.expect("a connection");
}

#[tokio::test]
async fn a_user_with_too_few_rights_is_told_which_are_missing() {
    let redis = Redis::start();
    let rules = ["+@connection", "+@scripting", "+@read", "+hset", "~{drs}:*"];
    let login = |user: &str| RedisConfig {
        password: Some(Secret::new("hunter2")),
        ..RedisConfig::new(format!("redis://{user}@127.0.0.1:{}", redis.port()))
    };
    for user in ["drs", "other"] {
        redis.cli(&[&["ACL", "SETUSER", user, "on", ">hunter2"], &rules[..]].concat());
    }
    refused(refusal(&login("drs")).await, "+zadd");
    redis.cli(&["ACL", "SETUSER", "drs", "+@write", "+time"]);
    let store = RedisStore::connect(&login("drs"), Clock::Caller).await.expect("a connection");
    let created = store.create(&backup("a", "dc/web")).await.expect("an answer");
    assert_eq!(created, CreateAnswer::Created);
    let warnings = store.warnings().join("\n");
    assert!(warnings.contains("CONFIG GET") && warnings.contains("appendfsync"), "{warnings}");
    redis.cli(&["ACL", "SETUSER", "drs", "-evalsha"]);
    refused(store.create(&backup("b", "dc/web")).await.expect_err("no right"), "@scripting");
    redis.cli(&["ACL", "SETUSER", "other", "+@write", "+time", "resetkeys", "~else:*"]);
    refused(refusal(&login("other")).await, "on the keys of DR Switch");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_answered_is_warned_about() {
    let durable = Redis::shared();
    assert_eq!(fresh(durable).await.warnings(), Vec::<String>::new());
    let volatile = ["--appendonly", "no", "--appendfsync", "everysec", "--maxmemory-policy"];
    let redis = Redis::start_with(&[&volatile[..], &["allkeys-lru"]].concat());
    let warnings = fresh(&redis).await.warnings().to_vec();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, setting) in
        warnings.iter().zip(["appendonly no", "appendfsync everysec", "maxmemory-policy allkeys"])
    {
        assert!(warning.contains(setting), "{warning}");
    }
}

#[tokio::test]
async fn a_replica_and_a_full_server_refuse_to_write() {
    let redis = Redis::start();
    let store = fresh(&redis).await;
    store.create(&backup("a", "dc/web")).await.expect("an answer");
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    unavailable(store.create(&backup("b", "dc/web")).await.expect_err("full"), "maxmemory");
    assert_eq!(store.get(backup("b", "dc/web").id).await.expect("get"), None, "nothing changed");
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let published = store.published(at(1), backup("a", "dc/web").id).await;
    unavailable(published.expect_err("a replica"), "replica");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let error = refusal(&RedisConfig::new("redis://drs@127.0.0.1:1")).await;
    unavailable(error, "refused");
}
