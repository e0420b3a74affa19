//! The script itself, on a node whose commands do what a test tells them to: how Proxmox's tools fail
//! cannot be had from tools that work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use drs_model::{FencingToken, Grip, JobId};
use drs_transport::Argv;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{Places, unordered};

const MACHINE: &str = "memory: 64\nname: web\nsmbios1: uuid=6a8c\nvmgenid: aaaa\n";
const IDENTITY: [&str; 2] = ["name: web", "uuid=6A8C"];

/// Notes the call, then does what the file of that command says; else nothing.
const STUB: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"$STUB/calls"
[ ! -f "$STUB/${0##*/}-$1" ] || . "$STUB/${0##*/}-$1"
[ ! -f "$STUB/${0##*/}" ] || . "$STUB/${0##*/}"
"#;
const DESTROYS: &str = r#"rm "$STUB/pve/nodes/pve1/qemu-server/$2.conf""#;

/// Node `pve1` of a cluster with `pve2`.
struct StubNode {
    folder: TempDir,
}

impl StubNode {
    fn new() -> Self {
        let node = Self { folder: tempfile::tempdir().expect("a folder") };
        for folder in ["bin", "run", "pve/nodes/pve1/qemu-server", "pve/nodes/pve2/qemu-server"] {
            fs::create_dir_all(node.path(folder)).expect("a folder");
        }
        let tools = ["qm", "pct", "qmrestore", "pvesm", "pvesh"].map(|name| (name, STUB));
        let others =
            [("uname", "#!/bin/sh\necho pve1.example.org\n"), ("id", "#!/bin/sh\necho 1000\n")];
        for (name, text) in tools.into_iter().chain(others) {
            let program = node.path("bin").join(name);
            fs::write(&program, text).expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        node.does("qm-status", "echo 'status: stopped'");
        node.does("qm-destroy", DESTROYS);
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// What a command does from now on.
    fn does(&self, command: &str, script: &str) {
        fs::write(self.path(command), script).expect("a script");
    }

    fn config(&self, node: &str) -> PathBuf {
        self.path(&format!("pve/nodes/{node}/qemu-server/118.conf"))
    }

    fn has(&self, config: &str) {
        fs::write(self.config("pve1"), config).expect("a configuration");
    }

    /// What the restore leaves, and how it ends.
    fn restores(&self, config: &str, end: &str) {
        fs::write(self.path("restored"), config).expect("a configuration");
        let place = self.config("pve1");
        self.does("qmrestore", &format!("cat \"$STUB/restored\" >{}; {end}", place.display()));
    }

    fn called(&self, words: &str) -> bool {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().any(|call| call.contains(words))
    }

    fn record(&self) -> String {
        fs::read_to_string(self.path("state/imports/118")).unwrap_or_default().trim().to_owned()
    }

    fn call(&self, verb: &str, job: &str) -> Argv {
        let grip = Grip {
            job: JobId::from_key(job),
            fence: FencingToken(1),
            vm: "dc2/118".parse().expect("a VM"),
        };
        let (pve, state, folder) = (self.text("pve"), self.text("state"), self.text("import"));
        let vmid = "118".to_owned();
        Places { pve: &pve, state: &state, folder: &folder, vmid, tool: "qm" }.call(verb, &grip)
    }

    fn command(&self, argv: &Argv) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"PATH="$STUB/bin:$PATH" exec "$@""#, "sh"]).args(argv.parts());
        command.env("XDG_RUNTIME_DIR", self.text("run")).env("STUB", self.text(""));
        command
    }

    /// Exit code and everything printed.
    async fn run(&self, argv: Argv) -> (i32, String) {
        let Output { status, stdout, stderr } =
            self.command(&argv).output().await.expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code().expect("a code"), text(&stdout) + &text(&stderr))
    }

    async fn reserve(&self, job: &str) -> (i32, String) {
        self.run(self.call("reserve", job).args(IDENTITY)).await
    }

