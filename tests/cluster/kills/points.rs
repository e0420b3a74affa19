//! A worker that dies at a named point: its jobs end well under another one.

use drs_tests::cluster::{Cluster, Role, Settings};
use drs_tests::engine::overlapping;
use drs_tests::product::wait_for;

/// What lies before and behind these points stands in `drs_worker`.
const POINTS: [&str; 6] = ["claim", "start", "ack", "finish", "hand_over", "publish"];

/// Two restores that get in each other's way, and the worker that is to die in them. Each point has its own
/// host, site and lane, so that all are tried at one time.
struct Trial {
    point: String,
    place: String,
    worker: Option<Role>,
    jobs: Vec<String>,
}

impl Trial {
    fn new(cluster: &Cluster, point: String) -> Self {
        let place = point.replace(['/', '_'], "-");
        let drs = cluster.drs();
        cluster.simulated(&place, &place, "vms=1,disk_mib=1,restore_ms=50,check_ms=2000");
        drs.run(&["host", "edit", &place, "--slots", "1"]).ok();
        drs.run(&["site", "edit", &place, "--lane", &place]).ok();
        Self { point, place, worker: None, jobs: Vec::new() }
    }

    fn begin(&mut self, cluster: &Cluster, source: &str) {
        let variables = [("DRS_LANES", &*self.place), ("DRS_CRASH_AT", &*self.point)];
        self.worker = Some(cluster.begin_with(&["worker"], &variables));
        for copy in ["copy-1", "copy-2"] {
            let args = ["restore", source, "--to", &self.place, "--as", copy];
            self.jobs.push(cluster.submit(&args));
        }
    }

    /// Waits until the worker is dead.
    fn died(&mut self, cluster: &Cluster) {
        let worker = self.worker.take().expect("a worker");
        if self.point.starts_with("hand_over") {
            wait_for("a command runs on the host", || {
                let runs = |vm| !self.checks(cluster, vm).is_empty();
                (runs("copy-1") || runs("copy-2")).then_some(())
            });
            worker.ask_to_end();
        }
        worker.killed();
    }

    /// The jobs that had a VM checked, one for each time.
    fn checks(&self, cluster: &Cluster, vm: &str) -> Vec<String> {
        let intervals = cluster.journal(&self.place, vm).into_iter();
        intervals.filter(|interval| interval.step == "check").map(|check| check.job).collect()
    }

    fn must_be_clean(&self, cluster: &Cluster) {
        for (vm, job) in ["copy-1", "copy-2"].iter().zip(&self.jobs) {
            let log =
                || format!("{}: {}", self.point, cluster.drs().run(&["job", "log", job]).stdout);
            assert_eq!(cluster.drs().settled(job), "succeeded", "{}", log());
            assert_eq!(self.checks(cluster, vm), std::slice::from_ref(job), "{}", log());
            assert_eq!(overlapping(&cluster.journal(&self.place, vm)), None, "{}", log());
        }
    }
}

#[test]
fn a_worker_that_dies_at_any_point_costs_no_job_and_no_work() {
    let cluster = Cluster::start(Settings { lease_seconds: Some(3), ..Settings::default() });
    cluster.simulated("source", "dc", "vms=1,disk_mib=1,backup_ms=1");
    let _scheduler = cluster.role(&["scheduler"]);
    let first = cluster.role(&["worker"]);
    let source = cluster.drs().json(&["backup", "source/vm-001"])["point"]["id"].clone();
    first.terminate();
    let both = |point: &str| ["before", "after"].map(|moment| format!("{point}/{moment}"));
    let points = POINTS.into_iter().flat_map(both);
    let mut trials: Vec<Trial> = points.map(|point| Trial::new(&cluster, point)).collect();
    for trial in &mut trials {
        trial.begin(&cluster, source.as_str().expect("a point"));
    }
    for trial in &mut trials {
        trial.died(&cluster);
    }
    let lanes: Vec<&str> = trials.iter().map(|trial| &*trial.place).collect();
    let heir = cluster.begin_with(&["worker"], &[("DRS_LANES", &lanes.join(","))]);
    heir.ready();
    for trial in &trials {
        trial.must_be_clean(&cluster);
    }
}
