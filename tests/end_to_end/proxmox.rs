//! Two Proxmox nodes: what is backed up in the data centre is restored in the recovery centre, as it
//! was, whichever way it travels.

use std::path::Path;

use drs_tests::nodes::{BOOTED, DC, DRC, Nodes, Vm, WAYS, installation};
use drs_tests::product::wait_for;

/// A volume has whole KiB: what is longer than the source is zero.
#[track_caller]
fn same_bytes(source: &Path, restored: &Path) {
    let read = |path: &Path| std::fs::read(path).expect("an image");
    let (mut source, restored) = (read(source), read(restored));
    source.resize(source.len().next_multiple_of(1024), 0);
    assert!(source == restored, "the disks differ: {} and {}", source.len(), restored.len());
}

/// The configuration that a restored machine is to have: that of its source on volumes of its own, with
/// their sizes in whole KiB, without the disk that no backup covers, with a generation id of its own.
fn expected(nodes: &Nodes, source: &Vm, vmid: &str, generation: &str) -> Vec<String> {
    let volumes = (format!(":{0}/vm-{0}-", source.vmid), format!(":{vmid}/vm-{vmid}-"));
    let mut lines: Vec<String> = nodes
        .lines(DC, &source.vmid)
        .into_iter()
        .filter(|line| !line.starts_with("scsi1:"))
        .map(|line| match line.strip_prefix("vmgenid: ") {
            Some(old) => {
                assert_ne!(old, generation, "the generation id is new");
                format!("vmgenid: {generation}")
            }
            None => line.replace(&volumes.0, &volumes.1).replace("size=1573376", "size=1537K"),
        })
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_machine_with_two_disks_is_the_same_in_the_recovery_centre() {
    let (nodes, drs, _turn) = installation();
    for way in WAYS {
        let guest = nodes.guest("boot", &["--disk2", "1573376", "--excluded", "1M"]);
        guest.start();
        let told = drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(told.contains("scsi1 is not covered") && told.contains("backup=0"), "{told}");
        nodes.nothing_left(&[(DC, &guest.vmid)]);

        let vmid = nodes.fresh_vmid().to_string();
        let to = format!("{DRC}/{vmid}");
        let latest = format!("latest:{}", guest.reference());
        drs.run(&[&["restore", &latest, "--to", &to, "--start"], way].concat()).ok();
        nodes.console(DRC, &vmid, BOOTED);
        assert!(nodes.runs(DRC, &vmid) && nodes.runs(DC, &guest.vmid));
        for disk in ["scsi0", "virtio1"] {
            let source = nodes.volume(DC, &guest.vmid, disk);
            same_bytes(&source, &nodes.volume(DRC, &vmid, disk));
        }
        let generation = nodes.entry(DRC, &vmid, "vmgenid").expect("a generation id");
        assert_eq!(nodes.lines(DRC, &vmid), expected(nodes, &guest, &vmid, &generation), "{way:?}");
        nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}

/// What a tree is, in words: names, kinds, modes, sizes, owners, links, times, devices, attributes, access
/// lists, contents; and which files share their bytes or have holes.
const TREE: &str = r#"
cd "$1" || exit 1
find . -mindepth 1 -path ./dev -prune -o -type f -printf '%p %y %m %s %U %G %n %T@\n' -o ! -type d -printf '%p %y %m %s %U %G %n %l\n' -o -printf '%p %y %m %U %G\n' | sort
find . -path ./dev -prune -o ! -type d ! -type f -print | sort | xargs -r stat -c '%n %Y'
find . -type c -o -type b | sort | xargs -r stat -c '%n %t %T'
find . -samefile home/app/hard.txt | sort
find . -type f -size +1M -printf '%p %b\n' | awk '{ print $1, $2 < 2048 ? "has holes" : "is full" }' | sort
getfattr --absolute-names -hdR -m user . 2>/dev/null
getfacl -Rn . 2>/dev/null
find . -type f | sort | xargs sha256sum
"#;

fn tree(nodes: &Nodes, node: &str, vmid: &str) -> String {
    let root = nodes.volume(node, vmid, "rootfs").display().to_string();
    let root = root.split("/disk/").nth(1).expect("a path on the node");
    nodes.run(&["enter", node, "sh", "-c", TREE, "sh", &format!("/{root}")])
}

#[test]
fn a_container_has_the_same_tree_in_the_recovery_centre() {
    let (nodes, drs, _turn) = installation();
    for way in WAYS {
        let guest = nodes.guest("ct", &[]);
        guest.start();
        drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let vmid = nodes.fresh_vmid().to_string();
        let to = format!("{DRC}/{vmid}");
        let latest = format!("latest:{}", guest.reference());
        drs.run(&[&["restore", &latest, "--to", &to, "--start"], way].concat()).ok();
        assert!(nodes.runs(DRC, &vmid) && nodes.runs(DC, &guest.vmid));

        let (before, after) = (tree(nodes, DC, &guest.vmid), tree(nodes, DRC, &vmid));
        assert_eq!(before, after, "{way:?}");
        for part in ["./home/app/null c", "sparse.bin has holes", "./home/app/sym l", "fifo p"] {
            assert!(before.contains(part), "{part} is not in {before}");
        }
        let volumes = (format!(":{0}/vm-{0}-", guest.vmid), format!(":{vmid}/vm-{vmid}-"));
        let lines = nodes.lines(DC, &guest.vmid).into_iter();
        let expected: Vec<String> =
            lines.map(|line| line.replace(&volumes.0, &volumes.1)).collect();
        assert_eq!(nodes.lines(DRC, &vmid), expected, "{way:?}");
        nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}

#[test]
fn a_machine_that_writes_goes_on_while_it_is_backed_up() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("writer", &[]);
    guest.start();
    nodes.console(DC, &guest.vmid, BOOTED);
    let image = nodes.volume(DC, &guest.vmid, "scsi0");
    for way in WAYS {
        drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let before = std::fs::read(&image).expect("an image");
        wait_for("the guest writes on", || {
            (std::fs::read(&image).expect("an image") != before).then_some(())
        });
    }
    let to = format!("{DRC}/{}", guest.vmid);
    let latest = format!("latest:{}", guest.reference());
    drs.run(&["restore", &latest, "--to", &to, "--start"]).ok();
    nodes.console(DRC, &guest.vmid, BOOTED);
    nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &guest.vmid)]);
}
