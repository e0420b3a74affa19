//! From one hypervisor to the other, and what does not go there.

use std::path::Path;

use drs_tests::lab::{HOSTS, Lab, remove};
use drs_tests::nodes::{DC, DRC, Nodes, WAYS, installation};

/// The digest of an image as its guest sees it, whatever its format.
fn digest(run: impl Fn(&[&str]) -> String, image: &str) -> String {
    let script = "'qemu-img convert -O raw \"$1\" /var/tmp/as-raw && sha256sum </var/tmp/as-raw; rm -f /var/tmp/as-raw'";
    run(&["sh", "-c", script, "sh", image])
}

fn on_node(nodes: &Nodes, node: &str, vmid: &str, disk: &str) -> String {
    let path = nodes.volume(node, vmid, disk);
    let path = path.strip_prefix(nodes.of_node("DISK", node)).expect("a path").to_owned();
    digest(|argv| nodes.ssh(node, argv), &Path::new("/").join(path).display().to_string())
}

#[test]
fn a_libvirt_vm_runs_on_a_proxmox_node_with_its_data() {
    let (nodes, drs, _turn) = installation();
    let lab = Lab::get();
    lab.add_host(&drs, HOSTS[0], "lv");
    let guest = lab.stopped("tick", 16);
    let images = lab.of_host("IMAGES", HOSTS[0]);
    let before = digest(|argv| lab.ssh(HOSTS[0], argv), &format!("{images}/{}.qcow2", guest.name));
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    for way in WAYS {
        let vmid = nodes.fresh_vmid().to_string();
        let to = format!("{DRC}/{vmid}");
        let args = ["restore", &latest, "--to", &to, "--network", "br-dr-a=vmbr0"];
        drs.run(&[&args[..], way].concat()).ok();
        let disk = ["virtio0", "scsi0", "sata0", "ide0"]
            .into_iter()
            .find(|disk| nodes.entry(DRC, &vmid, disk).is_some());
        let disk = disk.expect("a disk");
        assert_eq!(on_node(nodes, DRC, &vmid, disk), before, "{way:?}");
        drs.run(&["power", "start", &to]).ok();
        nodes.console(DRC, &vmid, &format!("@MARKER {}", guest.marker));
        nodes.nothing_left(&[(DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}

#[test]
fn a_proxmox_vm_runs_on_a_libvirt_host_with_its_data_and_a_container_does_not() {
    let (nodes, drs, _turn) = installation();
    let lab = Lab::get();
    lab.add_host(&drs, HOSTS[1], "lv");
    let guest = nodes.guest("boot", &["--disk2", "1573376"]);
    let name = format!("from-proxmox-{}", guest.vmid);
    let to = format!("{}/{name}", HOSTS[1]);
    let container = nodes.guest("ct", &[]);
    for way in WAYS {
        drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let latest = format!("latest:{}", guest.reference());
        drs.run(&["restore", &latest, "--to", &to, "--network", "vmbr0=br-dr-b"]).ok();
        let disks = lab.ssh(HOSTS[1], &["virsh", "-q", "domblklist", &name]);
        let images: Vec<&str> =
            disks.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(images.len(), 2, "{disks}");
        for (image, disk) in images.iter().zip(["scsi0", "virtio1"]) {
            let there = digest(|argv| lab.ssh(HOSTS[1], argv), image);
            assert_eq!(there, on_node(nodes, DC, &guest.vmid, disk), "{way:?}: {disk}");
        }
        drs.run(&["power", "start", &to]).ok();
        let state = lab.ssh(HOSTS[1], &["virsh", "-q", "domstate", &name]);
        assert_eq!(state.trim(), "running", "{way:?}");
        remove(lab, HOSTS[1], &name);
        for image in images {
            lab.ssh(HOSTS[1], &["rm", "-f", image]);
        }
    }
    drs.run(&["backup", &container.reference()]).ok();
    let latest = format!("latest:{}", container.reference());
    drs.run(&["restore", &latest, "--to", &to]).fails(6, &["container"]);
}
