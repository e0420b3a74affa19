//! What is made of configurations; what the node says of itself is tested on the lab.

use std::path::Path;

use drs_model::{
    Consistency, Disk, DiskContent, Firmware, HypervisorKind, Nic, RecoveryPoint, RestoreTarget,
    VmSpec,
};
use drs_vma::{Reader, Writer};

use super::storages::tests::found;
use super::*;
use crate::proxmox::config::{Config, spec};
use crate::proxmox::import::layout;
use crate::proxmox::vma_sink::Layout;

fn fixture(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox");
    std::fs::read_to_string(folder.join(path)).expect(path)
}

/// A point of a guest with this configuration, number 113 of host dc1.
fn point(form: VmForm, config: &str) -> RecoveryPoint {
    let native = Native::new(form, config, "[OPTIONS]\nenable: 1\n");
    let name = "113".parse().expect("a name");
    let vmid = Vmid::parse("113").expect("a number");
    of_spec(HypervisorKind::Proxmox, spec(&name, vmid, form, &native.config), native.text())
}

fn of_spec(hypervisor: HypervisorKind, spec: VmSpec, native_config: String) -> RecoveryPoint {
    let content = |content: drs_model::Content| DiskContent {
        name: content.name,
        size_bytes: content.size_bytes.unwrap_or(2_048_000),
        data_bytes: 4096,
        stored_bytes: 4096,
        digest: String::new(),
    };
    let instant = "2026-11-22T01:50:08Z".parse().expect("an instant");
    RecoveryPoint {
        id: JobId::from_key("point").into(),
        source: "dc1/113".parse().expect("a VM"),
        hypervisor,
        consistent_at: instant,
        completed_at: instant,
        consistency: Consistency::Crash,
        disks: spec.contents().into_iter().map(content).collect(),
        spec,
        native_config,
    }
}

fn target() -> RestoreTarget {
    RestoreTarget {
        vm: "dc2/113".parse().expect("a VM"),
        networks: [("vmbr7".to_owned(), "vmbr1".to_owned())].into_iter().collect(),
        storage: Default::default(),
        keep_macs: true,
        start: false,
        replace: None,
        pair: None,
    }
}

/// Plans the point for number 118 of a node with `local` and `nfs-dr`, `vmbr0` and `vmbr1`.
fn planned(point: &RecoveryPoint, target: &RestoreTarget, at_home: bool) -> Made {
    let request = ImportRequest { point, target };
    let wanted = Wanted {
        job: JobId::from_key("job"),
        vmid: Vmid::parse("118").expect("a number"),
        request: &request,
        at_home,
        version: 8,
        storages: Storages::of(None, found()),
        bridges: Bridges::of(["vmbr0", "vmbr1"]),
    };
    match point.spec.form {
        VmForm::Machine => machine::make(&wanted),
        VmForm::Container => container::make(&wanted),
    }
    .expect("a plan")
}

fn told(made: &Made, part: &str) -> bool {
    made.remarks.iter().any(|remark| remark.contains(part))
}

#[test]
fn a_machine_of_another_node_keeps_all_but_the_places_of_its_disks() {
    let text = fixture("two-disk/qemu-server.conf");
    let made = planned(&point(VmForm::Machine, &text), &target(), false);
    let config = &made.native.config;
    assert_eq!(config.get("scsi0"), Some("local:vm-118-scsi0,size=6156K"));
    assert_eq!(
        config.get("virtio1"),
        Some("nfs-dr:vm-118-virtio1,backup=1,cache=writeback,size=1573376")
    );
    let source = Config::parse(&text);
    for (key, value) in source.entries().filter(|(key, _)| !["scsi0", "virtio1"].contains(key)) {
        assert_eq!(config.get(key), Some(value), "{key}");
    }
    assert!(!config.to_string().contains("#qmdump#"));
    assert!(made.remarks.is_empty(), "{:?}", made.remarks);
    assert_eq!(
        made.devices,
        [("drive-scsi0".to_owned(), 6156 * 1024), ("drive-virtio1".to_owned(), 1_573_376)]
    );
    assert_eq!(made.maps[0].format, "qcow2");
}

