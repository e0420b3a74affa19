//! `kill -9` of drs at every saga step of backups, restores and replications on Proxmox nodes. A job dies
//! up to four times, each time at a later step; then it must come right.

use std::path::Path;

use drs_tests::nodes::{DC, DRC, Nodes, Vm, installation};
use drs_tests::product::Installation;

/// Deaths that a job survives, by the number of attempts that it has.
const DEATHS: usize = 4;

/// Small, and all of it data.
const SMALL: &[&str] = &["--size", "4M", "--data", "100%"];
/// So slow that rsync has a middle: it tells once a second how far it is.
const SLOWLY: &[&str] = &["--limit", "1M"];

/// Steps of a saga, those with a point in their middle written `step!`.
const BACKUP: &str = "inspect clean export copy! close commit";
const BACKUP_STAGED: &str = "inspect clean dump! locate fetch! copy! close commit";
const RESTORE: &str =
    "plan allocate copy! check! define aside! exchange start prove! adopt destroy";
const RESTORE_STAGED: &str =
    "plan allocate pack! push! load! check! define aside! exchange start prove! adopt destroy";
const REPLICATE: &str = "inspect clean foresee prepare export copy! close commit confirm plan \
    allocate refill check! define aside! exchange start prove adopt destroy";
const REPLICATE_STAGED: &str = "inspect clean dump! locate fetch! copy! close commit plan allocate \
    pack! push! load! check! define aside! exchange start prove adopt destroy";

/// The crash points of a saga in the order in which a job meets them.
fn points(kind: &str, steps: &str) -> Vec<String> {
    let moments = |step: &str| {
        let (name, middle) = (step.trim_end_matches('!'), step.ends_with('!'));
        let all =
            ["planned", "midway", "done"].into_iter().filter(move |it| middle || *it != "midway");
        all.map(|moment| format!("{kind}/{name}/{moment}")).collect::<Vec<_>>()
    };
    steps.split_whitespace().flat_map(moments).collect()
}

/// The same without those behind a step: they are those before the next one, but for a line of the log.
fn before(kind: &str, steps: &str) -> Vec<String> {
    let mut all = points(kind, steps);
    all.retain(|point| !point.ends_with("/done"));
    all
}

/// Runs jobs that die at these points until every one was met; `settled` looks at each finished job.
fn die_everywhere(
    drs: &Installation,
    points: &[String],
    args: &[&str],
    mut settled: impl FnMut(usize, &str),
) {
    for (number, deaths) in points.chunks(DEATHS).enumerate() {
        let moving = ["/fetch/midway", "/push/midway"];
        let slow = deaths.iter().any(|point| moving.iter().any(|end| point.ends_with(end)));
        let (first, later) = deaths.split_first().expect("a point");
        drs.crash(first, &[args, if slow { SLOWLY } else { &[] }].concat());
        later.iter().for_each(|point| drs.crash_serving(point));
        drs.finish("succeeded", &deaths.join(", "));
        settled(number, &deaths.join(", "));
    }
}

/// What is somebody else's on a node, and stays as it is.
struct Foreign {
    nodes: &'static Nodes,
    before: [String; 2],
}

/// Of a guest whose number no test gets.
const STRANGERS: [&str; 5] = [
    "/var/lib/vz/dump/vzdump-qemu-987654-2025_01_01-00_00_00.vma.zst",
    "/var/lib/vz/dump/vzdump-qemu-987654-2025_01_02-00_00_00.vma.dat",
    "/var/lib/vz/dump/vzdump-qemu-987654-2025_01_02-00_00_00.tmp/qemu-server.conf",
    "/var/lib/vz/dump/vzdump-qemu-987654-2025_01_01-00_00_00.log",
    "/var/lib/vz/dump/dump.tar",
];

impl Foreign {
    fn new(nodes: &'static Nodes) -> Self {
        for (node, file) in [DC, DRC].into_iter().flat_map(|node| STRANGERS.map(|it| (node, it))) {
            let path = nodes.file(node, file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, format!("{node} {file}")).expect("a file");
        }
        Self { nodes, before: [DC, DRC].map(|node| nodes.foreign(node)) }
    }

    #[track_caller]
    fn untouched(&self, context: &str) {
        let now = [DC, DRC].map(|node| self.nodes.foreign(node));
        assert_eq!(now, self.before, "{context}");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for node in [DC, DRC] {
            self.nodes.ssh(node, &["rm", "-rf", "/var/lib/vz/dump/*"]);
        }
    }
}

