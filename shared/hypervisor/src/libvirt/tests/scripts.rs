//! The scripts themselves, on a host whose `virsh` answers what a test tells it to: what libvirt says
//! when it stalls cannot be had from a libvirt that works.

mod replace;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use drs_model::{FencingToken, Grip, JobId, VmForm};
use drs_transport::Argv;
use tempfile::TempDir;
use tokio::process::Command;

use super::{planned, vm};
use crate::libvirt::{export, import, power};
use crate::turn::order;
use crate::{ImportPlan, PlannedDisk};

const JOB: &str = "0192f0c1-0000-7000-8000-000000000001";
const UUID: &str = "f18daddc-251a-44bf-aa7c-c2a5a74b92da";

/// What `virsh` does: notes the call, then does what the file of that command says; else nothing.
const VIRSH: &str = r#"#!/bin/sh
shift
echo "$*" >>"$STUB/calls"
[ ! -f "$STUB/$1" ] || . "$STUB/$1"
"#;
/// As `timeout` reports a `virsh` that hangs.
const HANGS: &str = "exit 124";
const NO_BACKUP: &str =
    "echo 'error: Domain backup job id not found: no domain backup job present' >&2; exit 1";

/// A host with one VM, `web1`, which runs.
struct StubHost {
    folder: TempDir,
}

impl StubHost {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a folder") };
        for folder in ["bin", "run", "images"] {
            fs::create_dir(host.path(folder)).expect("a folder");
        }
        for (name, text) in [("virsh", VIRSH), ("id", "#!/bin/sh\necho 1000\n")] {
            let program = host.path("bin").join(name);
            fs::write(&program, text).expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        host.answers("list", &format!("echo '{UUID} web1'"));
        host.answers("domstate", "echo running");
        host.answers("domjobinfo", "echo 'Job type:         None'");
        host.answers("backup-dumpxml", NO_BACKUP);
        host.answers("domblklist", &format!("echo ' vda  {}/vda.qcow2'", host.text("images")));
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// What a `virsh` command does from now on.
    fn answers(&self, command: &str, script: &str) {
        fs::write(self.path(command), script).expect("an answer");
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).expect("a file");
        self.path(name)
    }

    /// Whether `virsh` was called with these words.
    fn called(&self, words: &str) -> bool {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().any(|call| call.contains(words))
    }

    fn command(&self, argv: &Argv) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"PATH="$STUB/bin:$PATH" exec "$@""#, "sh"]).args(argv.parts());
        command.env("XDG_RUNTIME_DIR", self.text("run")).env("STUB", self.text(""));
        command
    }

    /// Exit code and everything printed.
    async fn run(&self, argv: &Argv) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(argv).output().await.expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code().expect("a code"), text(&stdout) + &text(&stderr))
    }

    async fn close(&self) -> (i32, String) {
        let images = self.text("images");
        self.run(&export::script_call("close").args([JOB, "web1", "1.9", &images, "abandoned"]))
            .await
    }

    /// An export is open and the guest still frozen: the marks and the scratch file.
    fn frozen_export(&self) -> [PathBuf; 3] {
        self.answers("domfsthaw", "echo 'Thawed 1 filesystem(s)'");
        [
            self.file(&format!("run/drs-{JOB}.export"), UUID),
            self.file(&format!("run/drs-{JOB}.frozen"), ""),
            self.file(&format!("images/drs-{JOB}.{UUID}.vda.scratch"), ""),
        ]
    }
}

fn none_exists(files: &[PathBuf]) -> bool {
    !files.iter().any(|file| file.exists())
}