#[test]
fn devices_stand_in_the_order_of_their_names_as_text() {
    let text = "boot: order=scsi2\nefidisk0: local:1/a.raw,size=528K\nbios: ovmf\n\
        scsi10: local:1/b.raw,size=1M\nscsi2: local:1/c.raw,size=2M\ntpmstate0: local:1/d.raw,size=4M\n";
    let point = point(VmForm::Machine, text);
    let made = planned(&point, &target(), false);
    let names: Vec<&str> = made.devices.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["drive-efidisk0", "drive-scsi10", "drive-scsi2", "drive-tpmstate0-backup"]);
    for (content, disk) in point.disks.iter().enumerate() {
        let (name, size) = &made.devices[made.contents[content]];
        assert!(name.starts_with(&format!("drive-{}", disk.name)), "{name}");
        assert_eq!(*size, disk.size_bytes);
    }
}

#[test]
fn trap_16_what_the_point_does_not_hold_is_left_out_and_told() {
    let text = "boot: order=scsi0;scsi1;ide2\nide0: local:iso/debian.iso,media=cdrom\n\
        ide2: local-lvm:vm-113-cloudinit,media=cdrom\nscsi0: local:113/a.raw,size=8M\n\
        scsi1: local:113/b.raw,backup=0,size=8M\nscsi2: /dev/sdx,size=8M\nunused0: local:113/old.raw\n";
    let made = planned(&point(VmForm::Machine, text), &target(), false);
    let config = &made.native.config;
    for gone in ["scsi1", "scsi2", "unused0"] {
        assert_eq!(config.get(gone), None, "{gone}");
    }
    assert!(told(&made, "no scsi1") && told(&made, "backup=0") && told(&made, "no scsi2"));
    assert_eq!(config.get("boot"), Some("order=scsi0;ide2"));
    assert_eq!(config.get("ide0"), Some("none,media=cdrom"));
    assert!(told(&made, "local:iso/debian.iso stays behind"));
    assert_eq!(config.get("ide2"), Some("local:vm-118-cloudinit,media=cdrom"));
    assert_eq!(made.maps.len(), 1);

    let home = planned(&point(VmForm::Machine, text), &target(), true);
    assert_eq!(home.native.config.get("ide0"), Some("local:iso/debian.iso,media=cdrom"));
    assert_eq!(home.native.config.get("scsi1"), None);
}

#[test]
fn what_names_something_of_its_node_stays_behind() {
    let text = "args: -device x\nhookscript: local:snippets/h.pl\nhostpci0: 01:00.0\nmemory: 64\n\
        onboot: 1\nserial0: socket\nserial1: /dev/ttyS0\nusb0: spice\nusb1: host=1234:5678\n";
    let mut target = target();
    let made = planned(&point(VmForm::Machine, text), &target, false);
    let config = &made.native.config;
    for gone in ["args", "hookscript", "hostpci0", "serial1", "usb1"] {
        assert!(config.get(gone).is_none() && told(&made, gone), "{gone}");
    }
    assert!(!told(&made, "-device x"), "it may hold a password");
    assert_eq!((config.get("serial0"), config.get("usb0")), (Some("socket"), Some("spice")));
    assert_eq!(config.get("onboot"), Some("1"));

    target.pair = Some("web".parse().expect("a pair"));
    let copy = planned(&point(VmForm::Machine, text), &target, true);
    assert_eq!(copy.native.config.get("hostpci0"), Some("01:00.0"));
    assert_eq!(copy.native.config.get("onboot"), Some("0"), "it must not run beside its source");
}

