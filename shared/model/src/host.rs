//! Hosts and the sites they stand at.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostName, Lane, SiteName};

/// A place with hosts that fails as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Most bytes per second that jobs may move from and to its hosts together, counted in one
    /// worker; no limit when `None`.
    #[serde(default)]
    pub bytes_per_second: Option<NonZeroU64>,
    /// Which workers take the jobs of its hosts. Default `main`.
    #[serde(default)]
    pub lane: Lane,
}

impl Site {
    /// A site of which nothing is said but its name.
    #[must_use]
    pub fn named(name: SiteName) -> Self {
        Self { name, bytes_per_second: None, lane: Lane::default() }
    }
}

/// Where a hypervisor keeps the disks of its VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskPlace {
    /// In a folder on the host, named by its absolute path.
    Folder,
    /// In a storage, named by its id.
    Storage,
    /// Either will do.
    Any,
}

/// Which driver speaks to a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HypervisorKind {
    /// libvirt with QEMU or KVM, through `virsh` over SSH. What a host is taken for when nothing is said.
    #[default]
    Libvirt,
    /// Proxmox VE, through its own commands over SSH. Its VMs are named by their VMID.
    Proxmox,
    /// No hypervisor: simulated hosts and VMs that live in a file.
    Simulated,
}

impl HypervisorKind {
    /// Every kind, for help texts and tests.
    pub const ALL: [Self; 3] = [Self::Libvirt, Self::Proxmox, Self::Simulated];

    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::Proxmox => "proxmox",
            Self::Simulated => "simulated",
        }
    }

    /// Where it keeps disks, and so what [`Host::image_dir`] and a storage mapping name.
    #[must_use]
    pub fn disk_place(self) -> DiskPlace {
        match self {
            Self::Libvirt => DiskPlace::Folder,
            Self::Proxmox => DiskPlace::Storage,
            Self::Simulated => DiskPlace::Any,
        }
    }

    /// Whether its VMs can be staged as archives, and so whether [`Host::dump_dir`] means anything.
    #[must_use]
    pub fn stages_archives(self) -> bool {
        match self {
            Self::Proxmox => true,
            Self::Libvirt | Self::Simulated => false,
        }
    }

    /// Whether its hosts are machines that are reached over SSH.
    #[must_use]
    pub fn is_reached_over_ssh(self) -> bool {
        match self {
            Self::Libvirt | Self::Proxmox => true,
            Self::Simulated => false,
        }
    }

    /// Whether its hosts back up one VM at a time: a node of Proxmox VE locks itself for as long as its
    /// `vzdump` runs. Jobs wait for such a host's dump slot, so that none holds its VM while it waits.
    #[must_use]
    pub fn dumps_one_at_a_time(self) -> bool {
        match self {
            Self::Proxmox => true,
            Self::Libvirt | Self::Simulated => false,
        }
    }
}

impl fmt::Display for HypervisorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HypervisorKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            format!("{text:?} is no hypervisor kind; known: libvirt, proxmox, simulated")
        })
    }
}

/// One hypervisor machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// What the operator calls it; unique.
    pub name: HostName,
    /// Where it stands.
    pub site: SiteName,
    /// Which driver speaks to it.
    pub kind: HypervisorKind,
    /// `user@address:port` for SSH (user default `root`, port default 22; IPv6 in brackets), or
    /// for a simulated host its description, `vms=4,disk_mib=64,...`.
    pub address: String,
    /// Path of the SSH private key, absolute, on each machine that speaks to the host: in a cluster all that
    /// run workers or commands. `None` asks the SSH agent of the process.
    pub key_file: Option<String>,
    /// Pinned SSH host keys as OpenSSH fingerprints (`SHA256:...`); any of them is accepted.
    pub host_keys: Vec<String>,
    /// Where restored disks are made: a folder on the host, for Proxmox VE a storage's id. Default of
    /// the driver when `None`.
    pub image_dir: Option<String>,
    /// Folder on the host for archives on their way (staged jobs). Default of the driver when `None`.
    #[serde(default)]
    pub dump_dir: Option<String>,
    /// How many jobs may move data on this host at one time. Default 2.
    pub slots: u32,
    /// Most bytes per second that jobs may move from and to it together, counted in one worker; no
    /// limit when `None`.
    #[serde(default)]
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Host {
    /// Default of [`Host::slots`].
    pub const SLOTS_DEFAULT: u32 = 2;
    /// Largest allowed value of [`Host::slots`].
    pub const SLOTS_MAX: u32 = 64;
}
