use std::fs;
use std::path::Path;

use super::*;

/// What the real vzdump printed, standard output and standard error.
fn transcript(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox");
    fs::read_to_string(folder.join("transcripts").join(format!("{name}.txt"))).expect(name)
}

fn account(vmid: u32, name: &str) -> Account {
    Account::read(Vmid::new(vmid).expect("a VMID"), &transcript(name))
}

#[test]
fn good_runs_are_told_by_their_last_word() {
    for (vmid, name) in [
        (112, "vzdump-hook"),
        (112, "vzdump-paused"),
        (112, "vzdump-prune"),
        (112, "vzdump-running-gzip"),
        (112, "vzdump-stdout"),
        (112, "vzdump-stopped-zstd"),
        (112, "vzdump-suspend"),
        (112, "vzdump-template"),
        (117, "vzdump-all-excl"),
        (117, "vzdump-lockwait1"),
        (130, "vzdump-after-crash"),
        (130, "vzdump-live-bwlimit"),
        (130, "vzdump-live-stdout"),
        (200, "vzdump-lxc-stdout"),
        (200, "vzdump-lxc-stopped"),
        (201, "vzdump-lxc-unpriv"),
    ] {
        let account = account(vmid, name);
        assert!(account.begun && account.finished && account.data_complete, "{name}: {account:?}");
        assert_eq!(account.failure, None, "{name}");
        let streamed = name.ends_with("stdout");
        assert_eq!(account.archive.is_none(), streamed, "{name}: {:?}", account.archive);
    }
}

#[test]
fn failed_runs_say_why() {
    for (vmid, name, begun, reason) in [
        (112, "vzdump-locked", true, "VM is locked (backup)"),
        (999, "vzdump-missing-vm", false, "unable to find VM '999'"),
        (
            130,
            "vzdump-dumpdir-full",
            true,
            "vma_queue_write: write error - No space left on device",
        ),
        (130, "vzdump-stdout-broken-pipe", true, "vma_queue_write: write error - Broken pipe"),
        (130, "vzdump-sigterm", true, "interrupted by signal"),
        (112, "stream-vzdump-fails-early", true, "bridge 'vmbr0' does not exist"),
    ] {
        let account = account(vmid, name);
        assert!(!account.finished && !account.data_complete, "{name}: {account:?}");
        assert_eq!(account.begun, begun, "{name}");
        assert_eq!(account.failure.as_deref(), Some(reason), "{name}");
    }
    let stop = account(112, "vzdump-stop-stopwait0").failure.expect("a failure");
    assert!(stop.ends_with("failed: exit code 255"), "{stop}");
    let keep = account(112, "vzdump-keep-noremove").failure.expect("a failure");
    assert!(keep.starts_with("There is a max backup limit of 2"), "{keep}");
}

#[test]
fn trap_02_a_run_that_says_nothing_has_done_nothing() {
    for name in ["vzdump-other-node", "vzdump-stop-flag", "vzdump-stdout-zstd-quiet"] {
        let account = account(112, name);
        assert_eq!(account, Account::default(), "{name}");
    }
}

#[test]
fn another_guests_run_says_nothing_of_this_one() {
    let account = account(1120, "vzdump-hook");
    assert!(!account.begun && !account.finished, "{account:?}");
}

#[test]
fn trap_09_progress_is_silent_for_containers_and_never_passes_the_whole() {
    let mib = |tenths: u64| tenths * (1 << 20) / 10;
    let told = progress(&transcript("vzdump-live-bwlimit"));
    assert_eq!(told, Some((mib(680), mib(680))));
    let first = transcript("vzdump-live-bwlimit");
    let first: Vec<&str> = first.lines().take_while(|line| !line.contains("48%")).collect();
    assert_eq!(progress(&first.join("\n")), Some((mib(172), mib(680))));
    for silent in ["vzdump-lxc-stopped", "vzdump-locked", "vzdump-lockwait1"] {
        assert_eq!(progress(&transcript(silent)), None, "{silent}");
    }
    let beyond = "INFO: 101% (69.0 MiB of 68.0 MiB) in 14s, read: 1.2 MiB/s, write: 28.0 KiB/s";
    assert_eq!(progress(beyond), Some((mib(680), mib(680))));
    let huge = "INFO:  50% (1.5 TiB of 3.0 TiB) in 1d 2h 3m, read: 9.0 MiB/s, write: 0.0 B/s";
    assert_eq!(progress(huge), Some((3 << 39, 3 << 40)));
    for no in
        ["INFO:  0% (0.0 B of 0.0 B) in 0s, read: 0", "INFO: x% (1 of 2)", "  5% (1.0 B of 2.0 B)"]
    {
        assert_eq!(progress(no), None, "{no}");
    }
}

#[test]
fn trap_20_older_nodes_tell_progress_in_other_words() {
    let old = "INFO: status: 3% (1234567/41234567), sparse 1% (567), duration 3, read/write 400/300 MB/s\n\
        INFO: status: 7% (2234567/41234567), sparse 1% (567), duration 6, read/write 400/300 MB/s";
    assert_eq!(progress(old), Some((2_234_567, 41_234_567)));
}

