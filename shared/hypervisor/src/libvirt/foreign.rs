//! A description for a VM that comes from another kind of hypervisor, made from its neutral form.

use std::collections::BTreeMap;

use drs_model::{Disk, Firmware, HypervisorKind, Nic, RecoveryPoint, VmSpec};

use super::xml::Element;

/// Proxmox VE puts card `netN` into this PCI slot plus N of a machine of the family i440fx, up to
/// `net5`. The guest names its cards by their slots (`ens18`).
const FIRST_NIC_SLOT: usize = 0x12;
const SLOTTED_NICS: usize = 6;

/// Card models that QEMU has under the same name everywhere.
const NIC_MODELS: [&str; 8] =
    ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci", "pcnet", "i82551"];

/// Whether a content of the point is the firmware's memory, which libvirt keeps in its own way.
pub(super) fn is_firmware(point: &RecoveryPoint, disk: &str) -> bool {
    point.hypervisor == HypervisorKind::Proxmox
        && (disk.starts_with("efidisk") || disk.starts_with("tpmstate"))
}

/// The description of the point's VM. Its disks have the names of the point; `domain::adapt` gives
/// them those of libvirt.
pub(super) fn domain(point: &RecoveryPoint) -> Element {
    let origin = Origin::of(point);
    let spec = &point.spec;
    let text = |name: &str, text: &str| Element::new(name).saying(text);
    let mut os = Element::new("os");
    if spec.firmware == Firmware::Uefi {
        os.set("firmware", "efi");
    }
    let kind = text("type", "hvm").with("arch", "x86_64").with("machine", &origin.machine);
    let mut domain = Element::new("domain").containing(text("name", spec.name.as_str()));
    if let Some(uuid) = &origin.uuid {
        domain.children.push(text("uuid", uuid));
    }
    domain
        .containing(text("memory", &spec.memory_mib.to_string()).with("unit", "MiB"))
        .containing(text("vcpu", &spec.vcpus.to_string()))
        .containing(os.containing(kind))
        .containing(Element::new("features").containing(Element::new("acpi")))
        // The default CPU lacks what the systems of today demand.
        .containing(Element::new("cpu").with("mode", "host-model"))
        .containing(Element::new("clock").with("offset", origin.clock))
        .containing(devices(point, &origin))
}

/// What the VM may look different in.
pub(super) fn remarks(point: &RecoveryPoint) -> Vec<String> {
    let moved = point.hypervisor == HypervisorKind::Proxmox
        && Origin::of(point).slots.is_none()
        && !point.spec.nics.is_empty();
    let remark = "the guest of a q35 machine may call its network cards otherwise than before: check its network";
    moved.then(|| remark.to_owned()).into_iter().collect()
}

fn devices(point: &RecoveryPoint, origin: &Origin) -> Element {
    let spec = &point.spec;
    let mut devices = Element::new("devices");
    let covered = spec.disks.iter().filter(|disk| disk.protected);
    let disks = covered.filter(|disk| !is_firmware(point, &disk.name));
    devices.children.extend(disks.enumerate().map(|(number, it)| disk(it, number + 1)));
    if devices.children.iter().any(|it| bus_of(it) == "scsi") {
        let controller = Element::new("controller").with("type", "scsi").with("index", "0");
        devices.children.push(controller.with("model", origin.scsi));
    }
    devices.children.extend(spec.nics.iter().enumerate().map(|(number, it)| {
        let slot = origin.nic_slot(it, number);
        nic(it, slot)
    }));
    if spec.guest_agent {
        let target =
            Element::new("target").with("type", "virtio").with("name", "org.qemu.guest_agent.0");
        devices.children.push(Element::new("channel").with("type", "unix").containing(target));
    }
    devices.containing(Element::new("serial").with("type", "pty"))
}

fn bus_of(disk: &Element) -> &str {
    disk.at("target").and_then(|target| target.attribute("bus")).unwrap_or_default()
}

