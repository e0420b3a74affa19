use std::path::{Path, PathBuf};

use drs_model::{Disk, Firmware, NetworkMap, Nic, VmForm, VmName, VmSpec};
use proptest::prelude::*;

use super::drive::{size_bytes, size_text};
use super::fresh::guest_name;
use super::{Config, Properties, fresh, is_drive, map_network, new_mac, set_mac, spec};
use crate::proxmox::guest::Vmid;

const FORMS: [VmForm; 2] = [VmForm::Machine, VmForm::Container];

fn fixture(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox");
    std::fs::read_to_string(folder.join(path)).expect(path)
}

fn transcripts() -> Vec<PathBuf> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox/transcripts");
    let files = std::fs::read_dir(folder).expect("the transcripts are there");
    files.map(|file| file.expect("a file").path()).collect()
}

fn described(form: VmForm, text: &str) -> VmSpec {
    let name: VmName = "112".parse().expect("a name");
    spec(&name, Vmid::parse("112").expect("a number"), form, &Config::parse(text))
}

fn covered(spec: &VmSpec) -> Vec<&str> {
    spec.disks.iter().filter(|disk| disk.protected).map(|disk| disk.name.as_str()).collect()
}

#[test]
fn every_configuration_of_the_real_tools_is_written_back_byte_for_byte() {
    let configs = ["one-disk", "two-disk", "tiny-disks", "diskless"];
    let mut texts: Vec<String> =
        configs.iter().map(|name| fixture(&format!("{name}/qemu-server.conf"))).collect();
    for file in transcripts() {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let text = std::fs::read_to_string(&file).expect("text");
        if name.ends_with(".conf") {
            texts.push(text);
        } else if name.starts_with("qm-config") || name.starts_with("pct-config") {
            let (_, output) = text.split_once("## stdout:\n").expect("an output");
            texts.push(output.split("## stderr:").next().unwrap_or_default().to_owned());
        }
    }
    assert!(texts.len() >= 12, "{} configurations", texts.len());
    for text in texts {
        let config = Config::parse(&text);
        assert_eq!(config.to_string(), text);
        for (_, value) in config.entries() {
            assert_eq!(Properties::parse(value).to_string(), value);
        }
    }
}

#[test]
fn a_machine_is_described_with_its_disks_cards_and_defaults() {
    let one = described(VmForm::Machine, &fixture("one-disk/qemu-server.conf"));
    assert_eq!((one.label.as_str(), one.native_id.as_str()), ("web-112", "qemu/112"));
    assert_eq!((one.vcpus, one.memory_mib, one.machine.as_str()), (2, 256, "pc"));
    assert!(one.guest_agent);
    let [disk] = one.disks.as_slice() else { panic!("one disk") };
    assert_eq!((disk.name.as_str(), disk.size_bytes), ("scsi0", 8 << 20));
    assert_eq!((disk.source.as_str(), disk.format.as_str()), ("local-lvm:vm-112-disk-0", "raw"));

    let two = described(VmForm::Machine, &fixture("two-disk/qemu-server.conf"));
    let sizes: Vec<u64> = two.disks.iter().map(|disk| disk.size_bytes).collect();
    assert_eq!(sizes, [6156 << 10, 1_573_376]);
    assert_eq!(two.disks[0].format, "qcow2");
    let cards: Vec<(&str, &str, &str)> = two
        .nics
        .iter()
        .map(|nic| (nic.mac.as_str(), nic.network.as_str(), nic.model.as_str()))
        .collect();
    assert_eq!(
        cards,
        [("bc:24:11:2a:6f:02", "vmbr0.20", "virtio"), ("bc:24:11:2a:6f:03", "vmbr1", "e1000")]
    );

    let bare = described(VmForm::Machine, "");
    assert_eq!((bare.vcpus, bare.memory_mib, bare.firmware), (1, 512, Firmware::Bios));
    assert_eq!((bare.guest_agent, bare.label.as_str()), (false, ""));
}