    async fn restore(&self, job: &str) -> (i32, String) {
        let argv = self.call("restore", job).arg("/a/vzdump-qemu-112-x.vma.zst");
        self.run(argv.args(IDENTITY).args(["--", "--bwlimit", "9"])).await
    }

    async fn remove(&self, job: &str) -> (i32, String) {
        self.run(self.call("remove", job).args(IDENTITY)).await
    }

    async fn reserved() -> Self {
        let node = Self::new();
        assert_eq!(node.reserve("a").await, (0, String::new()));
        node
    }
}

fn done() -> (i32, String) {
    (0, String::new())
}

#[tokio::test]
async fn a_number_is_reserved_for_one_job() {
    let node = StubNode::reserved().await;
    assert_eq!(node.reserve("a").await, done());
    let (code, text) = node.reserve("b").await;
    assert_eq!(code, 21, "{text}");
    assert!(text.contains(&JobId::from_key("a").to_string()), "{text}");
    assert_eq!(node.remove("b").await, done());
    assert!(node.record().ends_with("reserved"), "it is not the other job's to give back");
    assert_eq!(node.remove("a").await, done());
    assert_eq!(node.reserve("b").await, done());

    fs::write(node.config("pve2"), MACHINE).expect("a configuration");
    let (code, text) = node.reserve("b").await;
    assert!(code == 1 && text.contains("already exists on node pve2"), "{code} {text}");
    assert_eq!(node.restore("c").await.0, 21, "a restore needs a reservation");
}

#[tokio::test]
async fn trap_06_the_stub_of_a_failed_restore_is_destroyed_and_its_number_free() {
    let node = StubNode::reserved().await;
    node.restores("memory: 128\n", "echo \"storage 'nope' does not exist\" >&2; exit 25");
    let (code, text) = node.restore("a").await;
    assert_eq!(code, 1, "their exit codes mean nothing");
    assert!(text.contains("storage 'nope' does not exist"), "{text}");
    assert!(node.called("qm destroy 118 --destroy-unreferenced-disks 1"));
    assert!(!node.config("pve1").exists() && node.record().ends_with("reserved"));
    assert_eq!(node.reserve("a").await, done(), "a new attempt finds the number free");

    assert_eq!(node.restore("a").await.0, 1);
    assert_eq!(node.remove("a").await, done());
    assert!(!node.config("pve1").exists() && node.record().is_empty());
    assert_eq!(node.remove("a").await, done());
}

