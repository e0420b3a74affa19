//! Roles that do their work.

use drs_tests::cluster::{Cluster, Settings};
use drs_tests::product::wait_for;

#[test]
fn jobs_of_commands_run_on_any_worker_and_stay_in_the_list_of_jobs() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=6,disk_mib=1,backup_ms=50,restore_ms=50");
    let _roles = [&["scheduler"], &["worker"], &["worker"]].map(|role| cluster.role(role));

    let drs = cluster.drs();
    let told = drs.run(&["backup", "a/vm-001"]).ok();
    assert!(told.stdout.contains("recovery point"), "{}", told.stdout);
    let jobs: Vec<String> =
        (2..=6).map(|n| cluster.submit(&["backup", &format!("a/vm-00{n}")])).collect();
    for job in &jobs {
        assert_eq!(drs.settled(job), "succeeded", "{}", drs.run(&["job", "log", job]).stdout);
    }
    drs.run(&["restore", "latest:a/vm-001", "--to", "a", "--as", "copy"]).ok();
    assert_eq!(drs.json(&["point", "list"]).as_array().map(Vec::len), Some(6));
    assert_eq!(cluster.jobs().len(), 7);
    wait_for("every job is in history", || {
        let recorded = cluster.postgres.sql("SELECT count(*) FROM drs.job_history");
        (recorded.trim() == "7").then_some(())
    });
}

#[test]
fn a_worker_for_one_job_says_by_its_exit_code_what_became_of_it() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=2,disk_mib=1,backup_ms=50");
    cluster.simulated("dark", "dc", "vms=1,fail_at=open_export,fail_times=1000");
    let once = ["worker", "--once", "--idle-exit", "1"];
    let nothing = cluster.drs().run(&once);
    nothing.fails(75, &["no job came in time"]);

    let good = cluster.submit(&["backup", "a/vm-001"]);
    let waits = cluster.submit(&["backup", "a/vm-002"]);
    cluster.drs().run(&["worker", "--once"]).ok();
    assert_eq!(cluster.drs().job(&good)["state"], "succeeded");
    assert_eq!(cluster.drs().job(&waits)["state"], "queued", "it took one job alone");
    cluster.drs().run(&["worker", "--once"]).ok();

    cluster.submit(&["backup", "dark/vm-001"]);
    cluster.drs().run(&["worker", "--once"]).fails(75, &["is not over", "retry_wait"]);
}

#[test]
fn a_worker_ends_when_there_was_nothing_to_do_for_a_while() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1500");
    let job = cluster.submit(&["backup", "a/vm-001"]);
    let worker = cluster.role(&["worker", "--idle-exit", "1"]);
    assert_eq!(worker.ended(), Some(0));
    assert_eq!(cluster.drs().job(&job)["state"], "succeeded", "a job in hand is not idleness");
}

#[test]
fn a_lane_keeps_the_jobs_of_a_site_to_its_own_workers() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("near", "dc", "vms=1,disk_mib=1,backup_ms=50");
    cluster.simulated("far", "rc", "vms=1,disk_mib=1,backup_ms=50");
    let drs = cluster.drs();
    drs.run(&["site", "edit", "rc", "--lane", "rc"]).ok();
    let (near, far) =
        (cluster.submit(&["backup", "near/vm-001"]), cluster.submit(&["backup", "far/vm-001"]));
    let _main = [cluster.role(&["scheduler"]), cluster.role(&["worker"])];
    assert_eq!(drs.settled(&near), "succeeded");
    assert_eq!(drs.job(&far)["state"], "queued", "nobody works on its lane");
    let mut command = drs.command(&["worker", "--once"]);
    assert!(command.env("DRS_LANES", "rc").status().expect("drs runs").success());
    assert_eq!(drs.settled(&far), "succeeded");
}

#[test]
fn a_worker_in_a_container_needs_nothing_but_its_environment() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=50");
    let job = cluster.submit(&["backup", "a/vm-001"]);
    let fresh = tempfile::tempdir().expect("a directory");
    let mut command = std::process::Command::new(drs_tests::product::binary());
    command.args(["worker", "--once", "--data-dir"]).arg(fresh.path().join("data"));
    command.envs(cluster.environment()).env("DRS_VAULT", cluster.drs().path().join("vault"));
    assert!(command.status().expect("drs runs").success());
    assert_eq!(cluster.drs().job(&job)["state"], "succeeded");
}
