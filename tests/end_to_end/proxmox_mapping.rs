//! What a restore to another Proxmox node changes on request: networks, addresses, storages.

use drs_tests::nodes::{DC, DRC, Nodes, WAYS, installation};
use drs_tests::product::Installation;

/// Restores the newest point of a guest with these options and gives the new guest's number.
#[track_caller]
fn restored(nodes: &Nodes, drs: &Installation, source: &str, options: &[&str]) -> String {
    let vmid = nodes.fresh_vmid().to_string();
    let (latest, to) = (format!("latest:{source}"), format!("{DRC}/{vmid}"));
    drs.run(&[&["restore", &latest, "--to", &to], options].concat()).ok();
    vmid
}

#[test]
fn networks_are_exchanged_with_their_vlan_tags() {
    let (nodes, drs, _turn) = installation();
    let machine = nodes.guest("boot", &[]);
    let mac = "BC:24:11:00:20:01";
    let card = format!("virtio={mac},bridge=vmbr0,tag=20,firewall=1");
    nodes.run(&["enter", DC, "qm", "set", &machine.vmid, "--net0", &card]);
    let container = nodes.guest("ct", &[]);
    let card = format!("name=eth0,bridge=vmbr0,hwaddr={mac},ip=dhcp,tag=20,type=veth");
    nodes.run(&["enter", DC, "pct", "set", &container.vmid, "--net0", &card]);
    for guest in [&machine, &container] {
        drs.run(&["backup", &guest.reference()]).ok();
        for (map, bridge, tag) in [
            ("vmbr0=vmbr1", "bridge=vmbr1", Some("tag=20")),
            ("vmbr0.20=vmbr1.30", "bridge=vmbr1", Some("tag=30")),
            ("vmbr0.20=vmbr1", "bridge=vmbr1", None),
            ("vmbr0.99=vmbr1", "bridge=vmbr0", Some("tag=20")),
        ] {
            let vmid = restored(nodes, &drs, &guest.reference(), &["--network", map]);
            let card = nodes.entry(DRC, &vmid, "net0").expect("a card");
            let parts: Vec<&str> = card.split(',').collect();
            assert!(parts.contains(&bridge) && card.contains(mac), "{map}: {card}");
            let found = parts.iter().find(|part| part.starts_with("tag="));
            assert_eq!(found.copied(), tag, "{map}: {card}");
            nodes.remove(DRC, &vmid);
        }
    }
}

#[test]
fn a_copy_has_addresses_and_a_uuid_of_its_own() {
    let (nodes, drs, _turn) = installation();
    for kind in ["boot", "ct"] {
        let guest = nodes.guest(kind, &[]);
        drs.run(&["backup", &guest.reference()]).ok();
        for way in WAYS {
            let options = [&["--unique"], way].concat();
            let vmid = restored(nodes, &drs, &guest.reference(), &options);
            let mac = |node, vmid| {
                let card = nodes.entry(node, vmid, "net0").expect("a card");
                let mac = card.split([',', '=']).find(|part| part.matches(':').count() == 5);
                mac.expect("an address").to_lowercase()
            };
            assert_ne!(mac(DC, &guest.vmid), mac(DRC, &vmid));
            if kind == "boot" {
                let uuid = |node, vmid| nodes.entry(node, vmid, "smbios1").expect("a uuid");
                assert_ne!(uuid(DC, &guest.vmid), uuid(DRC, &vmid));
            }
            nodes.nothing_left(&[(DRC, &vmid)]);
            nodes.remove(DRC, &vmid);
        }
    }
}

#[test]
fn disks_go_to_the_storages_that_are_named() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--disk2", "1M", "--format", "qcow2"]);
    drs.run(&["backup", &guest.reference()]).ok();
    for way in WAYS {
        let options = [&["--storage", "virtio1=fast"], way].concat();
        let vmid = restored(nodes, &drs, &guest.reference(), &options);
        let disk = |key| nodes.entry(DRC, &vmid, key).expect("a disk");
        assert!(disk("scsi0").starts_with("local:") && disk("scsi0").contains(".qcow2"));
        assert!(disk("virtio1").starts_with("fast:"), "{}", disk("virtio1"));
        nodes.nothing_left(&[(DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}