#[tokio::test]
async fn a_libvirt_that_stalls_is_not_a_vm_that_is_off() {
    for (command, answer) in [
        ("domstate", HANGS),
        ("domstate", "exit 137"),
        ("domstate", "echo 'error: Disconnected from qemu:///system' >&2; exit 1"),
        ("domstate", "echo 'no state'"),
        ("domstate", "echo \"error: failed to get domain 'web1'\" >&2; exit 1"),
        ("backup-dumpxml", HANGS),
        ("backup-dumpxml", "echo 'error: cannot acquire state change lock' >&2; exit 1"),
    ] {
        let host = StubHost::new();
        let files = host.frozen_export();
        host.answers(command, answer);
        let (code, text) = host.close().await;
        assert_eq!(code, 21, "{command} {answer}: {text}");
        assert!(text.contains("libvirt does not tell"), "{text}");
        let [mark, frozen, scratch] = &files;
        assert!(mark.exists() && scratch.exists(), "{command} {answer}");
        assert_eq!(frozen.exists(), command == "domstate", "what can be thawed is");

        // It answers again: the next close finds what is to be done.
        host.answers("domstate", "echo running");
        host.answers("backup-dumpxml", NO_BACKUP);
        assert_eq!(host.close().await, (0, String::new()), "{command} {answer}");
        assert!(host.called("domfsthaw"), "{command} {answer}");
        assert!(none_exists(&files), "{command} {answer}: {files:?}");
    }
}

