//! A master that dies, a replica that takes its place, a Sentinel that says so.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;

use super::{at, backup, claimed, free_port, until};

/// Ends with the test, and with the test's process.
struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "starts a server for the test")]
fn sentinel(folder: &Path, port: u16, master: u16) -> Sentinel {
    let mut config = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.display());
    writeln!(config, "sentinel monitor main 127.0.0.1 {master} 1").expect("a text");
    config += "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n";
    let file = folder.join("sentinel.conf");
    std::fs::write(&file, config).expect("a file");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "redis-server"]).arg(file).arg("--sentinel");
    Sentinel(command.stdout(Stdio::null()).spawn().expect("redis-server runs"))
}

#[tokio::test]
async fn after_a_failover_the_new_master_is_found() {
    let master = Redis::start();
    let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let _sentinel = sentinel(folder.path(), port, master.port());
    // The first Sentinel is gone; the second knows.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main");
    let config = RedisConfig::new(url);
    let connect = || RedisStore::connect(&config, Clock::Caller);
    let store = until("the Sentinel knows the master", connect).await;
    let job = claimed(&store, at(1), &backup("a", "dc/web")).await;
    until("the replica has it, and the Sentinel the replica", || async {
        let has_job = replica.cli(&["EXISTS", &format!("{{drs}}:job:{}", job.id)]);
        if has_job.trim() == "1" && knows_replica(port) { Ok(()) } else { Err("not yet") }
    })
    .await;
    master.kill();
    let found = until("the replica became the master", || store.get(job.id)).await;
    assert_eq!(found, Some(job.clone()));
    until("it takes writes", || store.published(at(2), job.id)).await;
}

#[expect(clippy::disallowed_methods, reason = "asks a server of the test")]
fn knows_replica(sentinel: u16) -> bool {
    let mut command = std::process::Command::new("redis-cli");
    command.args(["-p", &sentinel.to_string(), "SENTINEL", "REPLICAS", "main"]);
    let output = command.output().expect("redis-cli runs");
    String::from_utf8_lossy(&output.stdout).contains("slave-priority")
}