#[test]
fn trap_16_uncovered_disks_say_why_and_disks_come_in_boot_order() {
    let text = "bios: seabios\nboot: order=virtio1;ide2\nefidisk0: local:112/e.raw,size=528K\n\
        ide0: local-lvm:vm-112-cloudinit,media=cdrom\nide2: local:iso/a.iso,media=cdrom\n\
        sata0: /dev/disk/by-id/ata-X,size=1G\nscsi0: local:112/a.raw,size=1G\n\
        scsi1: local:112/b.raw,backup=0,size=1G\nscsi31: local:112/none.raw\n\
        unused0: local:112/old.raw\nvirtio1: file=local:112/c.qcow2,size=1.5G\n";
    let spec = described(VmForm::Machine, text);
    let names: Vec<&str> = spec.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["virtio1", "ide2", "efidisk0", "ide0", "sata0", "scsi0", "scsi1"]);
    assert_eq!(covered(&spec), ["virtio1", "scsi0"]);
    assert_eq!(spec.disks[0].size_bytes, 3 << 29);
    let reason = |name: &str| {
        let disk = spec.disks.iter().find(|disk| disk.name == name).expect(name);
        disk.unprotected_reason.clone()
    };
    assert_eq!(reason("scsi1"), "its configuration says backup=0");
    assert!(reason("ide0").contains("cloud-init"));
    assert!(reason("ide2").contains("CD-ROM"));
    assert!(reason("sata0").contains("device or file of the node"));
    assert!(reason("efidisk0").contains("UEFI"));

    let uefi =
        described(VmForm::Machine, "bios: ovmf\nefidisk0: local:112/e.raw\ntpmstate0: s:v\n");
    assert_eq!(covered(&uefi), ["efidisk0", "tpmstate0"]);
    assert_eq!(uefi.firmware, Firmware::Uefi);
}

#[test]
fn the_boot_disk_of_older_configurations_comes_first() {
    let text = "boot: cdn\nbootdisk: virtio0\nscsi0: local:a\nvirtio0: local:b\n";
    assert_eq!(covered(&described(VmForm::Machine, text)), ["virtio0", "scsi0"]);
}

#[test]
fn a_container_has_one_archive_and_tells_its_volumes() {
    let spec = described(VmForm::Container, &fixture("transcripts/lxc-201-pct.conf"));
    assert_eq!((spec.label.as_str(), spec.native_id.as_str()), ("ct-201", "lxc/112"));
    assert_eq!((spec.memory_mib, spec.machine.as_str()), (128, ""));
    assert_eq!(spec.nics[0].mac, "bc:24:11:aa:00:02");
    let disks: Vec<(&str, bool)> =
        spec.disks.iter().map(|disk| (disk.name.as_str(), disk.protected)).collect();
    assert_eq!(disks, [("mp0", false), ("rootfs", true)]);
    assert!(spec.disks[0].unprotected_reason.contains("folder"));
    assert_eq!(spec.contents().len(), 1);

    let mounts = "mp0: local:1/a.raw,mp=/a,backup=1,size=1G\nmp1: local:1/b.raw,mp=/b,size=1G\n";
    assert_eq!(covered(&described(VmForm::Container, mounts)), ["mp0"]);
}

#[test]
fn values_around_a_configuration() {
    let full = described(
        VmForm::Machine,
        "agent: enabled=1,fstrim_cloned_disks=1\nmachine: pc-q35-9.0+pve1,viommu=intel\n\
         memory: current=4096\ncores: 4\nsockets: 2\n",
    );
    assert!(full.guest_agent);
    assert_eq!((full.machine.as_str(), full.memory_mib, full.vcpus), ("pc-q35-9.0", 4096, 8));
    assert!(!described(VmForm::Machine, "agent: enabled=0").guest_agent);
}

#[test]
fn trap_17_snapshots_and_pending_changes_are_cut_off() {
    let text = "#first 100%25\n#b%C3%BCro\nmemory: 64\n\n[PENDING]\nmemory: 96\n[snap]\nname: x\n";
    let config = Config::parse(text);
    assert_eq!(config.to_string(), "#first 100%25\n#b%C3%BCro\nmemory: 64\n\n");
    assert_eq!(config.get("memory"), Some("64"));
}

#[test]
fn keys_are_set_in_their_place_and_maps_come_last() {
    let mut config = Config::parse("#note\nmemory: 64\nname: a");
    config.set("memory", "96");
    config.set("onboot", "0\nlock: x");
    config.add_map("scsi0", "drive-scsi0", "local", "raw");
    config.set("vga", "std");
    assert_eq!(
        config.to_string(),
        "#note\nmemory: 96\nname: a\nonboot: 0lock: x\nvga: std\n#qmdump#map:scsi0:drive-scsi0:local:raw:\n"
    );
    config.remove_maps();
    config.remove("onboot");
    assert_eq!(config.to_string(), "#note\nmemory: 96\nname: a\nvga: std\n");
    let mut empty = Config::default();
    empty.set("memory", "64");
    assert_eq!(empty.to_string(), "memory: 64\n");
    let mut described = Config::parse("#note");
    described.set("memory", "64");
    assert_eq!(described.to_string(), "#note\nmemory: 64\n");
}

