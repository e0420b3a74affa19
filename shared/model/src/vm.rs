//! The neutral form of a VM: what every driver exports to and imports from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostName, InvalidName, VmName};

/// A VM on a host, written `host/vm`. It keys the VM's lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VmRef {
    /// The host that runs or owns it.
    pub host: HostName,
    /// Its name there.
    pub name: VmName,
}

impl fmt::Display for VmRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

impl FromStr for VmRef {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (host, name) = text.split_once('/').ok_or_else(|| InvalidName {
            what: "VM",
            text: text.chars().take(100).collect(),
            rule: "it is written HOST/VM, for example dc1/web1".into(),
        })?;
        Ok(Self { host: host.parse()?, name: name.parse()? })
    }
}

/// Whether a VM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// It runs.
    Running,
    /// It is stopped for a moment, its memory kept (by a person or by an I/O error).
    Paused,
    /// It does not run.
    Off,
    /// It crashed or is in a state that the driver has no word for.
    Broken,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Off => "off",
            Self::Broken => "broken",
        })
    }
}

/// A line of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSummary {
    /// Its name.
    pub name: VmName,
    /// Whether it runs.
    pub power: PowerState,
    /// The hypervisor's own id of it (a UUID for libvirt, `qemu/112` for Proxmox VE).
    pub native_id: String,
    /// What people call it where its name is a number (`web-112`); empty when the name is all.
    #[serde(default)]
    pub label: String,
    /// Machine or container.
    #[serde(default)]
    pub form: VmForm,
}

/// What kind of guest a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmForm {
    /// A machine with disks.
    #[default]
    Machine,
    /// A container: its content is one archive of files, which only its own kind of hypervisor can
    /// restore.
    Container,
}

impl fmt::Display for VmForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "machine",
            Self::Container => "container",
        })
    }
}

/// How the machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// A VM described without its hypervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// Its name.
    pub name: VmName,
    /// The hypervisor's own id of it.
    pub native_id: String,
    /// What people call it where its name is a number; empty when the name is all.
    #[serde(default)]
    pub label: String,
    /// Machine or container.
    #[serde(default)]
    pub form: VmForm,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How it starts.
    pub firmware: Firmware,
    /// Machine type in the hypervisor's words (`pc-q35-7.2`), empty when it has none.
    pub machine: String,
    /// Disks in boot order first, then as listed.
    pub disks: Vec<Disk>,
    /// Network cards in PCI order.
    pub nics: Vec<Nic>,
    /// Whether a guest agent channel is configured.
    pub guest_agent: bool,
}

impl VmSpec {
    /// Name of the one content of a container.
    pub const ARCHIVE: &str = "archive.tar";

    /// What a backup of it moves, in order: the covered disks of a machine, the archive of a
    /// container. The indices of [`Piece`](crate::Piece) count in this list.
    #[must_use]
    pub fn contents(&self) -> Vec<Content> {
        match self.form {
            VmForm::Machine => self
                .disks
                .iter()
                .filter(|disk| disk.protected)
                .map(|disk| Content { name: disk.name.clone(), size_bytes: Some(disk.size_bytes) })
                .collect(),
            VmForm::Container => vec![Content { name: Self::ARCHIVE.to_owned(), size_bytes: None }],
        }
    }

    /// Sum of the sizes of the disks that a backup covers, in bytes.
    #[must_use]
    pub fn protected_bytes(&self) -> u64 {
        self.disks.iter().filter(|disk| disk.protected).map(|disk| disk.size_bytes).sum()
    }
}

/// One stream of bytes that a recovery point holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its name in the point: a disk's name, or [`VmSpec::ARCHIVE`].
    pub name: String,
    /// Its length in bytes, holes included; `None` when only its end tells (an archive).
    pub size_bytes: Option<u64>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its name inside the VM's description (`vda`, `scsi0`); unique in the VM.
    pub name: String,
    /// Size that the guest sees, in bytes.
    pub size_bytes: u64,
    /// Where it lies on its host (a path or a volume name), for mapping and for messages.
    pub source: String,
    /// Format on its host (`qcow2`, `raw`).
    pub format: String,
    /// Whether a backup covers it; a CD-ROM, a floppy or a shared read-only disk is not covered.
    pub protected: bool,
    /// Why it is not covered; empty when it is.
    pub unprotected_reason: String,
}

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// MAC address, `52:54:00:12:34:56`.
    pub mac: String,
    /// The network or bridge it is attached to, as the hypervisor calls it; on Proxmox VE with the
    /// VLAN tag behind a dot (`vmbr0.20`).
    pub network: String,
    /// Card model (`virtio`).
    pub model: String,
}
