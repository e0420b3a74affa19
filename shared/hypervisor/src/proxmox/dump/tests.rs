use super::*;

const FOLDER: &str = "/var/lib/vz/drs/0192f0c1-0000-7000-8000-000000000001";
const NAME: &str = "vzdump-qemu-112-2026_11_22-01_48_38.vma.zst";

fn vmid() -> Vmid {
    Vmid::new(112).expect("a VMID")
}

fn report(files: &str, log: &str) -> Report {
    Report::parse(&format!("{files}BEGAN 1795312118000\nLOG\n{log}")).expect("a report")
}

/// The log of a dump into a file of that name, with these last words.
fn log(path: &str, end: &str) -> String {
    format!(
        "INFO: Starting Backup of VM 112 (qemu)\nINFO: creating vzdump archive '{path}'\n\
        INFO: transferred 68.00 MiB in 14 seconds (4.9 MiB/s)\nINFO: archive file size: 13KB\n{end}"
    )
}

const FINISHED: &str = "INFO: Finished Backup of VM 112 (00:00:14)\n";

fn good_log() -> String {
    log(&format!("{FOLDER}/{NAME}"), FINISHED)
}

#[test]
fn a_dump_is_there_when_log_and_folder_agree() {
    let report = report(&format!("FILE 13312 {NAME}\nFILE 900 x.log\n"), &good_log());
    assert_eq!(report.archive(vmid(), FOLDER), Some(Ok((format!("{FOLDER}/{NAME}"), 13312))));
    assert_eq!(report.log.began.as_second(), 1_795_312_118);
}

#[test]
fn trap_02_an_archive_that_only_lies_there_is_no_dump() {
    let report = report(&format!("FILE 13312 {NAME}\n"), "");
    assert_eq!(report.archive(vmid(), FOLDER), None);
}

#[test]
fn trap_10_only_the_log_and_the_files_count() {
    let archive = |files: &str, log: &str| report(files, log).archive(vmid(), FOLDER);
    let there = format!("FILE 13312 {NAME}\n");
    for (files, wrong) in [
        (String::new(), "is not there"),
        (format!("FILE 0 {NAME}\n"), "is empty"),
        (format!("{there}FILE 7 vzdump-qemu-112-2026_11_22-01_48_38.vma.dat\n"), "being written"),
    ] {
        let reason = archive(&files, &good_log()).and_then(Result::err).expect("a contradiction");
        assert!(reason.contains(wrong), "{reason}");
    }
    let elsewhere = log(&format!("/var/lib/vz/dump/{NAME}"), FINISHED);
    assert!(archive(&there, &elsewhere).is_some_and(|it| it.is_err()));
}

#[test]
fn trap_14_type_guest_and_packing_are_told_by_the_name() {
    assert_eq!(form_of(NAME, vmid()), Some(VmForm::Machine));
    let tar = "vzdump-lxc-112-2026_11_22-01_48_38.tar.zst";
    assert_eq!(form_of(tar, vmid()), Some(VmForm::Container));
    for other in [
        "vzdump-qemu-113-2026_11_22-01_48_38.vma.zst",
        "vzdump-qemu-112-2026_11_22-01_48_38.vma",
        "vzdump-qemu-112-2026_11_22-01_48_38.vma.gz",
        "vzdump-lxc-112-2026_11_22-01_48_38.vma.zst",
        "vzdump-qemu-112-2026_11_22.vma.zst",
        "vzdump-qemu-112-2026_11_22-01_48_38.vma.dat",
    ] {
        assert_eq!(form_of(other, vmid()), None, "{other}");
    }
}

#[test]
fn trap_19_a_dump_whose_hook_failed_behind_the_data_is_there() {
    let failed =
        "ERROR: Backup of VM 112 failed - command '/root/hook backup-end' failed: exit code 3\n";
    let log = log(&format!("{FOLDER}/{NAME}"), failed);
    let archive = report(&format!("FILE 13312 {NAME}\n"), &log).archive(vmid(), FOLDER);
    assert!(archive.is_some_and(|it| it.is_ok()));
}

#[test]
fn a_limit_is_told_in_kib_and_never_as_none() {
    let (driver, _) = crate::proxmox::export::tests::driver("", 0);
    let grip = crate::proxmox::export::tests::grip();
    for (limit, told) in [(None, ""), (Some(1), "1"), (Some(6 << 20), "6144")] {
        assert_eq!(driver.dump_call(&grip, limit).parts().last().map(String::as_str), Some(told));
    }
}
