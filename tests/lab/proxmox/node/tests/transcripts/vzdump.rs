//! vzdump: success, refusal, failure, crash.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use super::scratch::{Ended, Scratch, ended, same, same_lines, told};

#[test]
fn parameters_are_refused() {
    let node = Scratch::new();
    for name in [
        "vzdump-bad-compress",
        "vzdump-badvmid",
        "vzdump-no-vmid",
        "vzdump-stdout-two",
        "vzdump-stdout-storage",
        "vzdump-missing-dumpdir",
        "vzdump-missing-storage",
        "vzdump-missing-vm",
        "vzdump-other-node",
        "vzdump-stop-flag",
    ] {
        node.holds(name);
    }
}

#[test]
fn a_vm_of_another_node_is_passed_over_in_silence() {
    let node = Scratch::new();
    fs::create_dir_all(node.file("etc/pve/nodes/pve2/qemu-server")).expect("a folder");
    let conf = |name: &str| node.file(format!("etc/pve/nodes/{name}/qemu-server/112.conf"));
    fs::rename(conf("pve1"), conf("pve2")).expect("moved");
    let ended = node.run(&["vzdump", "112", "--storage", "local"]);
    assert_eq!((ended.code, ended.out().as_str(), ended.stderr.as_str()), (0, "", ""));
    assert!(node.dump().is_empty());
}

#[test]
fn a_stopped_vm() {
    let node = Scratch::new();
    node.holds("vzdump-stopped-zstd");
    let names = node.dump();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].ends_with(".log") && names[1].ends_with(".vma.zst"), "{names:?}");
    let log = node.read(&format!("var/lib/vz/dump/{}", names[0]));
    assert!(log.lines().all(|line| line.contains(" INFO: ")), "{log}");
    assert!(!log.contains("Backup started at") && log.contains("archive file size"), "{log}");
    assert!(!node.config(112).contains("lock:"));
}

#[test]
fn a_running_vm_with_notes_and_protection() {
    let node = Scratch::new();
    node.switch_on(112);
    let notes = "{{guestname}} on {{node}} ({{cluster}}, {{vmid}})";
    let argv = ["vzdump", "112", "--mode", "snapshot", "--compress", "gzip", "--storage", "local"];
    let argv = [&argv[..], &["--notes-template", notes, "--protected", "1"]].concat();
    node.holds_as("vzdump-running-gzip", &argv);
    let archive = node.archive(".vma.gz");
    assert_eq!(node.read(&format!("{}.notes", archive)), "web-112 on pve1 (standalone node, 112)");
    assert!(node.file(format!("{}.protected", archive)).exists());
}

#[test]
fn standard_output_carries_the_archive_and_standard_error_the_log() {
    let node = Scratch::new();
    node.switch_on(112);
    for (name, magic) in [
        ("vzdump-stdout", &b"VMA\0\0\0\0\x01"[..]),
        ("vzdump-stdout-zstd-quiet", &[0x28, 0xb5, 0x2f, 0xfd][..]),
    ] {
        let mut told = told(name);
        let argv: Vec<&str> = told.argv.iter().map(String::as_str).collect();
        let mut ended = node.run(&argv);
        assert!(ended.stdout.starts_with(magic), "{name}");
        told.stdout.clear();
        ended.stdout.clear();
        same(name, &told, &ended);
    }
}

#[test]
fn paused_template_and_diskless_vms() {
    let node = Scratch::new();
    node.switch_on(112);
    node.write("run/qemu-server/112.paused", "");
    let config = node.config(112).replace("name: web-112", "name: web-112-dr");
    node.vm(112, &format!("{config}\n[PENDING]\nmemory: 96\n"));
    node.holds("vzdump-paused");

    let node = Scratch::new();
    let config = node.config(112).replace("name: web-112", "name: web-112-dr");
    node.vm(112, &config.replace("vm-112", "base-112"));
    for folder in ["var/lib/vz", "srv/nfs-dr"] {
        let folder = node.file(format!("{folder}/images/112"));
        for entry in fs::read_dir(folder).expect("the images") {
            let path = entry.expect("an entry").path();
            let base = path.to_string_lossy().replace("vm-112", "base-112");
            fs::rename(&path, base).expect("renamed");
        }
    }
    node.holds("vzdump-template");

    let node = Scratch::new();
    fs::remove_file(node.file("etc/pve/nodes/pve1/qemu-server/130.conf")).expect("removed");
    node.holds("vzdump-all-excl");
}