#[test]
fn trap_15_a_drill_gets_other_networks_and_addresses() {
    let text = "net0: virtio=BC:24:11:2A:6F:01,bridge=vmbr7,tag=20\nsmbios1: uuid=1,base64=1\n";
    let drill = RestoreTarget { keep_macs: false, ..target() };
    let made = planned(&point(VmForm::Machine, text), &drill, false);
    let card = made.native.config.get("net0").expect("a card");
    assert!(card.contains("bridge=vmbr1,tag=20") && !card.contains("2A:6F:01"), "{card}");
    assert!(told(&made, "vmbr7.20 becomes vmbr1.20") && told(&made, "new network addresses"));
    let smbios = made.native.config.get("smbios1").expect("a UUID");
    assert!(smbios.contains("base64=1") && !smbios.contains("uuid=1,"), "{smbios}");
}

#[test]
fn a_machine_of_another_hypervisor_gets_a_configuration() {
    let disk = |name: &str, size_bytes| Disk {
        name: name.into(),
        size_bytes,
        source: "/images/x.qcow2".into(),
        format: "qcow2".into(),
        protected: true,
        unprotected_reason: String::new(),
    };
    let spec = VmSpec {
        name: "web1".parse().expect("a name"),
        native_id: "f18daddc-251a-44bf-aa7c-c2a5a74b92da".into(),
        label: String::new(),
        form: VmForm::Machine,
        vcpus: 2,
        memory_mib: 512,
        firmware: Firmware::Bios,
        machine: "pc-q35-7.2".into(),
        disks: vec![disk("vdb", 4096), disk("vda", 8192)],
        nics: vec![Nic {
            mac: "52:54:00:00:00:01".into(),
            network: "vmbr7".into(),
            model: "virtio".into(),
        }],
        guest_agent: true,
    };
    let point = of_spec(HypervisorKind::Libvirt, spec, "<domain/>".into());
    let mut target = target();
    target.storage.insert("vda".into(), "nfs-dr".into());
    let made = planned(&point, &target, false);
    let config = &made.native.config;
    assert_eq!(config.get("name"), Some("web1"));
    assert!(config.get("virtio0").is_some_and(|line| line.starts_with("nfs-dr:")));
    assert!(config.get("virtio1").is_some_and(|line| line.starts_with("local:")));
    assert!(config.get("net0").is_some_and(|line| line.contains("bridge=vmbr1")));
    // The first content is vdb, which is virtio1, the second device.
    assert_eq!(made.contents, [1, 0]);
    assert_eq!(made.devices[1], ("drive-virtio1".to_owned(), 4096));
    assert!(archive_name(&point, Vmid::parse("118").expect("a number")).contains("-qemu-118-"));
}

#[test]
fn trap_05_the_header_of_an_archive_is_in_hand_before_anything_is_started() {
    let text = fixture("two-disk/qemu-server.conf");
    let point = point(VmForm::Machine, &text);
    let made = planned(&point, &target(), false);
    let plan = plan_of(&point, made);
    let handle = Handle::of(&plan).expect("a handle");
    let Layout::Machine { header, devices } = layout(&plan, &handle).expect("a layout") else {
        panic!("it is a machine");
    };
    assert_eq!(devices, [1, 2]);
    let (archive, _) =
        Writer::new(Vec::new(), &header).and_then(Writer::finish).expect("an archive");
    let reader = Reader::open(&archive[..]).expect("an archive");
    let names: Vec<&str> = reader.header().configs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["qemu-server.conf", "qemu-server.fw"]);
    let config = String::from_utf8_lossy(&reader.header().configs[0].data).into_owned();
    assert!(config.contains("#qmdump#map:scsi0:drive-scsi0:local:qcow2:\n"), "{config}");
    assert!(config.contains("#qmdump#map:virtio1:drive-virtio1:nfs-dr:raw:\n"), "{config}");
}

