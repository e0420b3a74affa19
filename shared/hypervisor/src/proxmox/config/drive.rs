//! Lines that tell of disks.

use drs_model::{Disk, VmForm};

use super::{Config, Properties};

/// Buses of a machine and how many disks each takes.
const BUSES: [(&str, u32); 4] = [("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6)];
/// Mount points that a container may have beside its root.
const MOUNT_POINTS: u32 = 256;

/// Whether a key names a disk of a guest of that form.
pub(in crate::proxmox) fn is_drive(form: VmForm, key: &str) -> bool {
    let numbered = |bus: &str, count: u32| {
        key.strip_prefix(bus).and_then(plain_number).is_some_and(|number| number < count)
    };
    match form {
        VmForm::Machine => {
            matches!(key, "efidisk0" | "tpmstate0")
                || BUSES.iter().any(|(bus, count)| numbered(bus, *count))
        }
        VmForm::Container => key == "rootfs" || numbered("mp", MOUNT_POINTS),
    }
}

fn plain_number(text: &str) -> Option<u32> {
    let plain = text == "0" || !text.starts_with('0');
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|_| plain)
}

/// The name of the disk at a place of a bus, if the bus has that place.
pub(super) fn place(bus: &str, number: u32) -> Option<String> {
    let (bus, count) = BUSES.iter().find(|(name, _)| *name == bus)?;
    (number < *count).then(|| format!("{bus}{number}"))
}

/// The storage that holds a volume (`local-lvm` of `local-lvm:vm-112-disk-0`); none for a path.
pub(in crate::proxmox) fn volume_storage(volume: &str) -> Option<&str> {
    volume.split_once(':').map(|(storage, _)| storage).filter(|_| !volume.starts_with('/'))
}

/// A disk as its line tells it.
pub(super) fn disk(form: VmForm, config: &Config, key: &str, value: &str) -> Disk {
    let properties = Properties::parse(value);
    let volume = properties.leading(volume_key(form)).unwrap_or_default();
    let reason = match form {
        VmForm::Machine => machine_reason(config, key, volume, &properties),
        VmForm::Container => container_reason(key, volume, &properties),
    };
    Disk {
        name: key.to_owned(),
        size_bytes: properties.get("size").and_then(size_bytes).unwrap_or_default(),
        source: volume.to_owned(),
        format: properties.get("format").unwrap_or_else(|| format_of(volume)).to_owned(),
        protected: reason.is_empty(),
        unprotected_reason: reason.to_owned(),
    }
}

fn volume_key(form: VmForm) -> &'static str {
    match form {
        VmForm::Machine => "file",
        VmForm::Container => "volume",
    }
}

/// Why a backup does not cover a machine's disk, empty when it does.
fn machine_reason(
    config: &Config,
    key: &str,
    volume: &str,
    properties: &Properties,
) -> &'static str {
    let off = |key| matches!(properties.get(key), Some("0" | "no" | "off" | "false"));
    if volume.ends_with("-cloudinit") || volume.contains("-cloudinit.") {
        "it is a cloud-init drive, which is made anew from the configuration"
    } else if properties.get("media") == Some("cdrom") || matches!(volume, "none" | "cdrom" | "") {
        "it is a CD-ROM drive"
    } else if off("backup") {
        "its configuration says backup=0"
    } else if volume_storage(volume).is_none() {
        "it is a device or file of the node, not a volume of a storage"
    } else if key == "efidisk0" && config.get("bios") != Some("ovmf") {
        "the machine does not start with UEFI, so its EFI disk is not backed up"
    } else {
        ""
    }
}

/// Why a backup does not cover a container's volume, empty when it does.
fn container_reason(key: &str, volume: &str, properties: &Properties) -> &'static str {
    let asked = matches!(properties.get("backup"), Some("1" | "yes" | "on" | "true"));
    if volume_storage(volume).is_none() {
        "it is a folder or device of the node, not a volume of a storage"
    } else if key != "rootfs" && !asked {
        "its configuration does not say backup=1"
    } else {
        ""
    }
}

fn format_of(volume: &str) -> &'static str {
    ["qcow2", "vmdk", "subvol"]
        .into_iter()
        .find(|format| volume.rsplit('.').next() == Some(*format))
        .unwrap_or("raw")
}

/// A size as Proxmox writes it, in bytes: `32G`, `1537K`, `1573376`; multiples of 1024.
pub(in crate::proxmox) fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => (number, text.chars().next_back()?),
        None => (text, 'B'),
    };
    let shift = match unit {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let amount = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(part.parse().ok()?)?;
    u64::try_from(amount.checked_mul(1 << shift)? / scale).ok()
}

/// A size as Proxmox writes it: the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    let unit = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((shift, letter)) => format!("{}{letter}", bytes >> shift),
        None => bytes.to_string(),
    }
}
