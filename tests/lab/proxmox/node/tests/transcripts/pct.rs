//! pct: containers.

use std::fs;
use std::process::Command;

use super::scratch::{Scratch, same, told};

const TAR_ZST: &str = "vzdump-lxc-200-2026_11_22-02_03_37.tar.zst";
const TAR_GZ: &str = "vzdump-lxc-201-2026_11_22-02_03_39.tar.gz";

fn with_backups() -> Scratch {
    let node = Scratch::new();
    node.containers();
    for (id, compress, ending, name) in
        [("200", "zstd", ".tar.zst", TAR_ZST), ("201", "gzip", ".tar.gz", TAR_GZ)]
    {
        let ended = node.run(&["vzdump", id, "--compress", compress, "--storage", "local"]);
        assert_eq!(ended.code, 0, "{}{}", ended.out(), ended.stderr);
        let made = node.file(node.archive(ending));
        fs::rename(made, node.file(format!("var/lib/vz/dump/{name}"))).expect("renamed");
    }
    node
}

#[test]
fn lists_locks_and_status() {
    let node = Scratch::new();
    node.containers();
    node.holds("pct-list");
    node.holds("pct-config");
    node.holds("pct-status");
    node.holds("pct-status-missing");
    node.holds("pct-destroy-missing");
    node.holds("pct-unlock-none");
    let file = "etc/pve/nodes/pve1/lxc/200.conf";
    node.write(file, &format!("{}lock: backup\n", node.read(file)));
    node.holds_as("pct-set-lock", &["pct", "start", "200"]);
    node.holds("pct-unlock");
    assert_eq!(node.run(&["pct", "start", "200"]).code, 0);
    assert_eq!(node.run(&["pct", "status", "200"]).out(), "status: running\n");
}

#[test]
fn restores() {
    let node = with_backups();
    node.holds("pct-restore");
    let tree = |id: u32, disk: u32| format!("var/lib/vz/private/{id}/vm-{id}-disk-{disk}.raw");
    assert_eq!(node.read(&format!("{}/home/app/a.txt", tree(210, 0))), "hello\n");
    assert!(!node.file(format!("{}/etc/vzdump", tree(210, 0))).exists());
    node.holds("pct-restore-exists");
    node.holds("pct-restore-force");
    assert!(!node.file(tree(210, 0)).exists(), "the old volume is gone");
    let config = node.run(&["pct", "config", "210"]).out();
    let mac = config.lines().find(|line| line.starts_with("net0")).expect("a card");
    let expected = told("pct-config-restored").stdout;
    let told_mac = expected.lines().find(|line| line.starts_with("net0")).expect("a card");
    assert_eq!(config.replace(mac, told_mac), expected);
    node.holds("pct-restore-unpriv");
    node.holds("pct-restore-badstorage");
    node.holds("pct-destroy");
}

#[test]
fn restores_from_standard_input() {
    let node = with_backups();
    let script = "zstd -dcq \"$1\" >\"$2\"";
    let mut unpack = Command::new("sh");
    unpack.args(["-c", script, "sh"]);
    unpack.arg(node.file(format!("var/lib/vz/dump/{TAR_ZST}"))).arg(node.file("ct.tar"));
    assert!(unpack.status().expect("zstd runs").success());
    let fed = |name: &str| {
        let told = told(name);
        let words = told.argv.iter().map(String::as_str);
        let argv: Vec<&str> = words.take_while(|word| *word != "<").collect();
        same(name, &told, &node.feed(&argv, "ct.tar"));
    };
    fed("pct-restore-stdin-norootfs");
    fed("pct-restore-stdin");
    assert!(node.run(&["pct", "config", "220"]).out().contains("vm-220-disk-0.raw,size=1G"));
}
