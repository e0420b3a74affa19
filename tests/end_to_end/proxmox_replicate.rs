//! Replication between two Proxmox nodes: one job makes the point and brings the counterpart up to date.

use drs_tests::nodes::{BOOTED, DC, DRC, Nodes, WAYS, installation};
use drs_tests::product::Installation;

fn counterpart(drs: &Installation) -> String {
    drs.json(&["pair", "list"])[0]["target_name"].as_str().expect("a number").to_owned()
}

/// The root of a container is a folder, the disk of a machine a file.
fn same_data(nodes: &Nodes, kind: &str, source: &str, copy: &str) -> bool {
    let (key, file) = if kind == "ct" { ("rootfs", "home/data.bin") } else { ("scsi0", "") };
    let read = |node, vmid| {
        let volume = nodes.volume(node, vmid, key);
        let path = if file.is_empty() { volume } else { volume.join(file) };
        std::fs::read(path).expect("data")
    };
    read(DC, source) == read(DRC, copy)
}

#[test]
fn a_counterpart_is_made_refreshed_and_left_alone_when_it_runs() {
    let (nodes, drs, _turn) = installation();
    for (kind, way) in [("boot", WAYS[0]), ("boot", WAYS[1]), ("ct", WAYS[0]), ("ct", WAYS[1])] {
        let guest = nodes.guest(kind, &[]);
        let first = nodes.fresh_vmid().to_string();
        let target = format!("{DRC}/{first}");
        drs.run(&["pair", "add", "web", "--source", &guest.reference(), "--target", &target]).ok();
        let before = nodes.vmids(DRC);
        let replicate = [&["replicate", "web"], way].concat();
        drs.run(&replicate).ok();
        assert_eq!(counterpart(&drs), first);
        assert!(!nodes.runs(DRC, &first), "it is kept off");
        assert!(same_data(nodes, kind, &guest.vmid, &first), "{kind} {way:?}");

        let change = if kind == "ct" { "home/data.bin" } else { "" };
        let volume = nodes.volume(DC, &guest.vmid, if kind == "ct" { "rootfs" } else { "scsi0" });
        let path = if change.is_empty() { volume } else { volume.join(change) };
        let mut data = std::fs::read(&path).expect("data");
        data.iter_mut().skip(1 << 20).take(1 << 16).for_each(|byte| *byte ^= 0xff);
        std::fs::write(&path, data).expect("written");
        drs.run(&replicate).ok();
        let second = counterpart(&drs);
        assert!(same_data(nodes, kind, &guest.vmid, &second), "{kind} {way:?}");
        assert_eq!(nodes.vmids(DRC).len(), before.len() + 1, "the copy of before is gone");
        assert_eq!(
            drs.json(&["point", "list", "--vm", &guest.reference()]).as_array().map(Vec::len),
            Some(2)
        );

        drs.run(&["power", "start", &format!("{DRC}/{second}")]).ok();
        if kind == "boot" {
            nodes.console(DRC, &second, BOOTED);
        }
        drs.run(&replicate).fails(4, &["not off", "--replace"]);
        assert!(nodes.runs(DRC, &second));
        nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &second)]);
        nodes.remove(DRC, &second);
        drs.run(&["pair", "remove", "web"]).ok();
    }
}
