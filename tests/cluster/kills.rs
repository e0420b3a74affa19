//! Real faults of a cluster: processes killed and frozen at random and at named points, servers killed,
//! frozen and emptied, networks cut. No job is lost, no two jobs have one VM, and no command that went on
//! without us is started twice: the hosts' own journals say so.

mod chaos;
mod cuts;
mod forgotten;
mod points;
mod producer;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use drs_tests::cluster::{Cluster, Settings};
use drs_tests::dice::Dice;

use chaos::Chaos;
use producer::Producer;

/// The simulated hosts, each with as many VMs and places for jobs at one time.
const HOSTS: [&str; 3] = ["a", "b", "c"];
const VMS: u64 = 6;

/// How many kills there are; `DRS_KILLS` asks for more.
fn wanted() -> usize {
    std::env::var("DRS_KILLS").map_or(30, |kills| kills.parse().expect("DRS_KILLS: a number"))
}

/// Set when it is dropped, also by a panic: nobody goes on for ever.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn kills_at_random_lose_no_job_and_do_nothing_twice() {
    let began = Instant::now();
    let mut dice = Dice::announced();
    let settings =
        Settings { lease_seconds: Some(4), leader_seconds: Some(3), ..Settings::default() };
    let cluster = Cluster::start(settings);
    let address = format!(
        "vms={VMS},disk_mib=1,backup_ms=800,restore_ms=500,check_ms=3000,jitter_percent=60"
    );
    for host in HOSTS {
        cluster.simulated(host, "dc", &address);
        cluster.drs().run(&["host", "edit", host, "--slots", "4"]).ok();
    }
    let mut chaos = Chaos::begin(&cluster, dice.split());
    let mut producer = Producer::new(&cluster, dice.split());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| producer.produce(&over));
        let _end = AtEnd(&over);
        chaos.rage(scope, wanted());
    });
    let figures = chaos.calm();
    let jobs = producer.settle(figures.flushed_at);
    let verdict = verdict::of(&cluster, &producer.orders, &jobs);
    println!("{figures}\n{verdict}\n{} jobs brought back by who had ordered them", producer.again);
    println!("all in {} s", began.elapsed().as_secs());
    verdict.must_be_clean(&cluster);
}
