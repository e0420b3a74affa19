//! qmrestore: success in every way in, and what failures leave.

use std::fs;
use std::process::{Command, Stdio};

use super::archives::{conf, one_disk};
use super::scratch::{Ended, Scratch, Told, ended, same, same_lines, told};

const MAP: &str = "#qmdump#map:scsi0:drive-scsi0:local:raw:\n";
const VMA_ZST: &str = "vzdump-qemu-112-2026_11_22-01_50_08.vma.zst";

/// A node with a backup of VM 112 under the name that the transcripts use.
fn with_backup() -> Scratch {
    let node = Scratch::new();
    let ended = node.run(&["vzdump", "112", "--storage", "local", "--compress", "zstd"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let made = node.file(node.archive(".vma.zst"));
    fs::rename(made, node.file(format!("var/lib/vz/dump/{VMA_ZST}"))).expect("renamed");
    node
}

fn feed(node: &Scratch, argv: &[&str], archive: &[u8]) -> Ended {
    fs::write(node.file("input"), archive).expect("written");
    node.feed(argv, "input")
}

/// Feeds an archive to a transcript's command.
#[track_caller]
fn holds_fed(node: &Scratch, name: &str, archive: &[u8]) {
    let told = told(name);
    let words = told.argv.iter().map(String::as_str);
    let argv: Vec<&str> = words.take_while(|word| *word != "<").collect();
    same(name, &told, &feed(node, &argv, archive));
}

#[test]
fn a_new_vm_has_the_disks_and_the_configuration() {
    let node = with_backup();
    let ended = node.holds("qmrestore-new");
    assert!(ended.out().contains("CFG: size: 502 name: qemu-server.conf"), "{}", ended.out());
    let disk = |id: u32| {
        fs::read(node.file(format!("var/lib/vz/images/{id}/vm-{id}-disk-0.raw"))).expect("a disk")
    };
    assert!(disk(212) == disk(112), "the disk is equal");
    let without_id = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("vmgenid")).map(str::to_owned).collect()
    };
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fixtures/proxmox/transcripts");
    let real = fs::read_to_string(format!("{fixtures}/restored-212.conf")).expect("the real one");
    assert_eq!(without_id(&node.config(212)), without_id(&real));
    let compared = Command::new("qemu-img")
        .args(["compare", "-f", "qcow2", "-F", "qcow2"])
        .arg(node.file("srv/nfs-dr/images/112/vm-112-disk-0.qcow2"))
        .arg(node.file("srv/nfs-dr/images/212/vm-212-disk-0.qcow2"))
        .stdout(Stdio::null())
        .status();
    assert!(compared.expect("qemu-img runs").success());
}

#[test]
fn what_cannot_be_is_refused() {
    let node = with_backup();
    node.holds("qmrestore-missing-file");
    node.holds("qmrestore-bad-vmid");
    node.vm(212, "memory: 64\n");
    node.holds("qmrestore-exists");
    node.vm(214, "memory: 128\n");
    node.write("etc/hosts", "127.0.0.1 localhost\n");
    node.holds("qmrestore-badname");
    node.switch_on(212);
    node.holds("qmrestore-force-running");
}

#[test]
fn force_and_unique_and_another_storage() {
    let node = with_backup();
    node.run(&["qmrestore", &format!("/var/lib/vz/dump/{VMA_ZST}"), "212"]);
    let old = node.config(212);
    node.holds("qmrestore-force");
    let new = node.config(212);
    let uuid = |text: &str| text.lines().find(|l| l.starts_with("smbios1")).map(str::to_owned);
    assert_ne!(uuid(&old), uuid(&new));
    assert!(new.contains("virtio1: nfs-dr:212/vm-212-disk-1.qcow2"), "{new}");
    assert!(!node.file("var/lib/vz/images/212").exists(), "the old disks are gone");
}

#[test]
fn from_standard_input() {
    let node = Scratch::new();
    let ended = node.run(&["vzdump", "112", "--stdout", "--dumpdir", "/var/tmp"]);
    let mut told: Told = told("qmrestore-stdin");
    told.stderr.clear();
    same("qmrestore-stdin", &told, &feed(&node, &["qmrestore", "-", "216"], &ended.stdout));
    let ended = node.run(&["vzdump", "117", "--stdout", "--dumpdir", "/var/tmp"]);
    holds_fed(&node, "qmrestore-diskless", &ended.stdout);
}

#[test]
fn what_is_no_archive_costs_the_patience_and_leaves_a_stub() {
    let node = Scratch::new();
    same_lines("qmrestore-stdin-compressed", &feed(&node, &["qmrestore", "-", "217"], &[40, 181]));
    assert_eq!(node.config(217), "memory: 128\n");
    let mut child = node.command(&["qmrestore", "-", "218"]);
    let mut child = child.stdin(Stdio::piped()).spawn().expect("it starts");
    let stalled = child.stdin.take();
    same_lines("qmrestore-stdin-stalled", &ended(child.wait_with_output().expect("it ends")));
    drop(stalled);
}