#[tokio::test]
async fn a_vm_that_is_off_or_gone_needs_no_thaw() {
    for (state, listed) in [
        ("echo 'shut off'", true),
        ("echo crashed", true),
        ("echo \"error: failed to get domain 'x'\" >&2; exit 1", false),
    ] {
        let host = StubHost::new();
        let files = host.frozen_export();
        host.answers("domstate", state);
        if !listed {
            // Undefined between the first look and the second.
            let once = format!("[ \"$4\" != --name ] || echo '{UUID} web1'");
            host.answers("list", &once);
        }
        assert_eq!(host.close().await, (0, String::new()), "{state}");
        assert!(none_exists(&files), "{state}: {files:?}");
        assert!(!host.called("domfsthaw") && !host.called("domjobabort"), "{state}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_may_still_be_there_keeps_the_marks() {
    for (command, answer) in [("checkpoint-list", HANGS), ("checkpoint-delete", HANGS)] {
        let host = StubHost::new();
        let [mark, ..] = host.frozen_export();
        host.answers("checkpoint-list", &format!("echo drs-{JOB}"));
        host.answers(command, answer);
        assert_eq!(host.close().await.0, 21, "{command}");
        assert!(mark.exists() && !host.called("--metadata"), "{command}");
    }
}

#[tokio::test]
async fn a_vm_whose_maker_is_not_known_is_neither_removed_nor_left_behind() {
    let host = StubHost::new();
    let staging = host.file("images/.drs-web1-vda.qcow2", "");
    let last = host.path("images/web1-vda.qcow2");
    fs::hard_link(&staging, &last).expect("a link");
    let argv = import_call("remove", "1.1", &[&staging, &last]);
    host.answers("domstate", "echo 'shut off'");
    for (command, answer) in [("metadata", HANGS), ("domstate", HANGS)] {
        host.answers("metadata", &format!("echo '<import job=\"{JOB}\"/>'"));
        host.answers(command, answer);
        let (code, text) = host.run(&argv).await;
        assert_eq!(code, 21, "{command}: {text}");
        assert!(staging.exists() && last.exists() && !host.called("undefine"), "{command}");
    }
    // The VM of that name is somebody else's: our files go, it stays.
    let none =
        "echo 'error: metadata not found: Requested metadata element is not present' >&2; exit 1";
    host.answers("metadata", none);
    assert_eq!(host.run(&argv).await, (0, String::new()));
    assert!(!staging.exists() && !host.called("undefine"));
}

fn import_call(command: &str, order: &str, files: &[&Path]) -> Argv {
    let files = files.iter().map(|file| file.to_str().expect("text"));
    import::import(command).args([JOB, order, "web1", "web1"]).args(files)
}

fn open_call(host: &StubHost) -> Argv {
    let run = host.text("run");
    export::script_call("open").args([JOB, "web1", "1.1", &run, UUID, "yes", "<backup/>", ""])
}

/// The marks of the job that are left.
fn marks(host: &StubHost) -> Vec<String> {
    let entries = fs::read_dir(host.path("run")).expect("a folder");
    let names = entries.map(|it| it.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<_> =
        names.filter_map(|it| it.strip_prefix("drs-0").map(String::from)).collect();
    names.sort();
    names.iter().filter_map(|it| it.rsplit_once('.').map(|(_, kind)| kind.to_owned())).collect()
}

#[tokio::test]
async fn a_guest_that_cannot_be_thawed_gets_no_export() {
    let host = StubHost::new();
    host.answers("domfsfreeze", HANGS);
    host.answers("domfsthaw", "echo 'error: no answer from the agent' >&2; exit 1");
    let (code, text) = host.run(&open_call(&host)).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot thaw the guest: error: no answer from the agent"), "{text}");
    assert!(!text.contains("LEVEL") && !host.called("backup-begin"), "{text}");
    assert_eq!(marks(&host), ["export", "frozen"]);

    // Whoever looks at the VM tries again, and so does the close.
    let look = export::script_call("look").args([JOB, "web1", UUID]);
    assert_eq!(host.run(&look).await.0, 1);
    assert_eq!(host.close().await.0, 1);
    assert_eq!(marks(&host), ["export", "frozen"]);
    host.answers("domfsthaw", "echo 'Thawed 1 filesystem(s)'");
    assert_eq!(host.run(&look).await, (0, "running\n".to_owned()));
    assert_eq!(marks(&host), ["export"]);
    assert_eq!(host.close().await, (0, String::new()));
    assert_eq!(marks(&host), [""; 0]);
}

#[tokio::test]
async fn a_guest_that_does_not_thaw_behind_the_freeze_instant_keeps_no_backup_job() {
    let host = StubHost::new();
    let job = format!("[ ! -e \"$STUB/job\" ] || {{ echo '/drs-{JOB}.vda.scratch'; exit 0; }}\n");
    host.answers("backup-dumpxml", &(job + NO_BACKUP));
    host.answers("backup-begin", "touch \"$STUB/job\"");
    host.answers("domjobabort", "rm \"$STUB/job\"");
    host.answers("domfsthaw", "echo 'error: no answer from the agent' >&2; exit 1");
    let (code, text) = host.run(&open_call(&host)).await;
    assert_eq!(code, 1, "{text}");
    assert!(host.called("backup-begin") && !host.path("job").exists(), "{text}");
    assert_eq!(marks(&host), ["export", "frozen"]);
}

#[tokio::test]
async fn a_guest_that_froze_too_late_is_thawed_and_exported_as_it_was() {
    let host = StubHost::new();
    host.answers("domfsfreeze", HANGS);
    host.answers("domfsthaw", "echo 'Thawed 1 filesystem(s)'");
    let (code, text) = host.run(&open_call(&host)).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("LEVEL crash") && host.called("backup-begin"), "{text}");
    assert_eq!(marks(&host), ["export"]);
}

#[tokio::test]
async fn staging_disks_are_made_anew_and_a_damaged_one_is_found() {
    let host = StubHost::new();
    let [good, bad] = ["images/a b.qcow2", "images/b.qcow2"].map(|name| host.text(name));
    let create = import::import("create").args([JOB, "1.1", &good, "1048576", &bad, "65536"]);
    let disk = |path: &String| PlannedDisk { staging: path.clone(), ..planned("vda") };
    let plan = ImportPlan {
        name: "new".parse().expect("a name"),
        made_as: "new".parse().expect("a name"),
        replaces: None,
        form: VmForm::Machine,
        disks: [&good, &bad].map(disk).into(),
        native_config: String::new(),
        remarks: Vec::new(),
        handle: serde_json::Value::Null,
    };
    for _ in 0..2 {
        assert_eq!(host.run(&create).await.0, 0);
        assert_eq!(host.run(&import::check_command(&plan)).await.0, 0);
    }
    fs::write(&bad, b"QFI\xfb\0\0\0\x03 damaged").expect("damage");
    assert_ne!(host.run(&import::check_command(&plan)).await.0, 0);
}

/// Waits until a file is there, at most 20 s.
async fn appears(file: &Path) {
    let seen = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("it appears");
}

/// A `virsh` command that tells that it began, and goes on when the file `go` is there; it ends with the
/// host's folder, also when the test fails.
fn lingers(host: &StubHost, command: &str, then: &str) {
    let wait = "touch \"$STUB/began\"; until [ -e \"$STUB/go\" ]; do [ -d \"$STUB\" ] || exit; sleep 0.02; done";
    host.answers(command, &format!("{wait}; {then}"));
}

#[tokio::test]
async fn an_undo_waits_for_the_command_that_was_given_up() {
    let host = StubHost::new();
    let staging = host.file("images/.drs-new-vda.qcow2", "");
    let last = host.path("images/new-vda.qcow2");
    host.answers("list", "[ ! -e \"$STUB/vm\" ] || cat \"$STUB/vm\"");
    host.answers("metadata", &format!("echo '<import job=\"{JOB}\"/>'"));
    host.answers("domstate", "echo 'shut off'");
    host.answers("undefine", "rm \"$STUB/vm\"");
    lingers(&host, "define", &format!("echo '{UUID} web1' >\"$STUB/vm\""));
    let mut define = host.command(&import_call("define", "1.1", &[&staging, &last]));
    let mut define = define.spawn().expect("a shell");
    appears(&host.path("began")).await;
    let mut remove = host.command(&import_call("remove", "1.2", &[&staging, &last]));
    let mut remove = remove.spawn().expect("a shell");
    // While `define` runs nothing is taken back.
    tokio::time::timeout(Duration::from_millis(300), remove.wait()).await.expect_err("it waits");
    host.file("go", "");
    assert!(define.wait().await.expect("an end").success());
    assert!(remove.wait().await.expect("an end").success());
    assert!(!staging.exists() && !last.exists() && !host.path("vm").exists());
}

#[tokio::test]
async fn a_power_cut_waits_for_the_start_that_was_given_up() {
    let host = StubHost::new();
    let switch = |command: &str, order: &str| {
        host.command(&power::switch_call(command).args([JOB, order, UUID]))
    };
    host.answers("domstate", "[ -e \"$STUB/on\" ] && echo running || echo 'shut off'");
    host.answers("destroy", "rm \"$STUB/on\"");
    lingers(&host, "start", "touch \"$STUB/on\"");
    let mut start = switch("start", "1.1").spawn().expect("a shell");
    appears(&host.path("began")).await;
    let mut cut = switch("destroy", "1.2").spawn().expect("a shell");
    tokio::time::timeout(Duration::from_millis(300), cut.wait()).await.expect_err("it waits");
    host.file("go", "");
    assert!(start.wait().await.expect("an end").success());
    assert!(cut.wait().await.expect("an end").success());
    assert!(host.called("destroy") && !host.path("on").exists());
    assert!(!switch("start", "1.1").status().await.expect("a shell").success(), "it comes late");
}

#[tokio::test]
async fn a_command_that_was_overtaken_does_nothing() {
    let host = StubHost::new();
    host.answers("list", "exit 0");
    let disk = host.path("images/.drs-new-vda.qcow2");
    let create = |order: &str| {
        import::import("create").args([JOB, order, disk.to_str().expect("text"), "65536"])
    };
    let last = host.path("images/new-vda.qcow2");
    let files: [&Path; 2] = [&disk, &last];
    assert_eq!(host.run(&import_call("remove", "7.10", &files)).await, (0, String::new()));
    for late in ["7.9", "6.11"] {
        let (code, text) = host.run(&create(late)).await;
        assert_eq!((code, disk.exists()), (21, false), "{late}: {text}");
        assert_eq!(host.run(&import_call("define", late, &files)).await.0, 21, "{late}");
    }
    assert!(!host.called("define"));
    // The job tries again, under a new claim or later in the same; an old undo takes nothing of it.
    for next in ["7.11", "8.0"] {
        assert_eq!(host.run(&create(next)).await, (0, String::new()), "{next}");
        assert_eq!(host.run(&import_call("remove", "7.10", &files)).await.0, 21, "{next}");
        assert!(disk.exists(), "{next}");
    }
    // An export that comes behind its close is not opened; the close for a lost worker is never late.
    assert_eq!(host.run(&open_call(&host)).await.0, 21);
    assert!(!host.called("backup-begin"));
    let images = host.text("images");
    let lost = export::script_call("close").args([JOB, "web1", "any", &images, "abandoned"]);
    assert_eq!(host.run(&lost).await, (0, String::new()));
}

#[test]
fn the_commands_of_a_claim_are_in_the_order_of_their_issue() {
    let grip = Grip { job: JobId::from_key("a"), fence: FencingToken(3), vm: vm() };
    let number = |order: String| -> u64 {
        let number = order.strip_prefix("3.").expect("the fencing token");
        number.parse().expect("a number")
    };
    let (first, second) = (number(order(&grip)), number(order(&grip)));
    assert!(first < second);
}