#[track_caller]
fn same_disk(nodes: &Nodes, guest: &Vm, vmid: &str, context: &str) {
    let read = |path: &Path| std::fs::read(path).expect("an image");
    let source = read(&nodes.volume(DC, &guest.vmid, "scsi0"));
    assert!(source == read(&nodes.volume(DRC, vmid, "scsi0")), "{context}: the disks differ");
}

fn backups_die(staged: &[&str], steps: &str) {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", SMALL);
    guest.start();
    let foreign = Foreign::new(nodes);
    let source = guest.reference();
    let points = if staged.is_empty() { points } else { before }("backup", steps);
    let args = [&["backup", &source], staged].concat();
    die_everywhere(&drs, &points, &args, |number, deaths| {
        nodes.nothing_left(&[(DC, &guest.vmid)]);
        foreign.untouched(deaths);
        assert!(nodes.runs(DC, &guest.vmid), "{deaths}");
        let made = drs.json(&["point", "list"]).as_array().map(Vec::len);
        assert_eq!(made, Some(number + 1), "{deaths}: each job makes its one point");
        drs.run(&["point", "verify", &drs.newest_job()]).ok();
    });
}

#[test]
fn a_streamed_backup_killed_at_any_point_completes_and_leaves_nothing() {
    backups_die(&[], BACKUP);
}

#[test]
fn a_staged_backup_killed_at_any_point_completes_and_leaves_nothing() {
    backups_die(&["--staged"], BACKUP_STAGED);
}

/// Restores in place of the counterpart before, each killed at later steps.
fn restores_die(staged: &[&str], steps: &str) {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", SMALL);
    let (others, first) = (nodes.vmids(DRC), nodes.fresh_vmid().to_string());
    let target = format!("{DRC}/{first}");
    drs.run(&["pair", "add", "web", "--source", &guest.reference(), "--target", &target]).ok();
    drs.run(&["backup", "web"]).ok();
    drs.run(&["restore", "latest", "--pair", "web", "--start"]).ok();
    let foreign = Foreign::new(nodes);
    let policy = ["--start", "--replace", "destroy-after-proof"];
    let args = [&["restore", "latest", "--pair", "web"], &policy[..], staged].concat();
    let points = if staged.is_empty() { points } else { before }("restore", steps);
    die_everywhere(&drs, &points, &args, |_, deaths| {
        let vmid =
            drs.json(&["pair", "list"])[0]["target_name"].as_str().expect("a number").to_owned();
        assert_eq!(nodes.vmids(DRC).len(), others.len() + 1, "{deaths}: the one before is gone");
        assert!(nodes.runs(DRC, &vmid), "{deaths}");
        same_disk(nodes, &guest, &vmid, deaths);
        nodes.nothing_left(&[(DRC, &vmid)]);
        foreign.untouched(deaths);
    });
    nodes.vmids(DRC).difference(&others).for_each(|vmid| nodes.remove(DRC, vmid));
}

#[test]
fn a_streamed_restore_killed_at_any_point_completes_and_leaves_nothing() {
    restores_die(&[], RESTORE);
}

#[test]
fn a_staged_restore_killed_at_any_point_completes_and_leaves_nothing() {
    restores_die(&["--staged"], RESTORE_STAGED);
}

fn replications_die(staged: &[&str], steps: &str) {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", SMALL);
    let (others, first) = (nodes.vmids(DRC), nodes.fresh_vmid().to_string());
    let target = format!("{DRC}/{first}");
    drs.run(&["pair", "add", "web", "--source", &guest.reference(), "--target", &target]).ok();
    let foreign = Foreign::new(nodes);
    let args = [&["replicate", "web"], staged].concat();
    die_everywhere(&drs, &before("replicate", steps), &args, |_, deaths| {
        let vmid =
            drs.json(&["pair", "list"])[0]["target_name"].as_str().expect("a number").to_owned();
        assert_eq!(nodes.vmids(DRC).len(), others.len() + 1, "{deaths}: the one before is gone");
        assert!(!nodes.runs(DRC, &vmid), "{deaths}");
        same_disk(nodes, &guest, &vmid, deaths);
        nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &vmid)]);
        foreign.untouched(deaths);
    });
    nodes.vmids(DRC).difference(&others).for_each(|vmid| nodes.remove(DRC, vmid));
}

#[test]
fn a_replication_in_one_pass_killed_at_any_point_completes_and_leaves_nothing() {
    replications_die(&[], REPLICATE);
}

#[test]
fn a_staged_replication_killed_at_any_point_completes_and_leaves_nothing() {
    replications_die(&["--staged"], REPLICATE_STAGED);
}
