//! The scripts themselves, on a node whose `vzdump`, `qm`, `pct` and `pvesh` do what a test tells them to:
//! how they end when they are killed, and what somebody else does meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::FlockOperation;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::super::{EXPORT, Place};
use crate::proxmox::dump::DUMP;
use drs_transport::Argv;

const JOB: &str = "0192f0c1-0000-7000-8000-000000000001";

/// What a command of the node does: notes the call, then does what the file of its name says.
const COMMAND: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"$STUB/calls"
[ ! -f "$STUB/${0##*/}" ] || . "$STUB/${0##*/}"
"#;
/// `qm`: the configuration is a file, and what else is asked for another one.
const QM: &str = r#"
case $1 in
config) [ -f "$STUB/112.conf" ] && cat "$STUB/112.conf" && exit 0
    echo "Configuration file 'nodes/dc/qemu-server/112.conf' does not exist" >&2; exit 2 ;;
unlock) sed -i /^lock:/d "$STUB/112.conf" ;;
status) cat "$STUB/status" ;;
guest) [ ! -f "$STUB/mute" ] || { echo 'QEMU guest agent is not running' >&2; exit 2; } ;;
esac
"#;
const PCT: &str = r#"
[ "$1" != config ] || { echo "Configuration file 'nodes/dc/lxc/112.conf' does not exist" >&2; exit 2; }
"#;
/// As vzdump begins with a guest that runs.
const BEGINS: &str = r#"
echo 'lock: backup' >>"$STUB/112.conf"
echo 'INFO: Starting Backup of VM 112 (qemu)' >&2
echo 'INFO: status = running' >&2
"#;
/// As vzdump goes on, until it is asked to end; its worker notices nothing.
const GOES_ON: &str = r#"
touch "$STUB/began"
trap 'sed -i /^lock:/d "$STUB/112.conf"; echo "ERROR: Backup of VM 112 failed - interrupted by signal" >&2; exit 255' TERM
while [ -d "$STUB" ]; do sleep 0.02; done
"#;
const DIES: &str = "kill -s KILL $$";

/// A node with one guest, 112, which runs.
struct StubNode {
    folder: TempDir,
}

