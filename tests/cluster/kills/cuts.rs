//! Networks that are cut in the middle of work, and servers whose time stops.

use std::thread;
use std::time::{Duration, Instant};

use drs_lab_servers::Proxy;
use drs_tests::cluster::{Cluster, Network, Role, Settings};
use drs_tests::product::wait_for;

/// Seconds of a lease.
const LEASE: u32 = 3;

struct Scene {
    cluster: Cluster,
    _scheduler: Role,
}

impl Scene {
    /// A cluster whose host checks a restored VM for 12 seconds, with a recovery point.
    fn begin() -> Self {
        let settings = Settings { lease_seconds: Some(LEASE), ..Settings::default() };
        let cluster = Cluster::start(settings);
        cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=12000");
        let _scheduler = cluster.role(&["scheduler"]);
        Self { cluster, _scheduler }
    }

    /// A restore whose check runs on the host, under the only worker that there is.
    fn running(&self, vm: &str) -> String {
        let job = self.cluster.submit(&["restore", "latest:a/vm-001", "--to", "a", "--as", vm]);
        wait_for("the check runs on the host", || (self.checks(vm) == 1).then_some(()));
        job
    }

    fn checks(&self, vm: &str) -> usize {
        let intervals = self.cluster.journal("a", vm);
        intervals.iter().filter(|interval| interval.step == "check").count()
    }

    fn worker_of(&self, job: &str) -> String {
        self.cluster.drs().job(job)["worker"].to_string()
    }

    fn ends_well(&self, job: &str, vm: &str) {
        let log = || self.cluster.drs().run(&["job", "log", job]).stdout;
        assert_eq!(self.cluster.drs().settled(job), "succeeded", "{}", log());
        assert_eq!(self.checks(vm), 1, "{}", log());
    }
}

/// A worker whose line to one server is cut while its job runs, longer than the lease, and then whole again.
fn cut_off(line: impl Fn(&Network) -> &Proxy, taken_over: bool) {
    let scene = Scene::begin();
    let network = scene.cluster.network();
    let lonely = network.begin(&scene.cluster, &["worker"]);
    lonely.ready();
    scene.cluster.drs().run(&["backup", "a/vm-001"]).ok();
    let job = scene.running("copy-1");
    let of_lonely = format!("-{}-", lonely.pid());
    line(&network).cut();
    let other = scene.cluster.role(&["worker"]);
    if taken_over {
        wait_for("another worker has the job", || {
            let job = scene.cluster.drs().job(&job);
            let worker = job["worker"].to_string();
            let taken = worker != "null" && !worker.contains(&of_lonely);
            // Who is cut off from the store cannot have ended it there.
            (taken || job["state"] == "succeeded").then_some(())
        });
    }
    scene.ends_well(&job, "copy-1");
    other.kill();
    line(&network).heal();
    // Nobody but the one that was cut off is left.
    let next = scene.running("copy-2");
    assert!(scene.worker_of(&next).contains(&of_lonely), "{}", scene.worker_of(&next));
    scene.ends_well(&next, "copy-2");
    assert_eq!(scene.checks("copy-1"), 1, "nothing is done late");
    assert!(!lonely.log().contains("panicked"), "{}", lonely.log());
}

#[test]
fn a_worker_cut_off_from_redis_loses_its_job_to_another_and_does_no_harm() {
    cut_off(|network| &network.redis, true);
}

#[test]
fn a_worker_cut_off_from_rabbitmq_keeps_its_job() {
    cut_off(|network| &network.amqp, false);
}

#[test]
fn a_worker_cut_off_from_postgresql_keeps_its_job() {
    cut_off(|network| &network.postgres, false);
}

#[test]
fn a_leader_cut_off_from_redis_is_replaced_and_no_fire_is_lost_or_doubled() {
    const EVERY: i64 = 4;
    let settings = Settings { leader_seconds: Some(3), ..Settings::default() };
    let cluster = Cluster::start(settings);
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1");
    let network = cluster.network();
    let leader = network.begin(&cluster, &["scheduler"]);
    leader.ready();
    let _worker = cluster.role(&["worker"]);
    let cron = format!("*/{EVERY} * * * * *");
    let add = ["schedule", "add", "s", "--vm", "a/vm-001", "--work", "backup", "--cron", &cron];
    cluster.drs().run(&add).ok();
    let fired = |count: usize| {
        wait_for("the schedule fires", || (cluster.jobs().len() >= count).then_some(()));
    };
    fired(1);
    let _other = cluster.role(&["scheduler"]);
    let before = cluster.jobs().len();
    network.redis.cut();
    fired(before + 3);
    network.redis.heal();
    fired(before + 5);
    let created = |job: &serde_json::Value| {
        let at: drs_model::Timestamp = job["created_at"].as_str()?.parse().ok()?;
        Some(at.as_second().div_euclid(EVERY))
    };
    let mut fires: Vec<i64> = cluster.jobs().iter().filter_map(created).collect();
    fires.sort_unstable();
    assert!(fires.windows(2).all(|pair| pair[1] == pair[0] + 1), "{fires:?}");
}

#[test]
fn a_rabbitmq_whose_time_stops_for_twenty_seconds_costs_nothing_that_runs_or_waits() {
    let scene = Scene::begin();
    let cluster = &scene.cluster;
    let _workers = [cluster.role(&["worker"]), cluster.role(&["worker"])];
    cluster.drs().run(&["backup", "a/vm-001"]).ok();
    let running = scene.running("copy-1");
    let began = Instant::now();
    cluster.rabbitmq.freeze();
    thread::sleep(Duration::from_secs(20).saturating_sub(began.elapsed()));
    let thawed = drs_model::Timestamp::now();
    cluster.rabbitmq.thaw();
    scene.ends_well(&running, "copy-1");
    let job = cluster.drs().job(&running);
    let ended: Option<drs_model::Timestamp> =
        job["updated_at"].as_str().and_then(|at| at.parse().ok());
    assert!(ended.is_some_and(|ended| ended < thawed), "it ended meanwhile: {job:#}");
    let next = wait_for("jobs are taken again", || {
        let args = ["--json", "backup", "a/vm-001", "--detach", "--key", "after"];
        let said = cluster.drs().run(&args);
        (said.code == 0).then(|| said.json()["id"].as_str().map(str::to_owned)).flatten()
    });
    assert_eq!(cluster.drs().settled(&next), "succeeded");
}

#[test]
fn a_worker_that_is_told_to_end_does_not_wait_for_a_redis_whose_time_stops_for_twenty_seconds() {
    let scene = Scene::begin();
    let cluster = &scene.cluster;
    let mut worker = cluster.role(&["worker"]);
    cluster.drs().run(&["backup", "a/vm-001"]).ok();
    let running = scene.running("copy-1");
    let began = Instant::now();
    cluster.redis.freeze();
    worker.ask_to_end();
    let in_time = wait_for("the worker ends", || {
        let frozen = began.elapsed() < Duration::from_secs(20);
        (worker.is_over() || !frozen).then_some(frozen)
    });
    cluster.redis.thaw();
    assert!(in_time, "{}", worker.log());
    let _next = cluster.role(&["worker"]);
    scene.ends_well(&running, "copy-1");
}
