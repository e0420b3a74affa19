//! Schedules on several schedulers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drs_model::{Fire, Timestamp};
use drs_tests::cluster::{Cluster, Role, Settings};
use drs_tests::product::wait_for;

/// How long schedulers are killed and frozen.
const TROUBLE: Duration = Duration::from_secs(120);
/// Time between two fires of each schedule, in seconds; longer than a lease of the leader.
const EVERY: i64 = 10;
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
            (format!("s{n}"), format!("a/vm-00{}", n + 1), format!("{n}-59/{EVERY} * * * * *"));
        let drs = cluster.drs();
        drs.run(&["schedule", "add", &name, "--vm", &vm, "--work", "backup", "--cron", &cron]).ok();
    }
    let (began, begin) = (Instant::now(), Timestamp::now().as_second());
    while began.elapsed() < TROUBLE {
        let frozen = schedulers.remove(0);
        frozen.freeze();
        let killed = schedulers.remove(0);
        killed.kill();
        let fired = ids(&cluster).len();
        // The one that is left takes over; then the sleeper wakes and another one comes.
        wait_for("a schedule fires", || (ids(&cluster).len() > fired).then_some(()));
        frozen.thaw();
        schedulers.push(frozen);
        schedulers.push(cluster.role(&["scheduler"]));
    }
    wait_for("every fire is over", || {
        cluster.jobs().iter().all(|job| job["state"] == "succeeded").then_some(())
    });
    let jobs: BTreeSet<String> = ids(&cluster);
    let end = Timestamp::now().as_second();
    let mut found = 0;
    for n in 0..SCHEDULES {
        let name = format!("s{n}").parse().expect("a name");
        let due = (begin..=end).filter(|second| second.rem_euclid(EVERY) == n as i64);
        let came: Vec<bool> = due
            .map(|second| Timestamp::from_second(second).expect("a time"))
            .map(|at| jobs.contains(&Fire::job_id(&name, at).to_string()))
            .collect();
        let first = came.iter().position(|came| *came).expect("it fired");
        let last = came.iter().rposition(|came| *came).expect("it fired");
        assert!(came[first..=last].iter().all(|came| *came), "{name}: {came:?}");
        found += last - first + 1;
    }
    assert_eq!(found, jobs.len(), "every job is a fire of its schedule, and there once");
    println!("{found} fires, each once, in {} s", began.elapsed().as_secs());
}

fn ids(cluster: &Cluster) -> BTreeSet<String> {
    cluster.jobs().iter().filter_map(|job| job["id"].as_str().map(str::to_owned)).collect()
}
