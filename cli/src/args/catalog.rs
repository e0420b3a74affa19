//! The command line about hosts, VMs and pairs.

use clap::{ArgGroup, Args, Subcommand};
use drs_model::{Host, HostName, HypervisorKind, Lane, PairName, SiteName, VmRef};

use super::values::{self, NetworkEntry, Rate, StorageEntry, Target};

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Add a host: connects, checks it, and adds it when all is well
    ///
    /// A host whose SSH key is not known yet is refused with the key's fingerprint and the command
    /// that accepts it; nothing is added then.
    #[command(after_help = "\
Examples:
  drs host add dc1 --address root@10.0.0.1 --site dc --key ~/.ssh/id_ed25519
  drs host add pve1 --driver proxmox --address root@10.0.0.2 --site dc \\
      --images local-lvm
  drs host add lab --driver simulated --address vms=4,disk_mib=64 --site lab")]
    Add(HostAddArgs),
    /// List the hosts
    #[command(after_help = "Example:\n  drs host list")]
    List,
    /// Connect to a host and say whether it can be used
    #[command(after_help = "\
Example:
  drs host check dc1")]
    Check {
        /// The host
        name: HostName,
        /// Accept this SSH key in place of the ones known so far, when the host shows it
        #[arg(long, value_name = "SHA256:...", value_parser = values::fingerprint)]
        accept_key: Option<String>,
    },
    /// Change how a host is used: what is not named stays as it is
    #[command(after_help = "\
Examples:
  drs host edit dc1 --bandwidth 50M --slots 4
  drs host edit dc1 --bandwidth none")]
    Edit(HostEditArgs),
    /// Remove a host that no pair and no unfinished job names; its recovery points stay
    #[command(after_help = "Example:\n  drs host remove dc1")]
    Remove {
        /// The host
        name: HostName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HostAddArgs {
    /// What to call it: letters, digits, - _ .
    pub name: HostName,
    /// user@address:port for SSH (root and 22 when left out), or a simulated host's description
    #[arg(long)]
    pub address: String,
    /// The site it stands at: hosts of a site fail together
    #[arg(long)]
    pub site: SiteName,
    /// What it runs
    #[arg(long, value_parser = values::driver(), default_value_t)]
    pub driver: HypervisorKind,
    /// SSH private key on this machine; without it the SSH agent is asked
    ///
    /// In a cluster the key must lie at the same path on every machine that runs workers or commands. Without
    /// it each of them needs an SSH agent of its own.
    #[arg(long, value_name = "FILE")]
    pub key: Option<std::path::PathBuf>,
    /// Where restored disks go: a folder on the host, on Proxmox VE a storage's id [default: the
    /// hypervisor's own]
    #[arg(long, value_name = "DIR|STORAGE", value_parser = values::remote_place)]
    pub images: Option<String>,
    /// Folder on the host for archives on their way (Proxmox VE) [default: /var/lib/vz/drs]
    #[arg(long, value_name = "DIR", value_parser = values::remote_folder)]
    pub dump_dir: Option<String>,
    /// Most bytes per second that jobs move from and to it together, for example 50M
    #[arg(long, value_name = "RATE")]
    pub bandwidth: Option<Rate>,
    /// How many jobs may move data on it at one time
    #[arg(long, default_value_t = Host::SLOTS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Host::SLOTS_MAX)))]
    pub slots: u32,
    /// The fingerprint of the host's SSH key, when you know that it is the right one
    #[arg(long, value_name = "SHA256:...", value_parser = values::fingerprint)]
    pub accept_key: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)
    .args(["address", "key", "images", "dump_dir", "slots", "bandwidth"])))]