#[test]
fn the_map_lines_decide() {
    let node = Scratch::new();
    let archive = |lines: &str| one_disk(&conf(lines), 8 << 20);
    holds_fed(&node, "qmrestore-own-writer", &archive(MAP));
    holds_fed(&node, "qmrestore-no-map", &archive(""));
    let more = "#qmdump#map:scsi1:drive-scsi1:local:raw:\n";
    holds_fed(&node, "qmrestore-extra-map", &archive(&format!("{MAP}{more}")));
    let unknown = MAP.replace(":local:", ":ceph-pool:");
    holds_fed(&node, "qmrestore-map-unknown-storage", &archive(&unknown));
    holds_fed(&node, "qmrestore-map-unknown-storage-override", &archive(&unknown));
    holds_fed(&node, "qmrestore-map-empty-storage", &archive(&MAP.replace(":local:", "::")));
    holds_fed(&node, "qmrestore-tiny-disk", &one_disk(&conf(MAP), 4096));
    for id in [502, 503, 504, 506] {
        assert_eq!(node.config(id), "memory: 128\n");
        node.holds(&format!("qm-destroy-after-failed-restore-{id}"));
    }
    assert!(!node.file("var/lib/vz/images/506").exists());
}

#[test]
fn an_excluded_disk_comes_back_as_a_comment() {
    let node = Scratch::new();
    let lines = "scsi1: local:900/vm-900-disk-1.raw,backup=0,size=4M\nlock: backup\nparent: x\n\
                 unused0: local:900/vm-900-disk-9.raw\n#vzdump#junk\n";
    let map = MAP.replace(":raw:", ":qcow2:");
    let archive = one_disk(&conf(&format!("{lines}{map}")), 8 << 20);
    holds_fed(&node, "qmrestore-backup0-and-junk-lines", &archive);
    let config = node.config(507);
    assert!(
        config.starts_with("#scsi1%3A local%3A900/vm-900-disk-1.raw,backup=0,size=4M\n"),
        "{config}"
    );
    for gone in ["lock", "parent", "unused", "junk", "qmdump"] {
        assert!(!config.contains(gone), "{gone}: {config}");
    }
}

#[test]
fn an_unknown_storage_and_a_truncated_archive() {
    let node = with_backup();
    let gz = "vzdump-qemu-112-2026_11_22-01_50_17.vma.gz";
    let whole = node.file(format!("var/lib/vz/dump/{VMA_ZST}"));
    let script = "zstd -dcq \"$1\" | gzip >\"$2\"";
    let mut gzip = Command::new("sh");
    gzip.args(["-c", script, "sh"]).arg(&whole).arg(node.file(format!("var/lib/vz/dump/{gz}")));
    assert!(gzip.status().expect("gzip runs").success());
    node.holds("qmrestore-badstorage");

    let bytes = fs::read(&whole).expect("the archive");
    let short = "vzdump-qemu-112-2024_01_01-00_00_00.vma.zst";
    let cut = &bytes[..bytes.len() * 3 / 4];
    fs::write(node.file(format!("var/lib/vz/dump/{short}")), cut).expect("written");
    let ended = node.run(&["qmrestore", &format!("/var/lib/vz/dump/{short}"), "215"]);
    assert_eq!(ended.code, 255);
    for line in [
        "temporary volume 'local:215/vm-215-disk-0.raw' successfully removed",
        "temporary volume 'nfs-dr:215/vm-215-disk-0.qcow2' successfully removed",
        "no lock found trying to remove 'create'  lock",
        "VM 215 state is NOT cleaned up.",
    ] {
        assert!(ended.out().contains(line), "{line}: {}", ended.out());
    }
    assert!(ended.stderr.contains("failed: exit code 133"), "{}", ended.stderr);
    assert_eq!(node.config(215), "memory: 128\n");
}

#[test]
fn the_amounts_are_those_of_the_real_tool() {
    let node = Scratch::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fixtures/proxmox");
    let real = format!("{fixtures}/one-disk/vzdump-qemu-112-2024_01_31-12_30_00.vma.zst");
    let input = Command::new("zstd").args(["-dcq", &real]).output().expect("zstd runs");
    let ended = feed(&node, &["qmrestore", "-", "600", "--storage", "local"], &input.stdout);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told = told("qmrestore-own-writer").stdout;
    for start in ["total bytes read", "space reduction"] {
        let line = told.lines().find(|line| line.starts_with(start)).expect("a line");
        assert!(ended.out().contains(line), "{line}: {}", ended.out());
    }
}