fn disk(disk: &Disk, boot_order: usize) -> Element {
    let bus = ["scsi", "sata", "ide"].into_iter().find(|bus| {
        let number = disk.name.strip_prefix(bus);
        number.is_some_and(|number| number.parse::<u8>().is_ok())
    });
    let target =
        Element::new("target").with("dev", &disk.name).with("bus", bus.unwrap_or("virtio"));
    Element::new("disk")
        .with("type", "file")
        .with("device", "disk")
        .containing(Element::new("driver").with("name", "qemu"))
        .containing(target)
        .containing(Element::new("boot").with("order", &boot_order.to_string()))
}

fn nic(nic: &Nic, slot: Option<usize>) -> Element {
    let model = NIC_MODELS.into_iter().find(|model| *model == nic.model).unwrap_or("virtio");
    let mut card = Element::new("interface")
        .with("type", "network")
        .containing(Element::new("source").with("network", &nic.network))
        .containing(Element::new("model").with("type", model));
    if !nic.mac.is_empty() {
        card.children.push(Element::new("mac").with("address", &nic.mac));
    }
    if let Some(slot) = slot {
        let place = Element::new("address").with("type", "pci").with("domain", "0x0000");
        let place = place.with("bus", "0x00").with("slot", &format!("0x{slot:02x}"));
        card.children.push(place.with("function", "0x0"));
    }
    card
}

/// What the VM's own configuration tells beyond its neutral form.
struct Origin {
    machine: String,
    uuid: Option<String>,
    clock: &'static str,
    /// Model of the SCSI controller.
    scsi: &'static str,
    /// Whether its cards have fixed slots, and the numbers of the cards by MAC in lower case.
    slots: Option<BTreeMap<String, usize>>,
}

impl Origin {
    fn of(point: &RecoveryPoint) -> Self {
        match point.hypervisor {
            HypervisorKind::Proxmox => Self::proxmox(&point.spec, &point.native_config),
            HypervisorKind::Libvirt | HypervisorKind::Simulated => Self {
                machine: "q35".into(),
                uuid: None,
                clock: "utc",
                scsi: "virtio-scsi",
                slots: None,
            },
        }
    }

    fn proxmox(spec: &VmSpec, native_config: &str) -> Self {
        let files: BTreeMap<String, String> =
            serde_json::from_str(native_config).unwrap_or_default();
        let config = files.get("qemu-server.conf").map_or("", String::as_str);
        let entry = |key: &str| {
            let lines = config.lines().take_while(|line| !line.starts_with('['));
            lines.filter_map(|line| line.split_once(':')).find(|(name, _)| *name == key)
        };
        let value = |key: &str| entry(key).map_or("", |(_, value)| value.trim());
        let machine = spec.machine.split('+').next().unwrap_or_default();
        let machine = if machine.is_empty() { "pc" } else { machine }.to_owned();
        let fixed = machine == "pc" || machine.starts_with("pc-i440fx");
        let windows = value("ostype").starts_with('w');
        Self {
            machine,
            uuid: option(value("smbios1"), "uuid").map(str::to_owned),
            clock: if windows { "localtime" } else { "utc" },
            scsi: match value("scsihw") {
                "virtio-scsi-pci" | "virtio-scsi-single" => "virtio-scsi",
                "megasas" => "lsisas1078",
                "pvscsi" => "vmpvscsi",
                _ => "lsilogic",
            },
            slots: fixed.then(|| {
                let card = |number: usize| Some((mac(value(&format!("net{number}")))?, number));
                (0..SLOTTED_NICS).filter_map(card).collect()
            }),
        }
    }

    /// The PCI slot that the card had, when it had a fixed one.
    fn nic_slot(&self, nic: &Nic, position: usize) -> Option<usize> {
        let numbers = self.slots.as_ref()?;
        let number = numbers.get(&nic.mac.to_lowercase()).copied().unwrap_or(position);
        (number < SLOTTED_NICS).then_some(FIRST_NIC_SLOT + number)
    }
}

/// The value of `key` in a list `a=b,c=d`.
fn option<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.split(',').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('='))
}

/// The MAC address in a value such as `virtio=BC:24:11:00:00:01,bridge=vmbr0`, in lower case.
fn mac(card: &str) -> Option<String> {
    let (_, mac) = card.split(',').next()?.split_once('=')?;
    Some(mac.to_lowercase())
}