#[test]
fn sizes_are_multiples_of_1024_or_plain_bytes() {
    let cases = [("32G", 32 << 30), ("1537K", 1537 << 10), ("1573376", 1_573_376), ("8M", 8 << 20)];
    for (text, bytes) in cases {
        assert_eq!(size_bytes(text), Some(bytes), "{text}");
    }
    assert_eq!(size_bytes("0.5T"), Some(1 << 39));
    for bad in ["", "G", "-1", "1X", "1..5G", "99999999999999999999T", "1.2345678G", "1 G"] {
        assert_eq!(size_bytes(bad), None, "{bad:?}");
    }
    for (bytes, text) in [(1 << 40, "1T"), (1_573_888, "1537K"), (1_573_376, "1573376"), (0, "0")] {
        assert_eq!(size_text(bytes), text);
    }
}

#[test]
fn only_places_that_proxmox_has_are_disks() {
    for key in ["ide3", "scsi30", "virtio15", "sata5", "efidisk0", "tpmstate0"] {
        assert!(is_drive(VmForm::Machine, key), "{key}");
        assert!(!is_drive(VmForm::Container, key), "{key}");
    }
    for key in ["ide4", "scsi31", "scsi", "scsi01", "scsihw", "virtio16", "net0", "unused0"] {
        assert!(!is_drive(VmForm::Machine, key), "{key}");
    }
    assert!(is_drive(VmForm::Container, "rootfs") && is_drive(VmForm::Container, "mp255"));
}

#[test]
fn networks_are_mapped_with_their_tags() {
    let map = |pairs: &[(&str, &str)]| -> NetworkMap {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    };
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 7] = [
        ("virtio=M,bridge=vmbr0,tag=20", &[("vmbr0", "vmbr1")], "virtio=M,bridge=vmbr1,tag=20"),
        ("virtio=M,bridge=vmbr0,tag=20", &[("vmbr0.20", "vmbr1")], "virtio=M,bridge=vmbr1"),
        ("virtio=M,bridge=vmbr0,tag=20", &[("vmbr0", "vmbr1.30")], "virtio=M,bridge=vmbr1,tag=30"),
        ("virtio=M,bridge=vmbr0", &[("vmbr0", "vmbr1.30")], "virtio=M,bridge=vmbr1,tag=30"),
        (
            "virtio=M,bridge=vmbr0,tag=20",
            &[("vmbr0", "vmbr9"), ("vmbr0.20", "vmbr1.30")],
            "virtio=M,bridge=vmbr1,tag=30",
        ),
        ("name=eth0,bridge=vmbr0,ip=dhcp", &[("vmbr0", "lan")], "name=eth0,bridge=lan,ip=dhcp"),
        (
            "virtio=M,bridge=vmbr2,firewall=1",
            &[("vmbr0", "lan")],
            "virtio=M,bridge=vmbr2,firewall=1",
        ),
    ];
    for (line, networks, wanted) in cases {
        let mut properties = Properties::parse(line);
        let changed = map_network(&mut properties, &map(networks));
        assert_eq!(properties.to_string(), wanted);
        assert_eq!(changed.is_some(), line != wanted, "{line}");
    }
}

#[test]
fn a_card_gets_another_address_where_its_line_has_one() {
    let mac = new_mac([0x0a, 1, 255]);
    assert_eq!(mac, "BC:24:11:0A:01:FF");
    let mut machine = Properties::parse("e1000=AA:BB:CC:00:00:01,bridge=vmbr0");
    set_mac(VmForm::Machine, &mut machine, &mac);
    assert_eq!(machine.to_string(), "e1000=BC:24:11:0A:01:FF,bridge=vmbr0");
    let mut container = Properties::parse("name=eth0,hwaddr=AA:BB:CC:00:00:01");
    set_mac(VmForm::Container, &mut container, &mac);
    assert_eq!(container.to_string(), "name=eth0,hwaddr=BC:24:11:0A:01:FF");
}

