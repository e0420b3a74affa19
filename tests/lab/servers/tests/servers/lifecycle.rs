//! Each server starts, keeps its data over a restart, and leaves nothing behind.

use std::process::{Command, Stdio};
use std::time::Duration;

use drs_lab_servers::{Postgres, RabbitMq, Redis};

use crate::traces::{self, assert_no_trace_of, listens};

#[test]
fn redis_keeps_its_data_and_leaves_nothing() {
    let redis = Redis::start();
    assert_eq!(redis.cli(&["CONFIG", "GET", "appendfsync"]).trim(), "appendfsync\nalways");
    redis.cli(&["SET", "k", "kept"]);
    redis.kill();
    assert!(!listens(redis.port()));
    redis.restart();
    assert_eq!(redis.cli(&["GET", "k"]).trim(), "kept");
    assert_ne!(redis.fresh_prefix(), redis.fresh_prefix());
    let dir = redis.dir().to_owned();
    drop(redis);
    assert_no_trace_of(&dir);
}

#[test]
fn arguments_overrule_the_defaults_of_redis() {
    let redis = Redis::start_with(&["--appendonly", "no"]);
    assert_eq!(redis.cli(&["CONFIG", "GET", "appendonly"]).trim(), "appendonly\nno");
}

#[test]
fn postgres_keeps_its_data_and_leaves_nothing() {
    let postgres = Postgres::start();
    postgres.sql("CREATE TABLE t (v text); INSERT INTO t VALUES ('kept')");
    postgres.kill();
    assert!(!listens(postgres.port()));
    postgres.restart();
    assert_eq!(postgres.sql("SELECT v FROM t").trim(), "kept");
    assert_ne!(postgres.fresh_database(), postgres.fresh_database());
    assert_eq!(postgres.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'fresh%'"), "2\n");
    let dir = postgres.dir().to_owned();
    drop(postgres);
    assert_no_trace_of(&dir);
}

#[test]
fn rabbitmq_keeps_its_data_and_leaves_nothing() {
    let rabbit = RabbitMq::start();
    let vhost = rabbit.fresh_vhost();
    assert_ne!(vhost, rabbit.fresh_vhost());
    assert_eq!(vhost, format!("amqp://drs:secret@127.0.0.1:{}/fresh-0", rabbit.port()));
    rabbit.kill();
    assert!(!listens(rabbit.port()));
    rabbit.restart();
    assert!(rabbit.ctl(&["list_vhosts"]).lines().any(|line| line == "fresh-0"));
    assert!(rabbit.ctl(&["list_permissions", "-p", "fresh-0"]).contains("drs"));
    rabbit.stop();
    assert!(!listens(rabbit.port()));
    let dir = rabbit.dir().to_owned();
    drop(rabbit);
    assert_no_trace_of(&dir);
}

#[test]
fn lines_of_configuration_overrule_the_defaults_of_rabbitmq() {
    let rabbit = RabbitMq::start_with("heartbeat = 7\nraft.wal_max_size_bytes = 16777216");
    assert_eq!(rabbit.ctl(&["eval", "application:get_env(rabbit, heartbeat)."]).trim(), "{ok,7}");
    let wal = rabbit.ctl(&["eval", "application:get_env(ra, wal_max_size_bytes)."]);
    assert_eq!(wal.trim(), "{ok,16777216}");
}

#[test]
fn a_frozen_server_answers_only_after_the_thaw() {
    let redis = Redis::start();
    redis.freeze();
    let states = traces::states(redis.dir());
    assert!(!states.is_empty() && states.iter().all(|state| state == "T"), "{states:?}");
    redis.thaw();
    assert_eq!(redis.cli(&["PING"]).trim(), "PONG");
    redis.freeze();
    redis.kill();
    redis.restart();
    assert_eq!(redis.cli(&["PING"]).trim(), "PONG");
}

#[test]
fn a_panicking_test_leaves_the_directory_and_no_process() {
    let started = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            let redis = Redis::start();
            *started.lock().unwrap() = Some(redis.dir().to_owned());
            panic!("as a failing test does");
        });
        assert!(test.join().is_err());
    });
    let dir = started.into_inner().unwrap().unwrap();
    assert!(dir.join("out").exists());
    std::fs::remove_dir_all(&dir).unwrap();
    assert_no_trace_of(&dir);
}

/// Set in the process that the test starts, which is the test itself once more.
const VICTIM: &str = "DRS_LAB_SERVERS_VICTIM";

#[test]
#[expect(clippy::disallowed_methods, reason = "the test starts itself, as the process to kill")]
fn a_test_process_that_is_killed_leaves_nothing() {
    if std::env::var_os(VICTIM).is_some() {
        for dir in [Redis::shared().dir(), Postgres::shared().dir(), RabbitMq::shared().dir()] {
            traces::announce(dir);
        }
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_test_process_that_is_killed_leaves_nothing", "--nocapture"])
        .env(VICTIM, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let dirs = traces::announced(victim.stdout.take().unwrap(), 3);
    assert!(dirs.len() == 3 && dirs.iter().all(|dir| dir.exists()), "{dirs:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    for dir in &dirs {
        traces::eventually("all of it is gone", || traces::of(dir).is_empty());
    }
}
