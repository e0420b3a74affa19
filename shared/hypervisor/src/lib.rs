//! The driver port and the hypervisor drivers: how a VM is found, read, made and switched.
//!
//! # Invariants
//! - A driver never retries and never builds a shell line.
//! - Every change of a VM carries a [`Grip`](drs_model::Grip) and goes through the host's guard.
//! - Nothing is overwritten in place: an import makes new disks and a new VM, or refuses.
//! - `close_export` and `remove_import` are idempotent and know only the job's own leavings: after
//!   them the host is as it was, whatever happened before.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod digest;
pub mod error;
pub mod libvirt;
mod nbd;
pub mod port;
pub mod proxmox;
mod replacement;
pub mod simulated;
mod turn;

pub use port::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Drivers, Export, ExportEnd,
    HostReport, ImportPlan, ImportRequest, PlannedDisk, ReplacedVm, StagedArchive, Staging,
    VmDescription,
};