#[test]
fn a_locked_vm_is_refused() {
    let node = Scratch::new();
    node.switch_on(112);
    node.vm(112, &format!("{}lock: backup\n", node.config(112)));
    node.holds("vzdump-locked");
    assert!(node.config(112).contains("lock: backup"));
}

/// Holds the node's lock until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(node: &Scratch) -> Self {
        let mut child = Command::new("flock")
            .arg(node.file("run/vzdump.lock"))
            .args(["sh", "-c", "echo held; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("flock runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("a line");
        Self(child)
    }

    fn release(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
    }
}

#[test]
fn the_lock_of_the_node_is_waited_for_or_not() {
    let node = Scratch::new();
    let holder = Holder::new(&node);
    node.holds("vzdump-lockwait0");
    let told = told("vzdump-lockwait1");
    let argv: Vec<&str> = told.argv.iter().map(String::as_str).collect();
    let mut child = node.command(&argv).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut said = String::new();
    out.read_line(&mut said).expect("a line");
    assert!(said.contains("waiting..."), "{said}");
    holder.release();
    out.read_to_string(&mut said).expect("the rest");
    let mut whole = ended(child.wait_with_output().expect("it ends"));
    whole.stdout = said.into_bytes();
    same("vzdump-lockwait1", &told, &whole);
}

#[test]
fn retention_prunes_or_refuses() {
    let node = Scratch::new();
    node.switch_on(112);
    let dump = "var/lib/vz/dump/vzdump-qemu-112";
    for name in [
        "2024_01_01-00_00_00.vma.zst",
        "2026_11_22-01_50_08.vma.zst",
        "2026_11_22-01_50_17.vma.gz",
        "2026_11_22-01_50_33.vma.lzo",
        "2026_11_22-01_59_31.vma.zst",
        "2026_11_22-01_59_34.vma.zst",
    ] {
        // All before now, whenever that is: what counts is that the last is kept.
        node.write(&format!("{dump}-{}", name.replace("2026", "2024")), "archive");
    }
    node.write(&format!("{dump}-2024_11_22-01_50_17.vma.gz.protected"), "");
    node.holds("vzdump-prune");
    let left: Vec<String> = node.dump().into_iter().filter(|n| n.contains(".vma")).collect();
    assert_eq!(left.len(), 4, "one protected with its mark, two kept: {left:?}");
    node.holds("vzdump-keep-noremove");
}