fn plan_of(point: &RecoveryPoint, made: Made) -> ImportPlan {
    let vmid = Vmid::parse("118").expect("a number");
    let name: drs_model::VmName = vmid.to_string().parse().expect("a name");
    let handle = Handle {
        vmid: vmid.number(),
        archive: archive_name(point, vmid),
        created_at: point.consistent_at.as_second(),
        id: point.id.0.into_bytes(),
        devices: made.devices,
        contents: made.contents,
        tar_bytes: tar_bytes(point),
        maps: made.maps,
        restore: made.restore,
        settle: made.settle,
        identity: distinct::identity(&made.native),
        volumes: made.volumes,
        displaced_mark: None,
    };
    ImportPlan {
        name: name.clone(),
        made_as: name,
        replaces: None,
        form: point.spec.form,
        disks: made.disks,
        native_config: made.native.text(),
        remarks: made.remarks,
        handle: serde_json::json!(handle),
    }
}

#[test]
fn trap_14_an_archive_is_called_as_vzdump_calls_it() {
    let vmid = Vmid::parse("118").expect("a number");
    let machine = archive_name(&point(VmForm::Machine, "memory: 64\n"), vmid);
    assert_eq!(machine, "vzdump-qemu-113-2026_11_22-01_50_08.vma.zst");
    let container = archive_name(&point(VmForm::Container, "arch: amd64\n"), vmid);
    assert_eq!(container, "vzdump-lxc-113-2026_11_22-01_50_08.tar.zst");
}

#[test]
fn a_container_is_restored_with_its_volumes_and_set_right_afterwards() {
    let text = "arch: amd64\nhostname: ct\nmp0: /srv/bind,mp=/mnt/data\n\
        mp1: local:200/b.raw,mp=/srv,backup=1,size=2G\nmp2: local:200/c.raw,mp=/tmp,size=1G\n\
        net0: name=eth0,bridge=vmbr7,hwaddr=BC:24:11:AA:00:02,ip=dhcp,type=veth\n\
        rootfs: zfs:subvol-200-disk-0,size=64M\nunprivileged: 1\n";
    let point = point(VmForm::Container, text);
    let made = planned(&point, &target(), false);
    let wanted = [
        "--rootfs",
        "local:0.0625",
        "--mp1",
        "local:2,mp=/srv,backup=1",
        "--storage",
        "local",
        "--unprivileged",
        "1",
    ];
    let mut options = made.restore.clone();
    let root = options.iter().position(|it| it == "--rootfs").expect("a root");
    options.rotate_left(root);
    let pairs = |options: &[String]| {
        let mut pairs: Vec<_> = options.chunks(2).map(<[String]>::to_vec).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(pairs(&options), pairs(&wanted.map(str::to_owned)));
    assert_eq!(
        made.settle,
        [
            "--net0",
            "name=eth0,bridge=vmbr1,hwaddr=BC:24:11:AA:00:02,ip=dhcp,type=veth",
            "--delete",
            "mp0"
        ]
    );
    assert!(told(&made, "mp0 (/mnt/data) is a folder"));
    assert!(told(&made, "mp2 (/tmp) is left out"));
    assert_eq!(tar_bytes(&point), Some(2_048_000));
    let home = planned(&point, &target(), true);
    assert!(home.native.config.get("mp0").is_some());
}

#[test]
fn a_point_that_contradicts_itself_is_refused() {
    let mut machine = point(VmForm::Machine, "scsi0: local:1/a.raw,size=8M\n");
    for name in ["scsi1", "../../etc", "cores"] {
        machine.disks[0].name = name.to_owned();
        let target = target();
        let request = ImportRequest { point: &machine, target: &target };
        let wanted = Wanted {
            job: JobId::from_key("job"),
            vmid: Vmid::parse("118").expect("a number"),
            request: &request,
            at_home: false,
            version: 8,
            storages: Storages::of(None, found()),
            bridges: Bridges::of(["vmbr0"]),
        };
        assert!(matches!(machine::make(&wanted), Err(DriverError::Invalid(_))), "{name}");
    }
}