#[test]
fn trap_18_a_freeze_that_was_skipped_or_failed_is_told() {
    let read = |lines: &str| {
        let head = "INFO: Starting Backup of VM 112 (qemu)\nINFO: status = running\n";
        Account::read(Vmid::new(112).expect("a VMID"), &format!("{head}{lines}"))
    };
    for (lines, freeze, consistency) in [
        (
            "INFO: skipping guest filesystem freeze - agent configured but not running?",
            Freeze::Skipped("agent configured but not running".into()),
            Consistency::Crash,
        ),
        (
            "INFO: skipping guest-agent 'fs-freeze', agent configured but not running?",
            Freeze::Skipped("agent configured but not running".into()),
            Consistency::Crash,
        ),
        (
            "INFO: issuing guest-agent 'fs-freeze' command\nINFO: issuing guest-agent 'fs-thaw' command",
            Freeze::Done,
            Consistency::FileSystem,
        ),
        (
            "INFO: issuing guest-agent 'fs-freeze' command\nERROR: VM 112 qmp command 'guest-fsfreeze-freeze' failed - got timeout",
            Freeze::Failed(
                "VM 112 qmp command 'guest-fsfreeze-freeze' failed - got timeout".into(),
            ),
            Consistency::Crash,
        ),
    ] {
        let account = read(lines);
        assert_eq!((account.consistency(), account.freeze), (consistency, freeze), "{lines}");
    }
    let thaw = read("INFO: issuing guest-agent 'fs-thaw' command\nERROR: got timeout");
    assert!(thaw.warnings.iter().any(|it| it.contains("still be frozen")), "{thaw:?}");
    let skipped = account(112, "vzdump-stdout");
    assert_eq!(skipped.freeze, Freeze::Skipped("disabled in VM options".into()));
    assert_eq!(account(112, "vzdump-stopped-zstd").consistency(), Consistency::Off);
}

#[test]
fn trap_17_what_is_not_in_the_archive_is_told() {
    let of = |vmid, name| account(vmid, name).warnings.join("\n");
    assert!(of(112, "vzdump-paused").contains("pending configuration changes found"));
    assert!(of(201, "vzdump-lxc-unpriv").contains("excluding bind mount point mp0 ('/mnt/data')"));
    assert!(of(130, "vzdump-after-crash").contains("left-over backup job still running"));
    assert_eq!(of(112, "vzdump-template"), "");
    assert_eq!(account(112, "vzdump-paused").consistency(), Consistency::Crash);
}

#[test]
fn a_container_that_cannot_be_snapshotted_is_reported_as_suspended() {
    let log = "INFO: Starting Backup of VM 200 (lxc)\nINFO: status = running\n\
        INFO: mode failure - some volumes do not support snapshots\n\
        INFO: trying 'suspend' mode instead\nINFO: suspending guest\n";
    let account = Account::read(Vmid::new(200).expect("a VMID"), log);
    assert_eq!(account.warnings.len(), 2, "{account:?}");
}

#[test]
fn trap_19_a_failed_hook_leaves_the_data_complete() {
    let account = account(112, "vzdump-hook-fails");
    assert!(account.data_complete && !account.finished);
    assert!(account.failure.is_some_and(|why| why.contains("backup-end snapshot 112")));
}

#[test]
fn a_tar_that_could_not_read_a_file_is_not_complete() {
    let read = |reason: &str| {
        let log = format!(
            "INFO: Starting Backup of VM 200 (lxc)\nINFO: Total bytes written: 2048000 (2.0MiB, 384MiB/s)\n\
            ERROR: Backup of VM 200 failed - {reason}\n"
        );
        Account::read(Vmid::new(200).expect("a VMID"), &log)
    };
    let tar = read("command 'set -o pipefail && tar cpf - --totals ./' failed: exit code 2");
    assert!(!tar.data_complete && tar.failure.is_some(), "{tar:?}");
    let hook = read("command '/root/hook.sh backup-end snapshot 200' failed: exit code 3");
    assert!(hook.data_complete && !hook.finished, "{hook:?}");
}

#[test]
fn trap_14_the_archives_name_is_taken_from_the_log() {
    let archive = account(130, "vzdump-live-bwlimit").archive;
    let name = "/var/lib/vz/dump/vzdump-qemu-130-2026_11_22-01_55_42.vma.zst";
    assert_eq!(archive.as_deref(), Some(name));
    assert_eq!(account(200, "vzdump-lxc-stdout").tar_bytes, Some(2_048_000));
}

#[test]
fn a_second_run_in_one_log_is_read_by_itself() {
    let log = transcript("vzdump-dumpdir-full") + &transcript("vzdump-live-bwlimit");
    let account = Account::read(Vmid::new(130).expect("a VMID"), &log);
    assert!(account.finished && account.failure.is_none() && !account.was_off, "{account:?}");
}
