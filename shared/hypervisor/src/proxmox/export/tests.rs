//! Streams whose node answers what a test tells it to; the scripts themselves are tested in `scripts`.

mod scripts;

use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{FaultClass, FencingToken, HostName, JobId, PowerState, VmRef};
use drs_transport::{BoxStream, Remote, ShellGuard, Spawned, TransportError};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::*;
use crate::proxmox::guest::Vmid;
use crate::proxmox::unpack::{ArchiveError, Ending};

pub(in crate::proxmox) fn grip() -> Grip {
    Grip { job: JobId::from_key("a"), fence: FencingToken(3), vm: vm() }
}

fn vm() -> VmRef {
    VmRef { host: "dc".parse().expect("a name"), name: "112".parse().expect("a name") }
}

fn guest(form: VmForm, config: &str) -> Guest {
    Guest {
        vm: vm(),
        vmid: Vmid::new(112).expect("a VMID"),
        power: PowerState::Running,
        lock: String::new(),
        native: Native::new(form, config, ""),
    }
}

/// A node that gives the same answer to every command.
struct Node {
    name: HostName,
    answer: Output,
}

#[async_trait]
impl Remote for Node {
    fn host(&self) -> &HostName {
        &self.name
    }

    async fn exec_within(
        &self,
        _argv: &Argv,
        _stdin: Bytes,
        _limit: Duration,
    ) -> Result<Output, TransportError> {
        Ok(self.answer.clone())
    }

    async fn spawn(&self, argv: &Argv) -> Result<Spawned, TransportError> {
        panic!("nothing is spawned: {argv:?}")
    }

    async fn connect_unix(&self, path: &str) -> Result<BoxStream, TransportError> {
        panic!("no socket is used: {path}")
    }
}

/// A driver whose node answers with this text and code.
pub(in crate::proxmox) fn driver(answer: &str, code: i32) -> (ProxmoxDriver, Arc<dyn Remote>) {
    let answer = Output { code, stdout: answer.into(), stderr: String::new() };
    let remote: Arc<dyn Remote> = Arc::new(Node { name: vm().host, answer });
    let host = serde_json::json!({
        "name": "dc", "site": "s", "kind": "proxmox", "address": "dc", "key_file": null,
        "host_keys": [], "image_dir": null, "slots": 2
    });
    let host = serde_json::from_value(host).expect("a host");
    let guard = Arc::new(ShellGuard::new(Arc::clone(&remote)));
    (ProxmoxDriver::new(host, Arc::clone(&remote), guard), remote)
}

/// A vzdump that printed this log and ended with this code and words of its channel.
fn ended_run(form: VmForm, log: Option<&str>, code: i32, stderr: &str) -> Run {
    let log = log.map(|log| format!("BEGAN 1795312118000\nLOG\n{log}"));
    let (driver, _) = driver(log.as_deref().unwrap_or_default(), i32::from(log.is_none()));
    let (tell, exit) = oneshot::channel();
    tell.send((code, stderr.to_owned())).expect("a listener");
    let (stream, _) = tokio::io::duplex(1);
    let spawned = Spawned { stream: Box::new(stream), exit };
    driver.run(&grip(), &guest(form, ""), spawned).0
}

/// What the real vzdump printed, without the lines that the transcript adds.
fn transcript(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let path = folder.join(format!("proxmox/transcripts/{name}.txt"));
    let text = std::fs::read_to_string(path).expect(name);
    let told = text.lines().filter(|line| !line.starts_with(['$', '#']));
    told.map(|line| line.replace("VM 130", "VM 112").replace("VM 200", "VM 112") + "\n").collect()
}

const MACHINE: VmForm = VmForm::Machine;

#[tokio::test]
async fn trap_02_a_vzdump_that_ends_well_without_a_word_made_no_backup() {
    let error = ended_run(MACHINE, Some(""), 0, "").confirm(0).await.expect_err("no backup");
    assert!(error.to_string().contains("another node"), "{error}");
    let error = ended_run(MACHINE, Some(""), 0, "").explain(ArchiveError::Abandoned).await;
    assert!(error.to_string().contains("another node"), "{error}");
}