impl StubNode {
    fn new() -> Self {
        let node = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(node.path("bin")).expect("a folder");
        for (name, text) in [
            ("vzdump", COMMAND),
            ("qm", COMMAND),
            ("pct", COMMAND),
            ("pvesh", COMMAND),
            ("id", "#!/bin/sh\necho 1000\n"),
            ("zstd", "#!/bin/sh\nshift 4\nexec cat \"$@\"\n"),
        ] {
            let program = node.path("bin").join(name);
            fs::write(&program, text).expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        for (name, text) in [
            ("qm", QM),
            ("pct", PCT),
            ("112.conf", "memory: 64\n"),
            ("status", "status: running\n"),
        ] {
            node.file(name, text);
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Whether a command was called with these words.
    fn called(&self, words: &str) -> bool {
        self.read("calls").lines().any(|call| call.contains(words))
    }

    fn is_locked(&self) -> bool {
        self.read("112.conf").contains("lock:")
    }

    fn has_folder(&self) -> bool {
        self.path(&format!("dump/{JOB}")).exists()
    }

    fn call(&self, script: &str, command: &str, args: &[&str]) -> Command {
        let (folder, lock) = (self.text(&format!("dump/{JOB}")), self.text("vzdump.lock"));
        let place = Place { job: JOB, vmid: "112", folder: &folder, lock: &lock };
        let argv: Argv = place.call(script, "drs-test", command).args(args.iter().copied());
        let mut command = Command::new("sh");
        command.args(["-c", r#"PATH="$STUB/bin:$PATH" exec "$@""#, "sh"]).args(argv.parts());
        command.env("XDG_RUNTIME_DIR", self.text("run")).env("STUB", self.text(""));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Exit code and everything printed.
    async fn run(&self, script: &str, command: &str, args: &[&str]) -> (i32, String) {
        let output = self.call(script, command, args).output().await.expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    }

    async fn close(&self) -> (i32, String) {
        self.run(EXPORT, "close", &["any"]).await
    }

    /// A stream whose vzdump does this.
    async fn stream(&self, does: &str) -> (i32, String) {
        self.file("vzdump", does);
        self.run(EXPORT, "stream", &["1.1"]).await
    }

    /// A stream whose vzdump was killed behind these words.
    async fn killed(&self, says: &str) {
        let says: String = says.lines().map(|line| format!("echo \"{line}\" >&2\n")).collect();
        let (code, text) = self.stream(&format!("{BEGINS}{says}{DIES}")).await;
        assert_eq!(code, -1, "{text}");
        assert!(self.is_locked() && self.has_folder());
    }

    /// Somebody else's vzdump, which ends with the value that is returned.
    fn foreign(&self) -> Child {
        let mut command = Command::new("flock");
        command.arg(self.text("vzdump.lock")).args(["sh", "-c", "echo has it; sleep 600"]);
        command.stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let child = command.spawn().expect("flock");
        let lock = self.path("vzdump.lock");
        let free = || {
            let file = fs::File::open(&lock).expect("a file");
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        while !lock.exists() || free() {
            std::thread::yield_now();
        }
        child
    }
}

/// Ends a foreign vzdump with all that it started.
async fn end(mut child: Child) {
    let group = format!("-{}", child.id().expect("it lives"));
    Command::new("kill").args(["-s", "KILL", "--", &group]).status().await.expect("kill");
    child.wait().await.expect("an end");
}

/// Waits until a file is there, at most 20 s.
async fn appears(file: PathBuf) {
    let seen = async {
        while !file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.expect("it appears");
}

#[tokio::test]
async fn trap_03_trap_04_vzdump_is_told_to_prune_nothing_and_to_stay_in_our_folder() {
    let node = StubNode::new();
    let (code, text) = node.stream("echo archive; echo 'INFO: a line' >&2").await;
    assert_eq!((code, text.as_str()), (0, "archive\n"), "the log is not in the archive");
    let folder = node.text(&format!("dump/{JOB}"));
    assert_eq!(node.read(&format!("dump/{JOB}/output")), "INFO: a line\n");
    let (code, text) = node.run(EXPORT, "watch", &["qemu", "1"]).await;
    assert!(code == 0 && text.ends_with("LOG\nINFO: a line\n"), "{text}");
    assert_eq!(node.run(DUMP, "dump", &["1.2", "6144"]).await.0, 0);
    let calls = node.read("calls");
    let calls: Vec<&str> = calls.lines().filter(|call| call.starts_with("vzdump")).collect();
    let common = format!(
        "vzdump 112 --mode snapshot --dumpdir {folder} --tmpdir {folder} --prune-backups keep-all=1 --lockwait 0"
    );
    assert_eq!(calls[0], format!("{common} --compress 0 --stdout"));
    assert_eq!(calls[1], format!("{common} --bwlimit 6144 --compress zstd"));
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.has_folder() && node.close().await.0 == 0);
}

#[tokio::test]
async fn trap_11_only_a_lock_that_our_killed_vzdump_left_is_taken_away() {
    let node = StubNode::new();
    node.killed("").await;
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.is_locked() && !node.has_folder());

    for (why, vzdump, unlocked) in [
        (
            "it cleaned up itself",
            format!("{BEGINS}echo 'ERROR: Backup of VM 112 failed - x' >&2"),
            false,
        ),
        (
            "it went well",
            format!("{BEGINS}echo 'INFO: Finished Backup of VM 112 (00:00:01)' >&2"),
            false,
        ),
        (
            "it never began",
            "echo \"ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)\" >&2".into(),
            false,
        ),
        (
            "another guest was begun",
            "echo 'INFO: Starting Backup of VM 1120 (qemu)' >&2".into(),
            false,
        ),
        ("it was killed", format!("{BEGINS}{DIES}"), true),
    ] {
        let node = StubNode::new();
        node.stream(&vzdump).await;
        // A lock that is there now is somebody else's, but for the last.
        node.file("112.conf", "memory: 64\nlock: backup\n");
        assert_eq!(node.close().await, (0, String::new()), "{why}");
        assert_eq!((node.is_locked(), node.has_folder()), (!unlocked, false), "{why}");
        // Without any mark nothing is looked at.
        assert_eq!(node.close().await, (0, String::new()), "{why}");
    }
    let node = StubNode::new();
    node.killed("").await;
    node.file("112.conf", "lock: migrate\n");
    assert_eq!(node.close().await.0, 0);
    assert!(node.is_locked(), "another lock is not ours");
}

#[tokio::test]
async fn after_a_power_cut_the_mark_tells_of_the_lock() {
    for (boot, unlocked) in [("another-boot", true), ("", false)] {
        let node = StubNode::new();
        node.file("112.conf", "lock: backup\n");
        let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
        let boot = if boot.is_empty() { this.trim() } else { boot };
        node.file(&format!("dump/{JOB}/export"), &format!("112 {boot} 1795312118000\n"));
        assert_eq!(node.close().await.0, 0);
        assert_eq!((node.is_locked(), node.has_folder()), (!unlocked, false), "{boot}");
    }
}

#[tokio::test]
async fn a_lock_stays_while_another_backup_may_be_at_the_guest() {
    let task = |id: &str| {
        format!(
            r#"echo '[{{"id":"{id}","node":"dc","type":"vzdump","upid":"UPID:dc:1:2:3:vzdump:{id}:root@pam:"}},{{"id":"112","type":"qmstart","upid":"x"}}]'"#
        )
    };
    let node = StubNode::new();
    node.killed("").await;
    let foreign = node.foreign();
    for tasks in [task("112"), task(""), "exit 1".into(), "echo '[]'".into()] {
        node.file("pvesh", &tasks);
        let (code, text) = node.close().await;
        assert_eq!(code, 21, "{tasks}: {text}");
        assert!(node.is_locked() && node.has_folder(), "{tasks}");
    }
    // It is at another guest.
    node.file("pvesh", &task("113"));
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.is_locked() && !node.has_folder());
    end(foreign).await;
}

#[tokio::test]
async fn a_node_that_dumps_for_somebody_else_is_busy_and_left_alone() {
    let node = StubNode::new();
    let foreign = node.foreign();
    let (code, text) = node.stream("echo archive").await;
    assert_eq!(code, 21, "{text}");
    assert!(text.contains("another backup runs on this node") && !node.called("vzdump"), "{text}");
    assert_eq!(node.run(EXPORT, "admit", &[]).await.0, 21);
    assert_eq!(node.run(DUMP, "dump", &["1.2", ""]).await.0, 21);
    end(foreign).await;
    assert_eq!(node.run(EXPORT, "admit", &[]).await, (0, String::new()));
}

#[tokio::test]
async fn a_guest_that_a_killed_vzdump_had_frozen_is_thawed() {
    let node = StubNode::new();
    node.killed("INFO: issuing guest-agent 'fs-freeze' command").await;
    node.file("mute", "");
    let (code, text) = node.close().await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot thaw the guest: QEMU guest agent is not running"), "{text}");
    assert!(node.has_folder(), "the next close tries again");
    fs::remove_file(node.path("mute")).expect("a file");
    assert_eq!(node.close().await, (0, String::new()));
    assert!(node.called("qm guest cmd 112 fsfreeze-thaw") && !node.is_locked());

    for (says, status) in [
        (
            "INFO: issuing guest-agent 'fs-freeze' command\nINFO: issuing guest-agent 'fs-thaw' command",
            "running",
        ),
        ("INFO: issuing guest-agent 'fs-freeze' command", "stopped"),
        ("", "running"),
    ] {
        let node = StubNode::new();
        node.file("status", &format!("status: {status}\n"));
        node.killed(says).await;
        assert_eq!(node.close().await, (0, String::new()), "{says}");
        assert!(!node.called("fsfreeze-thaw"), "{says} {status}");
    }
}

#[tokio::test]
async fn a_container_that_a_killed_vzdump_had_suspended_is_resumed() {
    for (says, status, resumed) in [
        ("INFO: suspending guest", "running", true),
        ("INFO: suspending guest\nINFO: final sync", "running", true),
        ("INFO: suspending guest\nINFO: resuming guest", "running", false),
        ("INFO: suspending guest\nINFO: guest is online again after 3 seconds", "running", false),
        ("INFO: suspending guest", "stopped", false),
        ("INFO: starting first sync", "running", false),
    ] {
        let node = StubNode::new();
        node.file("qm", &PCT.replace("lxc", "qemu-server"));
        node.file("pct", QM);
        node.file("status", &format!("status: {status}\n"));
        node.killed(says).await;
        assert_eq!(node.close().await, (0, String::new()), "{says}");
        assert_eq!(node.called("pct resume 112"), resumed, "{says} {status}");
        let calls = node.read("calls");
        let at = |call: &str| calls.lines().position(|line| line == call);
        assert!(!resumed || at("pct unlock 112") < at("pct resume 112"), "{calls}");
    }
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_of_a_vzdump_that_never_began() {
    for mark in ["", "\n", "112", "112 another-boot\n", "113 another-boot 1\n"] {
        let node = StubNode::new();
        node.file("112.conf", "lock: backup\n");
        node.file(&format!("dump/{JOB}/export"), mark);
        assert_eq!(node.close().await, (0, String::new()), "{mark:?}");
        assert_eq!((node.is_locked(), node.has_folder()), (true, false), "{mark:?}");
    }
}

#[tokio::test]
async fn a_kvm_that_ran_for_the_backup_only_is_stopped() {
    for (status, stopped) in [("prelaunch", true), ("running", false)] {
        let node = StubNode::new();
        node.file("status", &format!("qmpstatus: {status}\nstatus: running\n"));
        node.killed("INFO: starting kvm to execute backup task").await;
        assert_eq!(node.close().await, (0, String::new()), "{status}");
        assert_eq!(node.called("qm stop 112"), stopped, "{status}");
    }
}

#[tokio::test]
async fn a_proxmox_that_does_not_answer_says_nothing_of_the_guest() {
    let node = StubNode::new();
    node.killed("").await;
    let answers = node.read("qm");
    node.file("qm", "echo 'ipcc_send_rec failed: Connection refused' >&2; exit 111");
    let (code, text) = node.close().await;
    assert_eq!(code, 21, "{text}");
    assert!(node.has_folder() && text.contains("Connection refused"), "{text}");
    node.file("qm", &answers);
    fs::remove_file(node.path("112.conf")).expect("a file");
    // The guest was destroyed meanwhile: there is nothing to unlock.
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.has_folder());
}

#[tokio::test]
async fn a_vzdump_that_lives_is_ended_and_cleans_up_itself() {
    let node = StubNode::new();
    node.file("vzdump", &format!("{BEGINS}{GOES_ON}"));
    let mut running = node.call(EXPORT, "stream", &["1.1"]).spawn().expect("a shell");
    appears(node.path("began")).await;
    assert_eq!(node.close().await, (0, String::new()));
    assert_eq!(running.wait().await.expect("an end").code(), Some(255));
    assert!(!node.is_locked() && !node.has_folder() && !node.called("qm unlock"));
    // A stream that comes behind its close is not opened.
    assert_eq!(node.run(EXPORT, "close", &["1.5"]).await.0, 0);
    let (code, text) = node.run(EXPORT, "stream", &["1.4"]).await;
    assert!(code == 21 && text.contains("newer command"), "{text}");
}

#[tokio::test]
async fn a_worker_that_was_left_alone_is_ended_too() {
    let node = StubNode::new();
    // The command dies, its worker goes on in a session of its own and ignores what it is asked.
    let worker = "setsid sh -c 'trap \"\" TERM; touch \"$STUB/began\"; while [ -d \"$STUB\" ]; do sleep 0.02; done' &";
    let wait = "until [ -e \"$STUB/began\" ]; do sleep 0.02; done";
    node.file("bin/sleep", "#!/bin/sh\nexec /bin/sleep 0.002\n");
    fs::set_permissions(node.path("bin/sleep"), fs::Permissions::from_mode(0o755)).expect("it");
    node.file("vzdump", &format!("{BEGINS}{worker}\n{wait}\n{DIES}"));
    let mut command = node.call(EXPORT, "stream", &["1.1"]);
    command.stdout(Stdio::null());
    command.status().await.expect("a shell");
    assert!(node.is_locked());
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.is_locked() && !node.has_folder());
}

#[tokio::test]
async fn what_an_older_job_left_at_the_guest_goes_and_what_is_not_ours_stays() {
    let node = StubNode::new();
    let other = "dump/0192f0c1-0000-7000-8000-00000000000a";
    node.file(&format!("{other}/export"), "112 another-boot 1\n");
    node.file(&format!("{other}/vzdump-qemu-112-x.vma.dat"), "");
    let stays = [
        node.file("dump/0192f0c1-0000-7000-8000-00000000000b/export", "113 another-boot 1\n"),
        node.file("dump/0192f0c1-0000-7000-8000-00000000000c/loaded.vma", ""),
        node.file("dump/vzdump-qemu-112-2026_11_22-01_48_38.vma.zst", ""),
        node.file("dump/vzdump-qemu-112-2026_11_22-01_48_38.log", ""),
    ];
    node.file("112.conf", "lock: backup\n");
    assert_eq!(node.stream("echo archive").await.0, 0);
    assert!(!node.path(other).exists() && !node.is_locked());
    assert_eq!(node.close().await.0, 0);
    assert!(stays.iter().all(|file| file.exists()), "{stays:?}");
}

/// As vzdump dumps into a file; what it does then.
fn dump_into(node: &StubNode, then: &str) -> String {
    let archive = node.text(&format!("dump/{JOB}/vzdump-qemu-112-2026_11_22-01_48_38.vma.zst"));
    format!(
        "echo 'INFO: Starting Backup of VM 112 (qemu)'\necho bytes >{archive}\n\
        echo \"INFO: creating vzdump archive '{archive}'\"\n\
        echo 'INFO: transferred 68.00 MiB in 14 seconds (4.9 MiB/s)'\n{then}"
    )
}

#[tokio::test]
async fn a_dump_that_cannot_find_room_is_not_begun() {
    let node = StubNode::new();
    node.file("bin/df", "#!/bin/sh\necho Avail; cat \"$STUB/free\"\n");
    fs::set_permissions(node.path("bin/df"), fs::Permissions::from_mode(0o755)).expect("it");
    // 10 GiB of disks: 2 GiB must be free.
    for (free, code) in [("2147483648", 0), ("2147483647", 1)] {
        node.file("free", free);
        let (got, text) = node.run(DUMP, "room", &["10737418240"]).await;
        assert_eq!(got, code, "{text}");
        assert!(code == 0 || text.contains("No space left on device"), "{text}");
    }
    node.file("free", "9000000000000");
    let place = Place { job: JOB, vmid: "112", folder: "/mnt/pve/drs-none/drs/x", lock: "/x" };
    let argv: Argv = place.call(DUMP, "drs-test", "room").arg("1");
    let output = Command::new(&argv.parts()[0]).args(&argv.parts()[1..]).output().await;
    let output = output.expect("a shell");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("nothing is mounted at /mnt/pve/drs-none"), "{text}");
}

#[tokio::test]
async fn trap_19_a_dump_that_is_complete_is_no_failure() {
    for (then, code) in [
        ("echo 'INFO: archive file size: 13KB'; echo 'INFO: Finished Backup of VM 112 (1)'", 0),
        (
            "echo 'INFO: archive file size: 13KB'; echo 'ERROR: Backup of VM 112 failed - x'; exit 25",
            0,
        ),
        ("echo 'ERROR: Backup of VM 112 failed - x'; exit 25", 25),
    ] {
        let node = StubNode::new();
        node.file("vzdump", &dump_into(&node, then));
        let (got, text) = node.run(DUMP, "dump", &["1.1", ""]).await;
        assert_eq!(got, code, "{text}");
        assert!(text.contains("INFO: creating vzdump archive"), "the log is told: {text}");
        let (_, report) = node.run(DUMP, "report", &[]).await;
        assert!(report.contains("FILE 6 vzdump-qemu-112-2026_11_22-01_48_38.vma.zst"), "{report}");
        let name = "vzdump-qemu-112-2026_11_22-01_48_38.vma.zst";
        assert_eq!(node.run(DUMP, "head", &[name, "4"]).await.1, "byte");
    }
}

#[tokio::test]
async fn a_dump_that_is_cancelled_waits_until_vzdump_has_cleaned_up() {
    let node = StubNode::new();
    let slow = GOES_ON.replace("trap '", "trap '/bin/sleep 0.3; ");
    node.file("vzdump", &format!("{BEGINS}{slow}"));
    let mut command = node.call(DUMP, "dump", &["1.1", ""]);
    command.process_group(0).stdout(Stdio::null());
    let mut dump = command.spawn().expect("a shell");
    appears(node.path("began")).await;
    let group = format!("-{}", dump.id().expect("it lives"));
    Command::new("kill").args(["-s", "TERM", "--", &group]).status().await.expect("kill");
    assert_eq!(dump.wait().await.expect("an end").code(), Some(255));
    assert!(!node.is_locked(), "vzdump has ended before");
    assert_eq!(node.close().await, (0, String::new()));
    assert!(!node.called("qm unlock"));
}
