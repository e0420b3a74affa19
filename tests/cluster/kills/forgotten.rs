//! Jobs that are over and that both the store and history have lost: asked for once more they find their
//! work done, or are refused since it is.

use drs_tests::cluster::{Cluster, Settings};
use drs_tests::product::wait_for;

#[test]
fn work_that_is_done_and_forgotten_is_not_done_again() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=2,disk_mib=1,backup_ms=1,restore_ms=1,check_ms=1");
    let _roles = [cluster.role(&["scheduler"]), cluster.role(&["worker"])];
    let drs = cluster.drs();
    let backup = ["backup", "a/vm-001", "--key", "backup"];
    let restore = ["restore", "latest:a/vm-001", "--to", "a", "--as", "copy", "--key", "restore"];
    let done = drs.json(&backup);
    drs.run(&restore).ok();
    wait_for("both are in history", || {
        let recorded = cluster.postgres.sql("SELECT count(*) FROM drs.job_history");
        (recorded.trim() == "2").then_some(())
    });
    cluster.redis.cli(&["FLUSHALL"]);
    cluster.postgres.sql("DELETE FROM drs.job_history");
    let again = drs.json(&backup);
    assert_eq!(again["id"], done["id"]);
    assert_eq!(again["state"], "succeeded", "{again:#}");
    assert_eq!(done["point"], again["point"], "the point is the one that was made before");
    drs.run(&restore).fails(4, &["exists already on host a"]);
    let checks = cluster.journal("a", "copy");
    assert_eq!(checks.iter().filter(|interval| interval.step == "check").count(), 1);
    let holds = cluster.journal("a", "vm-001");
    assert_eq!(holds.len(), 1, "the source was read once: {holds:?}");
}