#[tokio::test]
async fn trap_10_the_log_tells_whether_it_went_well() {
    let good = transcript("vzdump-live-stdout");
    for code in [0, 2, 25, 255] {
        ended_run(MACHINE, Some(&good), code, "").confirm(71_303_168).await.expect("a backup");
    }
    let cut: String = good.lines().take(12).map(|line| format!("{line}\n")).collect();
    for code in [0, 255] {
        let end = ended_run(MACHINE, Some(&cut), code, "").confirm(1).await;
        assert!(end.is_err_and(|error| error.to_string().contains("before it had confirmed")));
    }
}

#[tokio::test]
async fn a_broken_stream_is_explained_by_the_log() {
    for (name, why) in [
        ("vzdump-stdout-broken-pipe", "Broken pipe"),
        ("stream-vzdump-fails-early", "bridge 'vmbr0' does not exist"),
        ("vzdump-sigterm", "interrupted by signal"),
    ] {
        let mut run = ended_run(MACHINE, Some(&transcript(name)), 255, "");
        let error = run.explain(ArchiveError::Abandoned).await;
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    let full = transcript("vzdump-dumpdir-full");
    let error = ended_run(MACHINE, Some(&full), 255, "").explain(ArchiveError::Abandoned).await;
    assert!(matches!(error, DriverError::HostFull { .. }), "{error}");
}

#[test]
fn a_record_that_cannot_be_read_is_no_fault_of_the_request() {
    let description = guest(MACHINE, "").description();
    let export = Export {
        description,
        consistent_at: Timestamp::UNIX_EPOCH,
        consistency: Account::read(Vmid::new(112).expect("a VMID"), "").consistency(),
        warnings: Vec::new(),
        handle: serde_json::json!({"archive": 7}),
    };
    let fault = Handle::of(&export).expect_err("damaged").fault();
    assert_eq!(fault.code, drs_model::FaultCode::Internal, "{fault:?}");
}

#[tokio::test]
async fn a_busy_guest_or_node_is_busy_whoever_says_so() {
    for log in ["vzdump-locked", "vzdump-lockwait0"] {
        let mut run = ended_run(MACHINE, Some(&transcript(log)), 255, "");
        let error = run.explain(ArchiveError::Abandoned).await;
        assert_eq!(error.fault().class, FaultClass::Busy, "{log}: {error}");
    }
    let mut run = ended_run(MACHINE, None, 21, "another backup runs on this node\n");
    let error = run.explain(ArchiveError::Abandoned).await;
    assert!(matches!(error, DriverError::Busy { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_that_was_ended_from_outside_is_a_broken_connection() {
    let begun = "INFO: Starting Backup of VM 112 (qemu)\n";
    for log in [None, Some(begun)] {
        let error = ended_run(MACHINE, log, 143, "").explain(ArchiveError::Abandoned).await;
        assert!(matches!(error, DriverError::Stream { .. }), "{error}");
    }
    let wrong = "400 Parameter verification failed.\nfleecing: type check failed\n";
    let error = ended_run(MACHINE, Some(wrong), 2, "").explain(ArchiveError::Abandoned).await;
    assert!(matches!(error, DriverError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn trap_19_a_hook_that_fails_behind_the_data_does_not_spoil_the_backup() {
    let log = transcript("vzdump-hook-fails");
    ended_run(MACHINE, Some(&log), 255, "").confirm(9_961_984).await.expect("a backup");
}

#[tokio::test]
async fn a_containers_stream_must_have_the_length_that_tar_tells() {
    let log = transcript("vzdump-lxc-stdout");
    let run = || ended_run(VmForm::Container, Some(&log), 0, "");
    run().confirm(2_048_000).await.expect("a backup");
    let error = run().confirm(2_047_488).await.expect_err("bytes are missing");
    assert!(error.to_string().contains("of an archive of 2048000"), "{error}");
}

#[tokio::test]
async fn the_reader_of_a_stream_that_nobody_wants_is_freed() {
    let (driver, _) = driver("", 0);
    let (mut node, stream) = tokio::io::duplex(1024);
    let (_tell, exit) = oneshot::channel();
    let spawned = Spawned { stream: Box::new(stream), exit };
    let (run, mut archive) = driver.run(&grip(), &guest(MACHINE, ""), spawned);
    node.write_all(b"VMA").await.expect("room");
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let end = std::io::Read::read_to_end(&mut archive, &mut bytes);
        (bytes, end.map_err(|error| error.kind()))
    });
    drop(run);
    let (bytes, end) = reading.await.expect("a thread");
    assert!(bytes.len() <= 3 && end == Err(std::io::ErrorKind::ConnectionAborted));
}

fn header(created_at: i64) -> drs_vma::Header {
    let config = "#note\nname: web\nagent: 1\nscsi0: local:a.raw,size=4G\n\
        scsi1: local:b.raw,size=1G,backup=0\nide2: none,media=cdrom\n\
        #qmdump#map:scsi0:drive-scsi0:local:raw:\n";
    drs_vma::Header {
        uuid: [7; 16],
        created_at,
        configs: vec![drs_vma::Config { name: "qemu-server.conf".into(), data: config.into() }],
        devices: vec![drs_vma::Device { id: 1, name: "drive-scsi0".into(), size_bytes: 1 << 32 }],
    }
}

fn exported(log: &str) -> Export {
    let began = Timestamp::from_second(1_795_312_118).expect("an instant");
    let log = Log { began, text: log.to_owned() };
    // The live configuration has changed meanwhile: the archive's counts.
    let guest = guest(MACHINE, "name: other\nscsi5: local:x.raw,size=8G\n");
    let head = Head::Machine(header(1_795_312_120));
    driver("", 0).0.exported(&guest, &head, &log).expect("an export")
}

#[test]
fn trap_13_the_instant_is_the_archives_own() {
    let export = exported("INFO: Starting Backup of VM 112 (qemu)\nINFO: status = running\n");
    assert_eq!(export.consistent_at.as_second(), 1_795_312_120);
}

#[test]
fn the_description_is_the_archives_own() {
    let export = exported("INFO: Starting Backup of VM 112 (qemu)\nINFO: status = stopped\n");
    let spec = &export.description.spec;
    assert_eq!((spec.label.as_str(), spec.name.as_str()), ("web", "112"));
    let contents = spec.contents();
    assert_eq!(contents.len(), 1);
    assert_eq!((contents[0].name.as_str(), contents[0].size_bytes), ("scsi0", Some(1 << 32)));
    assert!(!export.description.native_config.contains("qmdump"));
    assert_eq!(export.consistency, drs_model::Consistency::Off);
    let left_out: Vec<&String> = export.warnings.iter().collect();
    assert_eq!(left_out.len(), 1, "the empty CD-ROM drive surprises nobody: {left_out:?}");
    assert!(left_out[0].contains("scsi1 is not covered"));
}

#[test]
fn trap_18_a_silent_agent_is_told() {
    let export = exported(
        "INFO: Starting Backup of VM 112 (qemu)\nINFO: status = running\n\
        INFO: skipping guest filesystem freeze - agent configured but not running?\n",
    );
    assert_eq!(export.consistency, drs_model::Consistency::Crash);
    let told = "were not frozen: agent configured but not running";
    assert!(export.warnings.iter().any(|it| it.contains(told)), "{:?}", export.warnings);
}

#[tokio::test]
async fn a_stream_is_read_once_and_by_its_opener() {
    let export = exported("");
    let (driver, _) = driver("", 0);
    let error = driver.take_source(&grip(), &export).await.err().expect("none is open");
    assert!(matches!(error, DriverError::Stream { .. }), "{error}");
}

#[test]
fn closing_is_the_same_for_a_lost_worker_but_never_late() {
    let (driver, _) = driver("", 0);
    let at_loss = driver.close_command(&grip(), ExportEnd::Abandoned);
    let folder = format!("/var/lib/vz/drs/{}", grip().job);
    let end: Vec<&str> = at_loss.parts().iter().rev().take(6).rev().map(String::as_str).collect();
    let job = grip().job.to_string();
    assert_eq!(end, ["close", job.as_str(), "112", &folder, "/var/run/vzdump.lock", "any"]);
}
