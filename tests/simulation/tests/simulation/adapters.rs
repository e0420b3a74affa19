//! The adapters under the same faults: SQLite in a file, the real scripts on a real Redis.

use std::path::Path;
use std::sync::Arc;

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_backend_sqlite::SqliteBackend;
use drs_lab_servers::Redis;
use drs_simulation::Scenario;
use drs_simulation::store::{Medium, PortStore};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::harness::none_is_harmed;

fn runtime() -> Arc<Runtime> {
    Arc::new(Builder::new_current_thread().enable_all().build().expect("a runtime"))
}

/// A SQLite file: what it has confirmed, it keeps.
struct File(TempDir);

impl Medium for File {
    fn open(&mut self) -> Arc<dyn JobStore> {
        SqliteBackend::open(&self.0.path().join("drs.db")).expect("a database").backend().store
    }

    fn wipe(&mut self) {
        panic!("no fault of this scenario wipes a file");
    }

    fn save(&mut self) {
        panic!("no fault of this scenario rolls a file back");
    }

    fn roll_back(&mut self) {
        panic!("no fault of this scenario rolls a file back");
    }
}

/// A Redis of its own, and a copy of its keys.
struct Server {
    redis: Arc<Redis>,
    store: Arc<dyn JobStore>,
}

impl Server {
    fn new(redis: Arc<Redis>, runtime: &Runtime) -> Self {
        redis.cli(&["FLUSHALL"]);
        let config = RedisConfig::new(redis.url());
        let store = runtime.block_on(RedisStore::connect(&config, Clock::Caller));
        Self { redis, store: Arc::new(store.expect("a connection")) }
    }

    /// Puts copies of all keys that begin with one text under names that begin with another, in place of
    /// what is there.
    fn copy(&self, from: &str, to: &str) {
        let script = "for _, key in ipairs(redis.call('KEYS', ARGV[2] .. '*')) do redis.call('DEL', key) end \
                      for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do \
                      redis.call('COPY', key, ARGV[2] .. key:sub(#ARGV[1] + 1)) end";
        self.redis.cli(&["EVAL", script, "0", from, to]);
    }
}

impl Medium for Server {
    fn open(&mut self) -> Arc<dyn JobStore> {
        Arc::clone(&self.store)
    }

    fn wipe(&mut self) {
        self.copy("nothing:", "{drs}:");
    }

    fn save(&mut self) {
        self.copy("{drs}:", "saved:");
    }

    fn roll_back(&mut self) {
        self.copy("saved:", "{drs}:");
    }
}

#[test]
fn sqlite_when_nothing_confirmed_is_lost() {
    let runtime = runtime();
    let scenario = Scenario::no_loss();
    // In memory where the machine has such a folder: thousands of writes wait for the disk otherwise.
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    none_is_harmed("sqlite_when_nothing_confirmed_is_lost", 10, &scenario, || {
        let folder = TempDir::new_in(&root).expect("a folder");
        PortStore::new(File(folder), Arc::clone(&runtime))
    });
}

#[test]
fn redis_when_everything_goes_wrong() {
    let runtime = runtime();
    // How durable it is does not matter here: the faults are those of the world.
    let redis = Arc::new(Redis::start_with(&["--appendonly", "no"]));
    let scenario = Scenario::all_faults();
    none_is_harmed("redis_when_everything_goes_wrong", 10, &scenario, || {
        PortStore::new(Server::new(Arc::clone(&redis), &runtime), Arc::clone(&runtime))
    });
}
