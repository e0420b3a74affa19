//! `kill -9` at every saga step of a backup and of a restore on real libvirt hosts.

use drs_tests::lab::{Guest, HOSTS, Lab, installation, remove};
use drs_tests::product::Installation;

const DC: &str = HOSTS[0];
const DR: &str = HOSTS[1];

const BACKUP_POINTS: &[&str] = &[
    "backup/inspect/planned",
    "backup/inspect/done",
    "backup/clean/planned",
    "backup/clean/done",
    "backup/export/planned",
    "backup/export/done",
    "backup/copy/planned",
    "backup/copy/midway",
    "backup/copy/done",
    "backup/close/planned",
    "backup/close/done",
    "backup/commit/planned",
    "backup/commit/done",
];

const RESTORE_POINTS: &[&str] = &[
    "restore/plan/planned",
    "restore/plan/done",
    "restore/allocate/planned",
    "restore/allocate/done",
    "restore/copy/planned",
    "restore/copy/midway",
    "restore/copy/done",
    "restore/check/planned",
    "restore/check/midway",
    "restore/check/done",
    "restore/define/planned",
    "restore/define/done",
    "restore/start/planned",
    "restore/start/done",
];

fn newest_job(drs: &Installation) -> String {
    drs.json(&["job", "list"])[0]["id"].as_str().expect("an id").to_owned()
}

/// How often the host really started the detached commands of a job, by its own record.
fn starts(lab: &Lab, host: &str, job: &str) -> usize {
    let state =
        if lab.value("LAYOUT") == "namespaces" { "/var/lib/drs-guard" } else { "$DRS_STATE_DIR" };
    let script = format!("'cat {state}/job/{job}/*/starts'");
    lab.ssh(host, &["sh", "-c", &script]).lines().count()
}

#[test]
fn a_backup_killed_at_any_point_completes_after_a_restart_and_leaves_nothing_on_the_host() {
    let (lab, drs) = installation();
    let guest = lab.running("tick", 64);
    for (number, point) in BACKUP_POINTS.iter().enumerate() {
        drs.crash(point, &["backup", &guest.reference()]);
        let job = newest_job(&drs);
        let listed = drs.json(&["point", "list"]).as_array().map(Vec::len);
        let committed = usize::from(*point == "backup/commit/done");
        assert_eq!(listed, Some(number + committed), "{point}: a half point is listed");

        let server = drs.serve();
        assert_eq!(
            drs.settled(&job),
            "succeeded",
            "{point}: {}",
            drs.run(&["job", "log", &job]).stdout
        );
        server.terminate();
        still_well(lab, &guest, point);
        assert_eq!(lab.leavings_of_job(DC, &job), Vec::<String>::new(), "{point}");
        drs.run(&["point", "verify", &job]).ok();
    }
    drs.run(&["backup", &guest.reference()]).ok();
    let points = drs.json(&["point", "list"]).as_array().map(Vec::len);
    assert_eq!(points, Some(BACKUP_POINTS.len() + 1), "each job made its one point");
    let checkpoints = lab.ssh(DC, &["virsh", "-q", "checkpoint-list", "--name", &guest.name]);
    assert_eq!(checkpoints.split_whitespace().count(), 1, "one mark stays: {checkpoints}");
}

fn still_well(lab: &Lab, guest: &Guest, point: &str) {
    assert_eq!(lab.leftovers(DC, &guest.name), Vec::<String>::new(), "{point}");
    let before = guest.sequence(DC);
    drs_tests::product::wait_for("the VM goes on writing", || {
        (guest.sequence(DC) > before).then_some(())
    });
}

#[test]
fn a_restore_killed_at_any_point_completes_after_a_restart_and_checks_its_disks_once() {
    let (lab, drs) = installation();
    let guest = lab.stopped("tick", 64);
    drs.run(&["backup", &guest.reference()]).ok();
    let source = drs.json(&["point", "list"])[0]["id"].as_str().expect("an id").to_owned();
    for (number, point) in RESTORE_POINTS.iter().enumerate() {
        let name = format!("{}-r{number}", guest.name);
        let to = format!("{DR}/{name}");
        let mut args = vec!["restore", source.as_str(), "--to", to.as_str(), "--start"];
        if lab.value("LAYOUT") == "namespaces" {
            args.extend(["--network", "br-dr-a=br-dr-b"]);
        }
        drs.crash(point, &args);
        let job = newest_job(&drs);
        if *point == "restore/allocate/done" {
            assert!(!lab.leavings_of_job(DR, &job).is_empty(), "the look at the host sees nothing");
        }
        let server = drs.serve();
        assert_eq!(
            drs.settled(&job),
            "succeeded",
            "{point}: {}",
            drs.run(&["job", "log", &job]).stdout
        );
        server.terminate();
        guest.console(DR, &name, &format!("@MARKER {} boots=00000001", guest.marker));
        assert_eq!(starts(lab, DR, &job), 1, "{point}: the check ran once");
        assert_eq!(lab.leavings_of_job(DR, &job), Vec::<String>::new(), "{point}");
        remove(lab, DR, &name);
    }
}