#[tokio::test]
async fn a_restore_that_was_killed_is_unlocked_and_destroyed() {
    let node = StubNode::reserved().await;
    node.restores("lock: create\nmemory: 128\n", "kill -9 $PPID");
    let argv = node.call("restore", "a").arg("/a/x.vma.zst").args(IDENTITY).arg("--");
    assert_eq!(node.command(&argv).status().await.expect("a shell").code(), None);
    assert!(node.record().ends_with("started"), "{}", node.record());
    // Somebody else restores there by now.
    node.does("pvesh", r#"echo '[{"id":"118","type":"qmrestore"}]'"#);
    let (code, text) = node.remove("a").await;
    assert!(code == 21 && text.contains("somebody else") && !node.called("qm unlock"), "{text}");
    node.does("pvesh", r#"echo '[{"id":"1180","type":"qmrestore"}]'"#);
    assert_eq!(node.remove("a").await, done());
    assert!(node.called("qm unlock 118") && !node.config("pve1").exists());
    assert!(node.called("qm destroy 118 --destroy-unreferenced-disks 1"));
}

#[tokio::test]
async fn what_somebody_restores_by_hand_after_our_restore_is_never_ours() {
    let node = StubNode::reserved().await;
    node.restores("memory: 128\n", "exit 25");
    assert_eq!(node.restore("a").await.0, 1);
    node.has(MACHINE);
    let calls = fs::read_to_string(node.path("calls")).expect("calls");
    assert_eq!(node.remove("a").await, done());
    assert!(node.config("pve1").exists(), "{calls}");

    let node = StubNode::reserved().await;
    node.restores(MACHINE, "");
    assert_eq!(node.restore("a").await, done());
    assert!(node.record().ends_with("restored aaaa"), "{}", node.record());
    node.has(&MACHINE.replace("aaaa", "bbbb"));
    assert_eq!(node.remove("a").await, done());
    assert!(node.config("pve1").exists() && !node.called("qm destroy"));
}

#[tokio::test]
async fn a_destruction_that_was_killed_is_finished() {
    let node = StubNode::reserved().await;
    node.restores(MACHINE, "");
    assert_eq!(node.restore("a").await, done());
    let place = node.config("pve1");
    node.does("qm-destroy", &format!("echo 'lock: destroyed' >{}; exit 1", place.display()));
    assert_eq!(node.remove("a").await.0, 1);
    assert!(node.record().ends_with("destroying aaaa"), "{}", node.record());
    node.does("qm-destroy", DESTROYS);
    assert_eq!(node.remove("a").await, done());
    assert!(node.called("qm unlock 118") && !place.exists() && node.record().is_empty());
    assert!(!node.called("--destroy-unreferenced-disks 1") && !node.called("--purge"));
}

#[tokio::test]
async fn a_number_of_which_a_storage_has_a_volume_is_not_free() {
    let node = StubNode::new();
    node.does("pvesm-status", "printf 'Name Type Status\\nlocal dir active\\nfar nfs inactive\\n'");
    node.does(
        "pvesm-list",
        "printf 'Volid Format Type Size VMID\\nlocal:backup/x.vma vma backup 9 118\\n'; cat \"$STUB/disks\"",
    );
    node.does("disks", "local:118/vm-118-disk-0.raw raw images 8192 118\n");
    let (code, text) = node.reserve("a").await;
    assert!(code == 1 && text.contains("local:118/vm-118-disk-0.raw"), "{code} {text}");
    assert!(!node.called("pvesm list far") && node.record().is_empty());
    let argv = unordered("survey").args([node.text("pve"), node.text("state"), "117".into()]);
    let (code, text) = node.run(argv).await;
    assert!(code == 0 && text.contains("volume 118 local:118/"), "{text}");
    node.does("disks", "");
    assert_eq!(node.reserve("a").await, done());
}

#[tokio::test]
async fn an_identity_is_no_part_of_another_one() {
    for (config, removed) in [
        ("name: web\nsmbios1: manufacturer=x,uuid=6a8c\n", true),
        ("name: web-112\nsmbios1: uuid=6a8c\n", false),
        ("name: web\nsmbios1: uuid=6a8c8a7e\n", false),
    ] {
        let node = StubNode::reserved().await;
        node.has(config);
        let record = format!("{} started ", JobId::from_key("a"));
        fs::write(node.path("state/imports/118"), record).expect("a record");
        assert_eq!(node.remove("a").await, done());
        assert_eq!(!node.config("pve1").exists(), removed, "{config}");
    }
}

#[tokio::test]
async fn trap_07_nothing_that_is_there_is_ever_overwritten() {
    let node = StubNode::reserved().await;
    node.has("memory: 64\nname: other\n");
    let (code, text) = node.restore("a").await;
    assert!(code == 1 && text.contains("already exists"), "{code} {text}");
    assert!(!node.called("qmrestore"));
    assert_eq!(node.remove("a").await, done());
    assert!(node.config("pve1").exists() && !node.called("destroy"), "it is somebody else's");

    let node = StubNode::reserved().await;
    node.restores(MACHINE, "");
    assert_eq!(node.restore("a").await, done());
    assert!(node.called("qmrestore /a/vzdump-qemu-112-x.vma.zst 118 --bwlimit 9"));
    assert!(!node.called("--force"));
}

#[tokio::test]
async fn only_what_this_job_made_is_removed_and_never_while_it_runs() {
    for (status, config, moved, code, part) in [
        ("running", MACHINE, false, 21, "runs"),
        ("stopped", MACHINE, true, 21, "moved to another node"),
        ("stopped", "memory: 64\nname: web\nsmbios1: uuid=other\n", false, 0, ""),
        ("stopped", MACHINE, false, 0, ""),
    ] {
        let node = StubNode::reserved().await;
        node.restores(MACHINE, "");
        assert_eq!(node.restore("a").await, done());
        node.does("qm-status", &format!("echo 'status: {status}'"));
        node.has(config);
        if moved {
            fs::rename(node.config("pve1"), node.config("pve2")).expect("a migration");
        }
        let answer = node.remove("a").await;
        assert!(answer.0 == code && answer.1.contains(part), "{answer:?}");
        let gone = code == 0 && config == MACHINE;
        assert_eq!(node.called("qm destroy"), gone, "{status} {config}");
    }
}

#[tokio::test]
async fn trap_05_the_tool_is_started_when_its_input_begins() {
    let node = StubNode::reserved().await;
    node.restores(MACHINE, "cat >\"$STUB/input\"");
    let argv = node.call("restore", "a").arg("-").args(IDENTITY).arg("--");
    let mut child = node.command(&argv).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert_eq!(lines.next_line().await.expect("a line").as_deref(), Some("READY"));
    assert!(!node.called("qmrestore"), "nothing has come yet");
    let pipe = node.path("import/pipe");
    tokio::task::spawn_blocking(move || fs::write(pipe, "VMA"))
        .await
        .expect("a task")
        .expect("fed");
    assert!(child.wait().await.expect("its end").success());
    assert!(node.called("qmrestore - 118"));
    assert_eq!(fs::read_to_string(node.path("input")).expect("the input"), "VMA");
}

#[tokio::test]
async fn trap_10_the_reason_of_a_failure_is_told_whatever_it_was_printed_to() {
    let node = StubNode::reserved().await;
    let end = "echo 'progress 1%'; echo 'vma: restore failed - short vma extent'; \
        echo \"command 'vma' failed: exit code 133\" >&2; exit 2";
    node.restores("memory: 128\n", end);
    let argv = node.call("restore", "a").arg("-").args(IDENTITY).arg("--");
    let mut command = node.command(&argv);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    let pipe = node.path("import/pipe");
    let fed = tokio::task::spawn_blocking(move || {
        while !pipe.exists() {
            std::thread::yield_now();
        }
        fs::write(pipe, "")
    });
    let Output { status, stderr, .. } = child.wait_with_output().await.expect("its end");
    fed.await.expect("a task").expect("fed");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("short vma extent") && stderr.contains("exit code 133"), "{stderr}");
    assert!(!stderr.contains("progress"), "{stderr}");
}

#[tokio::test]
async fn a_guest_is_remembered_when_it_is_whole_and_what_was_restored() {
    let node = StubNode::reserved().await;
    node.restores(MACHINE, "");
    assert_eq!(node.restore("a").await, done());
    let (code, config) = node.run(node.call("settle", "a")).await;
    assert_eq!((code, config.as_str()), (0, MACHINE));
    assert_eq!(node.run(node.call("made", "a").args(IDENTITY)).await, done());
    assert!(node.record().ends_with("made aaaa"), "{}", node.record());
    assert!(!node.path("import").exists());

    node.has(&format!("lock: create\n{MACHINE}"));
    let (code, text) = node.run(node.call("settle", "a")).await;
    assert!(code == 1 && text.contains("not restored to its end"), "{text}");
    node.has("name: other\n");
    assert_eq!(node.run(node.call("made", "a").args(IDENTITY)).await.0, 1);
}

#[tokio::test]
async fn a_replaced_guest_is_destroyed_only_while_it_is_that_very_guest() {
    let destroy = |node: &StubNode, mark: &str, policy: &str| {
        node.call("destroy", "b").args([mark, policy].map(str::to_owned))
    };
    let node = StubNode::new();
    node.has(MACHINE);
    for (mark, policy) in [("bbbb", "destroy-after-proof"), ("aaaa", "refresh-copy")] {
        let (code, text) = node.run(destroy(&node, mark, policy)).await;
        assert!(code == 1 && text.contains("it is kept"), "{code} {text}");
        assert!(node.config("pve1").exists(), "{mark} {policy}");
    }
    let same = |mark: &str| {
        let places = [node.text("pve"), node.text("state")];
        unordered("same").args(places).args(["118", "qm", mark])
    };
    assert_eq!(node.run(same("aaaa")).await, done());
    assert_eq!(node.run(same("bbbb")).await.0, 1);
    node.does("qm-status", "echo 'status: running'");
    assert_eq!(node.run(destroy(&node, "aaaa", "destroy-after-proof")).await.0, 21);
    node.does("qm-status", "echo 'status: stopped'");
    for _ in 0..2 {
        assert_eq!(node.run(destroy(&node, "aaaa", "destroy-after-proof")).await, done());
        assert!(!node.config("pve1").exists() && node.record().is_empty());
    }
    assert!(node.called("qm destroy 118 --destroy-unreferenced-disks 0"));

    let node = StubNode::reserved().await;
    node.restores(&format!("protection: 1\n{MACHINE}"), "");
    assert_eq!(node.restore("a").await, done());
    assert_eq!(node.run(node.call("made", "a").args(IDENTITY)).await, done());
    assert_eq!(node.run(destroy(&node, "aaaa", "refresh-copy")).await, done());
    assert!(node.called("qm set 118 --protection 0") && !node.config("pve1").exists());
    assert!(node.record().is_empty());
}

#[tokio::test]
async fn a_replaced_guest_that_somebody_locked_or_protected_since_is_left_alone() {
    for (line, code, part) in [
        ("lock: backup", 21, "is locked (backup)"),
        ("lock: create", 21, "is locked (create)"),
        ("protection: 1", 1, "protection mode enabled"),
    ] {
        let node = StubNode::new();
        node.has(&format!("{line}\n{MACHINE}"));
        let argv = node.call("destroy", "b").args(["aaaa", "destroy-after-proof"]);
        let (ended, text) = node.run(argv).await;
        assert!(ended == code && text.contains(part), "{line}: {ended} {text}");
        assert!(node.config("pve1").exists() && node.record().is_empty(), "{line}");
        for touched in ["qm unlock", "qm set", "qm destroy"] {
            assert!(!node.called(touched), "{line}: {touched}");
        }
    }
}

#[tokio::test]
async fn volumes_are_there_and_have_their_size() {
    let node = StubNode::new();
    node.has("scsi0: local:118/vm-118-disk-0.raw,size=8K\n");
    node.does("pvesm", "echo \"$STUB/disk.raw\"");
    let check = |bytes: &str| {
        let argv = unordered("check").args([node.text("pve"), node.text("state")]);
        argv.args(["118", "qm", "scsi0", bytes])
    };
    assert_eq!(node.run(check("8192")).await.0, 1, "there is no such file");
    fs::write(node.path("disk.raw"), [1; 8192]).expect("a disk");
    for (bytes, code) in [("8192", 0), ("8000", 0), ("-", 0), ("8193", 1)] {
        let answer = node.run(check(bytes)).await;
        assert_eq!(answer.0, code, "{bytes}: {answer:?}");
    }
    node.has("lock: create\nscsi0: local:118/vm-118-disk-0.raw\n");
    assert_eq!(node.run(check("8192")).await.0, 1);
}

#[tokio::test]
async fn a_survey_finds_guests_records_and_twins() {
    let node = StubNode::reserved().await;
    fs::write(node.config("pve2"), "net0: virtio=BC:24:11:00:00:01\n").expect("a configuration");
    let argv = unordered("survey").args([node.text("pve"), node.text("state")]);
    let (code, text) = node.run(argv.args(["118", "bc:24:11:00:00:01"])).await;
    assert_eq!(code, 0);
    for line in ["record 118 ", "guest ", "twin ", "mark "] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line}: {text}");
    }
}