pub(crate) struct HostEditArgs {
    /// The host
    pub name: HostName,
    /// user@address:port for SSH, or a simulated host's description
    #[arg(long)]
    pub address: Option<String>,
    /// SSH private key on this machine; in a cluster at the same path on every machine that runs workers or
    /// commands
    #[arg(long, value_name = "FILE")]
    pub key: Option<std::path::PathBuf>,
    /// Where restored disks go: a folder on the host, on Proxmox VE a storage's id
    #[arg(long, value_name = "DIR|STORAGE", value_parser = values::remote_place)]
    pub images: Option<String>,
    /// Folder on the host for archives on their way (Proxmox VE)
    #[arg(long, value_name = "DIR", value_parser = values::remote_folder)]
    pub dump_dir: Option<String>,
    /// How many jobs may move data on it at one time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(Host::SLOTS_MAX)))]
    pub slots: Option<u32>,
    /// Most bytes per second that jobs move from and to it together, for example 50M, or none
    #[arg(long, value_name = "RATE")]
    pub bandwidth: Option<Rate>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// List the sites
    #[command(after_help = "Example:\n  drs site list")]
    List,
    /// Say how a site is used
    #[command(
        after_help = "Examples:\n  drs site edit dc --bandwidth 100M\n  drs site edit dc --lane dc",
        group = clap::ArgGroup::new("change").required(true).multiple(true)
    )]
    Edit {
        /// The site
        name: SiteName,
        /// Most bytes per second that jobs move from and to its hosts together, for example 100M, or
        /// none; counted in each drs process that runs jobs
        #[arg(long, value_name = "RATE", group = "change")]
        bandwidth: Option<Rate>,
        /// Which workers of a cluster take the jobs of its hosts: those that name this lane in their
        /// configuration; without such a worker the jobs wait
        ///
        /// A job's lane is that of its first host's site: of a replication the source's, of a restore the
        /// target's. Jobs without a host, such as verifications, are in the lane `main`.
        #[arg(long, group = "change")]
        lane: Option<Lane>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VmCommand {
    /// List the VMs of a host
    #[command(after_help = "Example:\n  drs vm list dc1")]
    List {
        /// The host
        host: HostName,
    },
    /// Show a VM: its disks and networks, and what a backup of it covers
    #[command(after_help = "Example:\n  drs vm show dc1/web1")]
    Show {
        /// The VM
        #[arg(value_name = "HOST/VM")]
        vm: VmRef,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PairCommand {
    /// Protect a VM: say where it is restored and with which networks and folders
    #[command(after_help = "\
Examples:
  drs pair add web --source dc1/web1 --target rc1 \\
      --network br0=br-recovery --storage vda=/srv/images
  drs pair add db --source pve1/112 --target pve2/212 \\
      --network vmbr0.20=vmbr1.30 --storage scsi0=local-lvm")]
    Add {
        /// What to call it: letters, digits, - _ .
        name: PairName,
        /// The protected VM
        #[arg(long, value_name = "HOST/VM")]
        source: VmRef,
        /// Where it is restored; under its own name (on Proxmox VE its VMID) unless another is given
        #[arg(long, value_name = "HOST[/VM]")]
        target: Target,
        #[command(flatten)]
        mapping: Mapping,
    },
    /// List the pairs
    #[command(after_help = "Example:\n  drs pair list")]
    List,
    /// Change a pair: what is not named stays as it is
    ///
    /// A mapping adds or changes its own entry; without its right side (`--network br0=`) it takes
    /// the entry out.
    #[command(after_help = "\
Example:
  drs pair edit web --target rc2 --network br0=br-drill --new-macs=false")]
    Edit {
        /// The pair
        name: PairName,
        /// The protected VM
        #[arg(long, value_name = "HOST/VM")]
        source: Option<VmRef>,
        /// Where it is restored; on Proxmox VE, VM is a VMID
        #[arg(long, value_name = "HOST[/VM]")]
        target: Option<Target>,
        #[command(flatten)]
        mapping: Mapping,
    },
    /// Remove a pair; its VMs and recovery points stay
    #[command(after_help = "Example:\n  drs pair remove web")]
    Remove {
        /// The pair
        name: PairName,
    },
}

/// How a restored VM differs from its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Mapping {
    /// Attach what was attached to network OLD to network NEW (may be given several times); a VLAN
    /// of a Proxmox VE bridge is written as in vmbr0.20=vmbr1.30
    #[arg(long = "network", value_name = "OLD=NEW")]
    pub networks: Vec<NetworkEntry>,
    /// Restore this disk into this folder or, on Proxmox VE, this storage of the host (may be given several times)
    #[arg(long, value_name = "DISK=DIR|STORAGE")]
    pub storage: Vec<StorageEntry>,
    /// Give the VM new MAC addresses and a new machine id, so that it can run beside its source; by
    /// default it keeps its own
    #[arg(long, visible_alias = "unique", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub new_macs: Option<bool>,
}