fn foreign() -> VmSpec {
    let disk = |name: &str, protected: bool| Disk {
        name: name.into(),
        size_bytes: 1 << 30,
        source: format!("/images/{name}.qcow2"),
        format: "qcow2".into(),
        protected,
        unprotected_reason: String::new(),
    };
    VmSpec {
        name: "Windows Server 2019".parse().expect("a name"),
        native_id: "6A8C8A7E-0d0b-4a5f-9b52-0f5a6d1c1a11".into(),
        label: String::new(),
        form: VmForm::Machine,
        vcpus: 3,
        memory_mib: 2048,
        firmware: Firmware::Uefi,
        machine: "pc-q35-7.2".into(),
        disks: vec![disk("vdb", true), disk("hda", false), disk("vda", true), disk("fdx", true)],
        nics: vec![Nic {
            mac: "52:54:00:12:34:56".into(),
            network: "vmbr0.20".into(),
            model: "virtio-net".into(),
        }],
        guest_agent: true,
    }
}

#[test]
fn a_machine_of_another_hypervisor_gets_a_configuration() {
    let made = fresh(&foreign(), 9, |disk| format!("store-{disk}"));
    assert_eq!(made.drives, ["virtio1", "virtio0", "scsi0"]);
    assert_eq!(
        made.config.to_string(),
        "agent: 1\nbios: ovmf\nboot: order=virtio1;net0\ncores: 3\ncpu: x86-64-v2-AES\n\
         machine: q35\nmemory: 2048\nname: Windows-Server-2019\n\
         net0: virtio=52:54:00:12:34:56,bridge=vmbr0,tag=20\nostype: l26\n\
         virtio1: store-vdb:vm-disk-0,size=1G\nvirtio0: store-vda:vm-disk-1,size=1G\n\
         scsi0: store-fdx:vm-disk-2,size=1G\nscsihw: virtio-scsi-single\nserial0: socket\n\
         smbios1: uuid=6a8c8a7e-0d0b-4a5f-9b52-0f5a6d1c1a11\nsockets: 1\nvmgenid: 1\n"
    );
    let told = described(VmForm::Machine, &made.config.to_string());
    assert_eq!(covered(&told), ["virtio1", "virtio0", "scsi0"]);
    assert_eq!((told.vcpus, told.memory_mib, told.firmware), (3, 2048, Firmware::Uefi));
    assert_eq!(told.nics[0].mac, "52:54:00:12:34:56");
    assert!(made.remarks.iter().any(|remark| remark.contains("efidisk0")));
    assert_eq!(fresh(&foreign(), 7, |_| "s".into()).config.get("cpu"), None);
}

#[test]
fn disks_that_want_the_same_place_get_places_of_their_own() {
    let mut spec = foreign();
    let names: Vec<String> = ["sda", "scsi0", "vda", "xvda", "sdzz"].map(str::to_owned).into();
    let model = spec.disks[0].clone();
    spec.disks = names.into_iter().map(|name| Disk { name, ..model.clone() }).collect();
    assert_eq!(
        fresh(&spec, 9, |_| "s".into()).drives,
        ["scsi0", "scsi1", "virtio0", "scsi2", "scsi3"]
    );
}

#[test]
fn guest_names_are_those_that_proxmox_allows() {
    for (text, name) in [
        ("web-112", "web-112"),
        ("db_01.prod", "db-01.prod"),
        ("büro (pc)", "b-ro--pc"),
        ("...", "restored"),
        ("-a-.-b-", "a.b"),
    ] {
        assert_eq!(guest_name(text), name);
    }
    assert_eq!(guest_name(&"x".repeat(80)).len(), 63);
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in any::<String>(), key in "[a-z0-9]{0,8}") {
        for form in FORMS {
            described(form, &text);
            is_drive(form, &key);
        }
        let config = Config::parse(&text);
        prop_assert_eq!(Config::parse(&config.to_string()), config.clone());
        prop_assert!(text.starts_with(&config.to_string()));
        prop_assert_eq!(Properties::parse(&text).to_string(), text);
    }

    #[test]
    fn no_configuration_breaks_the_reader(
        lines in proptest::collection::vec(
            ("(scsi|virtio|ide|net|mp|rootfs|boot|agent|memory|machine|#|\\[)[0-9]{0,3}", "[ -~]{0,60}"),
            0..12,
        ),
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        for form in FORMS {
            let spec = described(form, &text);
            fresh(&spec, 9, |_| "local".into());
        }
    }
}
