//! Schedules on several schedulers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drs_tests::cluster::{Cluster, Role, Settings};
use drs_tests::product::wait_for;

/// How long schedulers are killed and frozen.
const TROUBLE: Duration = Duration::from_secs(120);
/// Time between two fires of each schedule, in seconds; longer than a lease of the leader.
const EVERY: usize = 10;
/// How many schedules there are, each due at other seconds.
const SCHEDULES: usize = 5;

#[test]
fn every_fire_comes_exactly_once_while_schedulers_are_killed_and_frozen() {
    let cluster = Cluster::start(Settings { leader_seconds: Some(3), ..Settings::default() });
    cluster.simulated("a", "dc", "vms=5,disk_mib=1,backup_ms=20");
    let _workers = [cluster.role(&["worker"]), cluster.role(&["worker"])];
    let mut schedulers: Vec<Role> = (0..3).map(|_| cluster.role(&["scheduler"])).collect();
    for n in 0..SCHEDULES {
        let (name, vm, cron) =
            (format!("s{n}"), format!("a/vm-00{}", n + 1), format!("{n}/{EVERY} * * * * *"));
        let drs = cluster.drs();
        drs.run(&["schedule", "add", &name, "--vm", &vm, "--work", "backup", "--cron", &cron]).ok();
    }
    let began = Instant::now();
    while began.elapsed() < TROUBLE {
        let frozen = schedulers.remove(0);
        frozen.freeze();
        let killed = schedulers.remove(0);
        killed.kill();
        let fired = fires(&cluster).len();
        // The one that is left takes over; then the sleeper wakes and another one comes.
        wait_for("a schedule fires", || (fires(&cluster).len() > fired).then_some(()));
        frozen.thaw();
        schedulers.push(frozen);
        schedulers.push(cluster.role(&["scheduler"]));
    }
    wait_for("every fire is over", || {
        cluster.jobs().iter().all(|job| job["state"] == "succeeded").then_some(())
    });
    let fires = fires(&cluster);
    let mut of_vm: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (vm, second) in &fires {
        of_vm.entry(vm.clone()).or_default().push(*second);
    }
    for (vm, mut seconds) in of_vm {
        seconds.sort_unstable();
        let gaps: Vec<i64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap == EVERY as i64), "{vm}: {seconds:?}");
    }
    println!("{} fires, each once, in {} s", fires.len(), began.elapsed().as_secs());
}

/// The VM and the second of each fire that became a job: its id follows from the time, and so the time is
/// told by who knows the schedule.
fn fires(cluster: &Cluster) -> Vec<(String, i64)> {
    let ids = cluster.jobs();
    ids.iter()
        .filter_map(|job| {
            let vm = job["subject"].as_str()?.to_owned();
            let created: drs_model::Timestamp = job["created_at"].as_str()?.parse().ok()?;
            let number: i64 = vm.rsplit('-').next()?.parse().ok()?;
            // The latest fire of its schedule at or before it was submitted.
            let phase = number - 1;
            let second = created.as_second();
            Some((vm, second - (second - phase).rem_euclid(EVERY as i64)))
        })
        .collect()
}