#[test]
fn hooks_are_called_and_may_fail() {
    let node = Scratch::new();
    node.switch_on(112);
    let hook = |name: &str, text: &str| {
        node.write(name, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(node.file(name), mode).expect("executable");
    };
    let print = "#!/bin/sh\necho \"HOOK: $*\"\nprintf '%s' \"DUMPDIR=$DUMPDIR;\"\n\
                 [ -z \"$HOSTNAME\" ] || printf '%s' \"HOSTNAME=$HOSTNAME;LOGFILE=$LOGFILE;TARGET=$TARGET;VMTYPE=$VMTYPE;\"\n\
                 echo\n";
    hook("root/hook.sh", print);
    node.holds("vzdump-hook");
    hook("root/hookfail.sh", "#!/bin/sh\n[ \"$1\" != backup-end ] || exit 3\n");
    // Names have a resolution of one second.
    fs::remove_file(node.file(node.archive(".vma"))).expect("removed");
    node.holds("vzdump-hook-fails");
    assert!(node.archive(".vma").contains("112"), "the archive is complete all the same");
}

/// A slow backup of VM 130 whose lines are read until it copies.
fn slow(node: &Scratch, argv: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, String) {
    node.switch_on(130);
    let mut child = node.command(argv).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut said = String::new();
    while !said.contains("resuming VM again") {
        assert!(out.read_line(&mut said).expect("a line") > 0, "{said}");
    }
    (child, out, said)
}

fn finish(
    (child, mut out, mut said): (Child, BufReader<std::process::ChildStdout>, String),
) -> Ended {
    out.read_to_string(&mut said).expect("the rest");
    let mut whole = ended(child.wait_with_output().expect("it ends"));
    whole.stdout = said.into_bytes();
    whole
}

const SLOW: [&str; 6] = ["vzdump", "130", "--dumpdir", "/var/lib/vz/dump", "--bwlimit", "3000"];

#[test]
fn sigterm_ends_a_backup_and_leaves_only_the_log() {
    let node = Scratch::new();
    let running = slow(&node, &SLOW);
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let ended = finish(running);
    same_lines("vzdump-sigterm", &ended);
    assert_eq!(ended.code, 255);
    assert!(node.dump().iter().all(|name| name.ends_with(".log")), "{:?}", node.dump());
    assert!(!node.config(130).contains("lock"));
}

#[test]
fn a_killed_worker_leaves_lock_and_files_and_the_next_run_says_so() {
    let node = Scratch::new();
    let running = slow(&node, &SLOW);
    let pid = node.read("run/vzdump.pid");
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs").success());
    let ended = finish(running);
    same_lines("vzdump-worker-sigkill", &ended);
    assert_eq!(ended.code, 255);
    let left = node.dump();
    assert!(left.iter().any(|name| name.ends_with(".dat")), "{left:?}");
    assert!(left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
    assert!(node.config(130).contains("lock: backup"));
    assert_eq!(node.run(&["qm", "unlock", "130"]).code, 0);
    node.holds("vzdump-after-crash");
}

#[test]
fn a_killed_command_makes_its_worker_clean_up() {
    let node = Scratch::new();
    let mut running =
        slow(&node, &["vzdump", "130", "--dumpdir", "/var/lib/vz/dump", "--bwlimit", "12000"]);
    running.0.kill().expect("killed");
    running.0.wait().expect("it ends");
    drop(running.1);
    for _ in 0..1000 {
        if !node.config(130).contains("lock") {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!node.config(130).contains("lock"));
    assert!(!node.dump().iter().any(|name| name.ends_with(".vma")), "{:?}", node.dump());
}

#[test]
fn a_consumer_that_goes_away_ends_the_backup() {
    let node = Scratch::new();
    node.switch_on(130);
    let argv = ["vzdump", "130", "--stdout", "--dumpdir", "/var/lib/vz/dump", "--bwlimit", "6000"];
    let mut child = node.command(&argv).spawn().expect("it starts");
    let mut archive = child.stdout.take().expect("its output");
    archive.read_exact(&mut [0; 500_000]).expect("half a megabyte");
    drop(archive);
    let ended = ended(child.wait_with_output().expect("it ends"));
    same_lines("vzdump-stdout-broken-pipe", &ended);
    assert_eq!(ended.code, 255);
    assert!(!node.config(130).contains("lock"));
}

#[test]
fn a_bandwidth_limit_shows_in_the_progress() {
    let node = Scratch::new();
    node.switch_on(130);
    let mut told = told("vzdump-live-stdout");
    told.stdout.clear();
    let argv = ["vzdump", "130", "--stdout", "--dumpdir", "/var/lib/vz/dump", "--bwlimit", "20000"];
    let mut ended = node.run(&argv);
    assert!(ended.stderr.contains("INFO:  8"), "a line after 3 s: {}", ended.stderr);
    ended.stdout.clear();
    same("vzdump-live-stdout", &told, &ended);
}

#[test]
fn stop_mode_waits_for_the_guest() {
    let node = Scratch::new();
    node.switch_on(112);
    node.holds("vzdump-stop-stopwait0");
}

#[test]
fn containers() {
    let node = Scratch::new();
    node.containers();
    node.holds("vzdump-lxc-stopped");
    let argv = ["vzdump", "201", "--compress", "gzip", "--storage", "local"];
    let excludes = ["--exclude-path", "/home/app/sym", "--exclude-path", "*.bin"];
    node.holds_as("vzdump-lxc-unpriv", &[&argv[..], &excludes].concat());
    let listing = Command::new("tar")
        .arg("-tf")
        .arg(node.file(node.archive(".tar.gz")))
        .output()
        .expect("tar runs");
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    let first: Vec<&str> = names.lines().take(3).collect();
    assert_eq!(first, ["./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "./"]);
    assert!(
        !names.contains("sym") && !names.contains(".bin") && names.contains("a.txt"),
        "{names}"
    );

    let mut told = told("vzdump-lxc-stdout");
    told.stdout.clear();
    let mut ended = node.run(&["vzdump", "200", "--stdout", "--dumpdir", "/var/lib/vz/dump"]);
    assert_eq!(ended.stdout.get(257..262), Some(&b"ustar"[..]));
    ended.stdout.clear();
    same("vzdump-lxc-stdout", &told, &ended);
}
