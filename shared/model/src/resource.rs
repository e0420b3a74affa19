//! What a job must have before it may run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{HostName, VmRef};

/// Something that only so many jobs may use at one time. Its text form keys the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A VM: one job at a time, whatever the job is.
    Vm(VmRef),
    /// A place among the jobs that move data on a host.
    HostSlot(HostName),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(vm) => write!(f, "vm:{vm}"),
            Self::HostSlot(host) => write!(f, "host:{host}"),
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
}
