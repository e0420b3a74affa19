//! What a job must have before it may run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostName, InvalidName, VmRef};

/// Something that only so many jobs may use at one time. Its text form keys the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A VM: one job at a time, whatever the job is.
    Vm(VmRef),
    /// A place among the jobs that move data on a host.
    HostSlot(HostName),
    /// The one dump that a Proxmox VE node makes at a time: `vzdump` takes a lock of the whole node.
    DumpSlot(HostName),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(vm) => write!(f, "vm:{vm}"),
            Self::HostSlot(host) => write!(f, "host:{host}"),
            Self::DumpSlot(host) => write!(f, "dump:{host}"),
        }
    }
}

impl FromStr for Resource {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once(':') {
            Some(("vm", vm)) => vm.parse().map(Self::Vm),
            Some(("host", host)) => host.parse().map(Self::HostSlot),
            Some(("dump", host)) => host.parse().map(Self::DumpSlot),
            _ => Err(InvalidName {
                what: "resource",
                text: text.chars().take(100).collect(),
                rule: "it is written vm:HOST/VM, host:HOST or dump:HOST".into(),
            }),
        }
    }
}

/// A resource together with how many jobs may hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which.
    pub resource: Resource,
    /// How many jobs may hold it at once; 1 for a VM.
    pub capacity: u32,
}

impl Need {
    /// Exclusive use of a VM.
    #[must_use]
    pub fn vm(vm: VmRef) -> Self {
        Self { resource: Resource::Vm(vm), capacity: 1 }
    }

    /// One of a host's slots.
    #[must_use]
    pub fn host_slot(host: HostName, slots: u32) -> Self {
        Self { resource: Resource::HostSlot(host), capacity: slots }
    }

    /// The dump slot of a Proxmox VE node.
    #[must_use]
    pub fn dump_slot(host: HostName) -> Self {
        Self { resource: Resource::DumpSlot(host), capacity: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        for text in ["vm:dc/web 1", "vm:dc/a:b", "host:dc", "dump:dc"] {
            assert_eq!(text.parse::<Resource>().map(|r| r.to_string()).as_deref(), Ok(text));
        }
        assert!("disk:dc".parse::<Resource>().is_err());
    }
}
