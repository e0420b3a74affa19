use std::path::Path;

use drs_model::FaultClass;

use super::*;

fn host() -> Host {
    Host {
        name: "pve1".parse().expect("a name"),
        site: "north".parse().expect("a name"),
        kind: drs_model::HypervisorKind::Proxmox,
        address: "root@pve1".into(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots: Host::SLOTS_DEFAULT,
        bytes_per_second: None,
    }
}

/// What a run of the real tool left: exit code, standard output, standard error.
fn transcript(name: &str) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox");
    let path = folder.join(format!("transcripts/{name}.txt"));
    let text = std::fs::read_to_string(path).expect(name);
    let (head, rest) = text.split_once("## stdout:\n").expect("an output");
    let (stdout, stderr) = rest.split_once("## stderr:\n").expect("an error");
    let code = head.split_once("exit code: ").expect("a code").1;
    let code = code.lines().next().and_then(|code| code.parse().ok()).expect("a number");
    Output { code, stdout: stdout.into(), stderr: stderr.into() }
}

fn error_of(name: &str) -> DriverError {
    let output = transcript(name);
    assert!(!output.ok(), "{name}");
    failure(&host(), Some(&"pve1/112".parse().expect("a VM")), "the tool", &output)
}

#[test]
fn complaints_of_the_real_tools_are_told_apart() {
    type Is = fn(&DriverError) -> bool;
    let busy: Is = |it| matches!(it, DriverError::Busy { .. });
    let locked: Is = |it| matches!(it, DriverError::Locked { .. });
    let exists: Is = |it| matches!(it, DriverError::AlreadyExists { .. });
    let no_vm: Is = |it| matches!(it, DriverError::VmNotFound { .. });
    let full: Is = |it| matches!(it, DriverError::HostFull { .. });
    let wrong: Is = |it| matches!(it, DriverError::Invalid(_));
    let failed: Is = |it| matches!(it, DriverError::Failed { .. });
    for (name, is) in [
        ("qm-stop-locked", locked),
        ("vzdump-locked", locked),
        ("vzdump-lockwait0", busy),
        ("qm-destroy-running", busy),
        ("qmrestore-force-running", busy),
        ("qmrestore-exists", exists),
        ("pct-restore-exists", exists),
        ("qm-status-missing", no_vm),
        ("pct-status-missing", no_vm),
        ("qm-destroy-missing", no_vm),
        ("pvesh-missing", no_vm),
        ("vzdump-missing-vm", no_vm),
        ("vzdump-dumpdir-full", full),
        ("qmrestore-badstorage", wrong),
        ("pct-restore-badstorage", wrong),
        ("vzdump-missing-storage", wrong),
        ("qmrestore-bad-vmid", wrong),
        ("vzdump-bad-compress", wrong),
        ("qm-shutdown-timeout", failed),
        ("qmrestore-stdin-compressed", failed),
    ] {
        let error = error_of(name);
        assert!(is(&error), "{name}: {error:?}");
    }
}

/// The same number means different things, and different numbers the same.
#[test]
fn trap_10_exit_codes_mean_nothing() {
    for code in [1, 2, 17, 25, 255] {
        let output = Output { code, stdout: Vec::new(), stderr: "VM is locked (backup)\n".into() };
        let vm = "pve1/112".parse().expect("a VM");
        let error = failure(&host(), Some(&vm), "qm stop 112", &output);
        let fault = error.fault();
        assert_eq!(fault.class, FaultClass::Busy, "{code}");
        for way_out in ["pvesh get /nodes/NODE/tasks --source active", "qm unlock 112"] {
            assert!(fault.remedy.contains(way_out), "{fault:?}");
        }
        assert!(error.to_string().contains("locked (backup)"));
    }
}

#[test]
fn the_reason_is_the_last_error_of_a_log_or_the_end_of_the_text() {
    let log = "INFO: a\nERROR: first\nERROR: Backup of VM 112 failed - why\nINFO: Failed at x\njob errors\n";
    assert_eq!(reason(log), "Backup of VM 112 failed - why");
    assert_eq!(reason("\n"), "it gave no reason");
    assert_eq!(reason("a\nb\nc\n\nd\n"), "a; b; c; d");
    assert_eq!(reason(&"x".repeat(900)).len(), 500);
}

#[test]
fn a_captured_log_tells_the_error_too() {
    let log = "INFO: x\nERROR: Backup of VM 130 failed - vma_queue_write: write error - Broken pipe\nINFO: Failed at y\njob errors\n";
    let error = classify(&host(), None, "vzdump", log).to_string();
    assert_eq!(
        error,
        "vzdump failed on host pve1: Backup of VM 130 failed - vma_queue_write: write error - Broken pipe"
    );
}

#[test]
fn a_guest_that_ignores_the_power_button_is_told_in_words() {
    let told = error_of("qm-shutdown-timeout").to_string();
    assert!(told.contains("did not shut down in time"), "{told}");
}

#[test]
fn a_full_disk_is_seen_behind_the_broken_pipe_to_the_compressor() {
    let log = "INFO: resuming VM again\n\
        zstd: error 70 : Write error : cannot write block : No space left on device\n\
        ERROR: vma_queue_write: write error - Broken pipe\nINFO: aborting backup job\n\
        ERROR: Backup of VM 112 failed - vma_queue_write: write error - Broken pipe\njob errors\n";
    let error = classify(&host(), None, "vzdump", log);
    assert!(
        matches!(&error, DriverError::HostFull { what, .. } if what.contains("error 70")),
        "{error}"
    );
}

#[test]
fn a_log_that_ends_in_the_midst_is_of_a_command_that_was_ended() {
    assert_eq!(reason("INFO: started backup task\n"), "it was ended before it was done");
}

#[test]
fn a_guest_that_can_never_start_is_not_tried_again() {
    for text in ["bridge 'vmbr7' does not exist\n", "you can't start a vm if it's a template\n"] {
        let output = Output { code: 255, stdout: Vec::new(), stderr: text.into() };
        let fault = failure(&host(), None, "qm start 112", &output).fault();
        assert_eq!(fault.class, FaultClass::Permanent, "{fault:?}");
        assert!(fault.message.contains("qm start 112"), "{fault:?}");
    }
}

#[test]
fn a_protected_guest_is_no_matter_of_the_logins_rights() {
    let text = "can't remove VM 118 - protection mode enabled\n";
    let output = Output { code: 1, stdout: Vec::new(), stderr: text.into() };
    let vm = "pve1/118".parse().expect("a VM");
    let fault = failure(&host(), Some(&vm), "destroying the replaced VM", &output).fault();
    assert_eq!(fault.class, FaultClass::Permanent);
    assert!(fault.remedy.contains("--protection 0"), "{fault:?}");
}
