//! Workers that die, freeze or are told to end: their jobs go on, and nothing is done twice.

use std::collections::HashMap;

use drs_tests::cluster::{Cluster, Settings};
use drs_tests::engine::{Interval, journal};
use drs_tests::product::wait_for;

/// Restores of this many VMs, each of which is checked on the host for long: work that goes on without us.
fn running_checks(cluster: &Cluster, jobs: usize) -> Vec<String> {
    let drs = cluster.drs();
    drs.run(&["backup", "a/vm-001"]).ok();
    let ids: Vec<String> = (1..=jobs)
        .map(|n| {
            let name = format!("copy-{n}");
            cluster.submit(&["restore", "latest:a/vm-001", "--to", "a", "--as", &name])
        })
        .collect();
    wait_for("every check runs on the host", || {
        (1..=jobs).all(|n| !checks(cluster, n).is_empty()).then_some(())
    });
    ids
}

/// The runs of the check of a copy, as its host wrote them down.
fn checks(cluster: &Cluster, n: usize) -> Vec<Interval> {
    let file = cluster.drs().path().join(format!("simulated/a.journal/copy-{n}"));
    let intervals = journal(&file).expect("a journal");
    intervals.into_iter().filter(|interval| interval.step == "check").collect()
}

fn all_ended_well(cluster: &Cluster, ids: &[String]) {
    for (n, id) in (1..).zip(ids) {
        let state = cluster.drs().settled(id);
        assert_eq!(state, "succeeded", "{}", cluster.drs().run(&["job", "log", id]).stdout);
        assert_eq!(checks(cluster, n).len(), 1, "the check of copy-{n} ran once");
    }
}

#[test]
fn a_worker_that_is_told_to_end_is_gone_at_once_and_its_fifty_jobs_go_on_elsewhere() {
    let settings = Settings { slots: Some(50), ..Settings::default() };
    let cluster = Cluster::start(settings);
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=30000");
    cluster.drs().run(&["host", "edit", "a", "--slots", "64"]).ok();
    let _scheduler = cluster.role(&["scheduler"]);
    let worker = cluster.role(&["worker"]);
    let ids = running_checks(&cluster, 50);
    let took = worker.terminate();
    println!("a worker with 50 running jobs was gone in {} ms", took.as_millis());
    let states: HashMap<String, usize> = ids.iter().fold(HashMap::new(), |mut seen, id| {
        let state = cluster.drs().job(id)["state"].as_str().unwrap_or_default().to_owned();
        *seen.entry(state).or_default() += 1;
        seen
    });
    assert_eq!(states.get("queued"), Some(&50), "{states:?}");
    let _next = cluster.role(&["worker"]);
    all_ended_well(&cluster, &ids);
}

#[test]
fn the_jobs_of_a_killed_worker_are_taken_over_when_its_lease_is_over() {
    let settings = Settings { lease_seconds: Some(6), ..Settings::default() };
    let cluster = Cluster::start(settings);
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=20000");
    cluster.drs().run(&["host", "edit", "a", "--slots", "64"]).ok();
    let _scheduler = cluster.role(&["scheduler"]);
    let worker = cluster.role(&["worker"]);
    let ids = running_checks(&cluster, 3);
    let dead = format!("-{}-", worker.pid());
    worker.kill();
    let began = std::time::Instant::now();
    let _next = cluster.role(&["worker"]);
    wait_for("another worker has every job", || {
        let taken = |id: &String| {
            let job = cluster.drs().job(id);
            job["state"] == "running" && !job["worker"].to_string().contains(&dead)
        };
        ids.iter().all(taken).then_some(())
    });
    println!("taken over {} ms after the kill, lease 6 s", began.elapsed().as_millis());
    all_ended_well(&cluster, &ids);
}

#[test]
fn a_worker_that_slept_through_its_lease_does_no_harm_when_it_wakes() {
    let settings = Settings { lease_seconds: Some(3), ..Settings::default() };
    let cluster = Cluster::start(settings);
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=40000");
    let _scheduler = cluster.role(&["scheduler"]);
    let sleeper = cluster.role(&["worker"]);
    let ids = running_checks(&cluster, 2);
    sleeper.freeze();
    let _next = cluster.role(&["worker"]);
    wait_for("another worker has the jobs", || {
        let pid = format!("-{}-", sleeper.pid());
        let taken = |id: &String| {
            let job = cluster.drs().job(id);
            job["state"] == "running" && !job["worker"].to_string().contains(&pid)
        };
        ids.iter().all(taken).then_some(())
    });
    sleeper.thaw();
    all_ended_well(&cluster, &ids);
}

#[test]
fn a_store_that_lost_everything_is_told_again_by_those_who_work() {
    let settings = Settings { lease_seconds: Some(6), ..Settings::default() };
    let cluster = Cluster::start(settings);
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=10000");
    let _scheduler = cluster.role(&["scheduler"]);
    let _worker = cluster.role(&["worker"]);
    let ids = running_checks(&cluster, 2);
    cluster.redis.cli(&["FLUSHALL"]);
    wait_for("the records are there again", || {
        let known = |id: &String| cluster.drs().run(&["job", "show", id]).code == 0;
        ids.iter().all(known).then_some(())
    });
    all_ended_well(&cluster, &ids);
}

#[test]
fn servers_that_restart_cost_no_job() {
    let cluster = Cluster::start(Settings { lease_seconds: Some(6), ..Settings::default() });
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=12000");
    let _scheduler = cluster.role(&["scheduler"]);
    let _worker = cluster.role(&["worker"]);
    let ids = running_checks(&cluster, 2);
    cluster.rabbitmq.restart();
    cluster.redis.restart();
    cluster.postgres.restart();
    all_ended_well(&cluster, &ids);
    cluster.drs().run(&["backup", "a/vm-001"]).ok();
}
