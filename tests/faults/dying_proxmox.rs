//! What dies on the side of a Proxmox node in the middle of a job: the backup's processes, the connection,
//! the node itself; and disks that are full.

use std::process::{Command, Stdio};

use drs_tests::nodes::{DC, DRC, Nodes, WAYS, installation};
use drs_tests::product::{Installation, binary, wait_for};

/// So slow that there is a middle, of a disk that no buffer holds.
const SLOWLY: [&str; 2] = ["--limit", "8M"];
const LARGE: &[&str] = &["--size", "48M", "--data", "100%"];

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Worker,
    Command,
    Connection,
    Node,
}

const WORKER: &str = "kill -9 $(cat /run/vzdump.pid)";
const COMMAND: &str = "kill -9 $(ps -o ppid= -p $(cat /run/vzdump.pid))";
const CONNECTION: &str = "kill -9 $(pgrep -f '^sshd: root')";

impl Victim {
    #[track_caller]
    fn kill(self, nodes: &Nodes, node: &str) {
        let script = match self {
            Self::Worker => WORKER,
            Self::Command => COMMAND,
            Self::Connection => CONNECTION,
            Self::Node => {
                nodes.run(&["kill", node]);
                nodes.run(&["start", node]);
                return;
            }
        };
        nodes.run(&["enter", node, "sh", "-c", script]);
    }
}

fn submitted(drs: &Installation, args: &[&str]) -> String {
    let job = drs.json(&[args, &SLOWLY, &["--detach"]].concat());
    job["id"].as_str().expect("an id").to_owned()
}

/// Waits until a step of a job has moved something.
#[track_caller]
fn in_the_middle_of(drs: &Installation, job: &str, steps: &[&str]) {
    wait_for("the job is in the middle", || {
        let progress = drs.job(job)["progress"].clone();
        let step = progress["step"].as_str().unwrap_or_default().to_owned();
        let moved = progress["done_bytes"].as_u64().unwrap_or_default() > 0;
        (steps.contains(&step.as_str()) && moved).then_some(())
    });
}

#[test]
fn a_backup_whose_host_side_dies_in_the_middle_completes_and_leaves_the_guest_as_it_was() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", LARGE);
    let server = drs.serve();
    let streamed = [Victim::Worker, Victim::Connection, Victim::Node];
    let staged = [Victim::Worker, Victim::Command, Victim::Node];
    for (way, victims) in WAYS.into_iter().zip([streamed, staged]) {
        for victim in victims {
            nodes.ssh(DC, &["qm", "start", &guest.vmid]);
            let job = submitted(&drs, &[&["backup", &guest.reference()], way].concat());
            wait_for("the dump is under way", || {
                let dumps = nodes.file(DC, "/var/lib/vz/drs");
                let begun = nodes.entry(DC, &guest.vmid, "lock").is_some() && dumps.exists();
                let works = || !nodes.ssh(DC, &["cat", "/run/vzdump.pid"]).is_empty();
                (begun && works()).then_some(())
            });
            if way.is_empty() {
                in_the_middle_of(&drs, &job, &["copy"]);
            }
            victim.kill(nodes, DC);
            assert_eq!(drs.settled(&job), "succeeded", "{way:?} {victim:?}: {}", drs.job(&job));
            drs.run(&["point", "verify", &job]).ok();
            nodes.nothing_left(&[(DC, &guest.vmid)]);
            let off = matches!(victim, Victim::Node);
            assert_eq!(nodes.runs(DC, &guest.vmid), !off, "{way:?} {victim:?}");
        }
    }
    server.terminate();
}

#[test]
fn a_restore_whose_host_side_dies_in_the_middle_completes_and_leaves_nothing_half() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", LARGE);
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    let server = drs.serve();
    for way in WAYS {
        for victim in [Victim::Connection, Victim::Node] {
            let vmid = nodes.fresh_vmid().to_string();
            let to = format!("{DRC}/{vmid}");
            let job = submitted(&drs, &[&["restore", &latest, "--to", &to], way].concat());
            in_the_middle_of(&drs, &job, &["copy", "push"]);
            victim.kill(nodes, DRC);
            assert_eq!(drs.settled(&job), "succeeded", "{way:?} {victim:?}: {}", drs.job(&job));
            nodes.nothing_left(&[(DRC, &vmid)]);
            let read = |node, vmid| std::fs::read(nodes.volume(node, vmid, "scsi0")).expect("it");
            assert!(read(DC, &guest.vmid) == read(DRC, &vmid), "{way:?} {victim:?}");
            nodes.remove(DRC, &vmid);
        }
    }
    server.terminate();
}

#[test]
fn a_dump_folder_that_fills_up_fails_the_backup_and_leaves_nothing() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--data", "100%"]);
    nodes.run(&["fill", DC, "/var/lib/vz/drs", "3"]);
    let finished = drs.run(&["backup", &guest.reference(), "--staged"]);
    let left = nodes.leftovers(DC, &guest.vmid);
    nodes.run(&["unfill", DC, "/var/lib/vz/drs"]);
    finished.fails(12, &["No space left on device"]);
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(drs.json(&["point", "list"]).as_array().map(Vec::len), Some(0));
}

/// A script because the small file system lies in a mount namespace of its own.
const FULL_SPOOL: &str = r#"
set -eu
drs=$1 dir=$2 address=$3 key=$4 fingerprint=$5 vm=$6
"$drs" --data-dir "$dir/data" init >/dev/null
"$drs" --data-dir "$dir/data" host add dc --driver proxmox --site dc --address "$address" --key "$key" --accept-key "$fingerprint" >/dev/null
mkdir -p "$dir/data/spool"
mount -t tmpfs -o size=2m small "$dir/data/spool"
code=0
"$drs" --data-dir "$dir/data" backup "$vm" --staged || code=$?
echo "code $code"
echo "points $("$drs" --data-dir "$dir/data" --json point list)"
find "$dir/data/spool" -type f
"#;

#[test]
fn a_spool_that_fills_up_fails_the_backup_and_leaves_nothing() {
    let (nodes, _, _turn) = installation();
    let guest = nodes.guest("boot", &["--data", "100%"]);
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", FULL_SPOOL, "sh"])
        .arg(binary())
        .arg(dir.path())
        .args([nodes.of_node("ADDR", DC), nodes.value("KEY_FILE")])
        .args([nodes.of_node("FINGERPRINT", DC), &guest.reference()])
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("code 12"), "{stdout}\n{stderr}");
    assert!(stdout.trim_end().ends_with("points []"), "a point or leavings: {stdout}");
    nodes.nothing_left(&[(DC, &guest.vmid)]);
}
