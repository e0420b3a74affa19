//! VMs that come from another kind of hypervisor.

use drs_model::{
    Consistency, Disk, DiskContent, Firmware, Nic, PointId, RecoveryPoint, Timestamp, VmForm,
    VmSpec,
};

use super::*;
use crate::libvirt::foreign;

const CONFIG: &str = "#a description\nboot: order=scsi0;virtio1\nnet0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n\
    net2: e1000=BC:24:11:00:00:02,bridge=vmbr0,tag=20\nostype: win11\nscsihw: virtio-scsi-single\n\
    smbios1: uuid=11111111-2222-3333-4444-555555555555\n[snap]\nscsihw: lsi\n";

fn disk(name: &str) -> Disk {
    Disk {
        name: name.into(),
        size_bytes: 1,
        source: format!("local-lvm:vm-112-{name}"),
        format: "raw".into(),
        protected: true,
        unprotected_reason: String::new(),
    }
}

fn nic(mac: &str, network: &str, model: &str) -> Nic {
    Nic { mac: mac.into(), network: network.into(), model: model.into() }
}

/// A point of a Proxmox VE machine.
fn point(machine: &str, disks: &[&str]) -> RecoveryPoint {
    let native_config = serde_json::json!({ "qemu-server.conf": CONFIG }).to_string();
    let spec = VmSpec {
        name: "112".parse().expect("a name"),
        native_id: "qemu/112".into(),
        label: "web-112".into(),
        form: VmForm::Machine,
        vcpus: 2,
        memory_mib: 1024,
        firmware: Firmware::Bios,
        machine: machine.into(),
        disks: disks.iter().map(|name| disk(name)).collect(),
        nics: vec![
            nic("BC:24:11:00:00:01", "vmbr0", "virtio"),
            nic("BC:24:11:00:00:02", "vmbr0.20", "e1000"),
        ],
        guest_agent: true,
    };
    let contents = spec.contents().into_iter().map(|content| DiskContent {
        name: content.name,
        size_bytes: 1,
        data_bytes: 1,
        stored_bytes: 1,
        digest: String::new(),
    });
    RecoveryPoint {
        id: PointId::from(JobId::from_key("backup")),
        source: "pve/112".parse().expect("a VM"),
        hypervisor: HypervisorKind::Proxmox,
        consistent_at: Timestamp::UNIX_EPOCH,
        completed_at: Timestamp::UNIX_EPOCH,
        consistency: Consistency::Off,
        disks: contents.collect(),
        spec,
        native_config,
    }
}

fn restored(point: &RecoveryPoint, disks: &[PlannedDisk]) -> (Element, Vec<String>) {
    let target = target(&[("vmbr0", "br0"), ("vmbr0.20", "br20")], true);
    let source = foreign::domain(point).to_string();
    adapted(&source, disks, &target, &facts(&[], &["br0", "br20"])).expect("a description")
}

fn attributes<'a>(domain: &'a Element, kind: &'a str, path: &str, key: &str) -> Vec<&'a str> {
    let devices = domain.at("devices").into_iter().flat_map(|devices| devices.all(kind));
    devices.map(|it| it.at(path).and_then(|it| it.attribute(key)).unwrap_or("")).collect()
}

#[test]
fn a_machine_of_proxmox_keeps_what_its_guest_sees() {
    let names = ["scsi0", "virtio1", "sata0", "ide1", "scsi1"];
    let disks = names.map(planned);
    let (domain, remarks) = restored(&point("pc-i440fx-9.0+pve0", &names), &disks);
    assert_eq!(spec::machine(&domain), "pc-i440fx-7.2");
    assert_eq!(
        remarks,
        ["the target host lacks machine type pc-i440fx-9.0: it gets pc-i440fx-7.2"]
    );
    let of_disks = |key| attributes(&domain, "disk", "target", key);
    assert_eq!(of_disks("bus"), ["scsi", "virtio", "sata", "ide", "scsi"]);
    assert_eq!(of_disks("dev"), ["sda", "vda", "sdb", "hda", "sdc"]);
    assert_eq!(attributes(&domain, "disk", "boot", "order"), ["1", "2", "3", "4", "5"]);
    let files = attributes(&domain, "disk", "source", "file");
    assert_eq!(files[1], "/images/new-virtio1.qcow2");
    let of_nics = |path, key| attributes(&domain, "interface", path, key);
    assert_eq!(of_nics("mac", "address"), ["BC:24:11:00:00:01", "BC:24:11:00:00:02"]);
    assert_eq!(of_nics("model", "type"), ["virtio", "e1000"]);
    assert_eq!(of_nics("source", "bridge"), ["br0", "br20"]);
    // net0 and net2: the numbers count, not the places in the list.
    assert_eq!(of_nics("address", "slot"), ["0x12", "0x14"]);
    let controller = domain.at("devices/controller").and_then(|it| it.attribute("model"));
    assert_eq!(controller, Some("virtio-scsi"));
    assert_eq!(domain.at("clock").and_then(|it| it.attribute("offset")), Some("localtime"));
    let uuid = domain.at("uuid").map(Element::text);
    assert_eq!(uuid, Some("11111111-2222-3333-4444-555555555555"));
}

#[test]
fn an_unnamed_machine_type_of_proxmox_is_i440fx_and_q35_has_no_fixed_slots() {
    let (domain, _) = restored(&point("", &["scsi0"]), &[planned("scsi0")]);
    assert_eq!(spec::machine(&domain), "pc");
    let (domain, _) = restored(&point("q35", &["scsi0"]), &[planned("scsi0")]);
    assert_eq!(spec::machine(&domain), "q35");
    assert_eq!(foreign::remarks(&point("q35", &["scsi0"])).len(), 1);
    assert_eq!(foreign::remarks(&point("pc", &["scsi0"])), [""; 0]);
    assert_eq!(attributes(&domain, "interface", "address", "slot"), ["", ""]);
}

#[test]
fn the_memory_of_the_firmware_stays_behind() {
    let mut point = point("q35", &["efidisk0", "scsi0"]);
    point.spec.firmware = Firmware::Uefi;
    let left = PlannedDisk { staging: String::new(), path: String::new(), ..planned("efidisk0") };
    let (domain, remarks) = restored(&point, &[left, planned("scsi0")]);
    assert_eq!(attributes(&domain, "disk", "target", "dev"), ["sda"]);
    assert_eq!(spec::firmware(&domain), Firmware::Uefi);
    assert!(remarks.iter().any(|remark| remark.starts_with("efidisk0 ")), "{remarks:?}");
    assert!(foreign::is_firmware(&point, "efidisk0") && !foreign::is_firmware(&point, "scsi0"));
}

#[test]
fn a_simulated_vm_becomes_a_domain() {
    let mut point = point("simulated", &["vda", "vdz"]);
    (point.hypervisor, point.native_config) = (HypervisorKind::Simulated, String::new());
    point.spec.disks[1].protected = false;
    let (domain, remarks) = restored(&point, &[planned("vda")]);
    assert_eq!(remarks, [""; 0]);
    assert_eq!(domain.attribute("type"), Some("qemu"));
    assert!(domain.at("cpu").is_none());
    let spec = spec_of(&domain.to_string());
    assert_eq!((spec.memory_mib, spec.vcpus, spec.guest_agent), (1024, 2, true));
    assert_eq!(spec.nics[0].mac, point.spec.nics[0].mac);
    assert_eq!(spec.disks.len(), 1);
    assert_eq!(attributes(&domain, "disk", "target", "bus"), ["virtio"]);
}
