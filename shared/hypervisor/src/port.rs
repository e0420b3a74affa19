//! The driver port: one trait for every hypervisor, with declared capabilities.

use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{
    Consistency, Disk, Extent, Fault, Grip, Host, HostName, HypervisorKind, PowerAction,
    PowerState, RecoveryPoint, RestoreTarget, Timestamp, VmName, VmSpec, VmSummary,
};
use drs_transport::{Argv, HostGuard};
use serde::{Deserialize, Serialize};

pub use crate::error::DriverError;

/// What a driver can do. What it cannot do it declares here; the conformance suite asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Reads a running VM without stopping it.
    pub export_running: bool,
    /// Reads a VM that is off.
    pub export_off: bool,
    /// Freezes the guest's file systems when the VM has a guest agent.
    pub file_system_freeze: bool,
    /// Keeps a mark at the freeze instant from which a later export can tell what changed.
    pub change_tracking: bool,
    /// Makes VMs.
    pub import: bool,
    /// Checks an imported disk with a detached command.
    pub detached_check: bool,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Hypervisor and version, in one line.
    pub hypervisor: String,
    /// Defined VMs.
    pub vms: usize,
    /// Free bytes in the folder for restored disks.
    pub free_bytes: u64,
    /// What works but deserves a look, one sentence each.
    pub warnings: Vec<String>,
}

/// A VM as its host describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmDescription {
    /// The neutral form.
    pub spec: VmSpec,
    /// Whether it runs.
    pub power: PowerState,
    /// The hypervisor's own form.
    pub native_config: String,
}

/// An open export: the VM's disks as they were at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The VM at that instant.
    pub description: VmDescription,
    /// The freeze instant.
    pub consistent_at: Timestamp,
    /// What the freeze was worth.
    pub consistency: Consistency,
    /// What deserves a look (a silent guest agent, a disk that is not covered), one sentence each.
    pub warnings: Vec<String>,
    /// What the driver needs to reach the disks.
    pub handle: serde_json::Value,
}

/// How an export ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportEnd {
    /// Everything was read: the mark for change tracking stays, older marks of ours go.
    Complete,
    /// It failed or was cancelled: the mark made by this export goes too.
    Abandoned,
}

/// What is to be made on a host.
#[derive(Debug, Clone)]
pub struct ImportRequest<'a> {
    /// The point to restore.
    pub point: &'a RecoveryPoint,
    /// Where to and as what.
    pub target: &'a RestoreTarget,
}

/// What an import will make, decided before anything is made. It is logged with the job, so that
/// a worker that takes over goes on with the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPlan {
    /// The new VM's name.
    pub name: VmName,
    /// Its disks, in the order of the point.
    pub disks: Vec<PlannedDisk>,
    /// Its description in the target hypervisor's own words.
    pub native_config: String,
    /// What differs from the source or deserves a look, one sentence each.
    pub remarks: Vec<String>,
}

/// One disk of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDisk {
    /// Its name in the point.
    pub name: String,
    /// Size that the guest sees, in bytes.
    pub size_bytes: u64,
    /// Where it is written until it is proven.
    pub staging: String,
    /// Where it stays.
    pub path: String,
    /// Its format on the host.
    pub format: String,
}

/// One pass over a disk's content, in rising order, holes left out.
#[async_trait]
pub trait DiskSource: Send {
    /// Bytes that the pass will deliver, when the hypervisor tells beforehand; else the disk's size.
    fn data_bytes(&self) -> u64;

    /// The next extent, or `None` behind the last one.
    ///
    /// # Errors
    /// The connection broke, or the hypervisor reported a read error.
    async fn next(&mut self) -> Result<Option<Extent>, DriverError>;
}

/// A disk that is being written. Starts as zeros.
#[async_trait]
pub trait DiskSink: Send {
    /// Writes an extent; several may be on their way when it returns.
    ///
    /// # Errors
    /// The connection broke, or an earlier write failed (no space left).
    async fn write(&mut self, extent: Extent) -> Result<(), DriverError>;

    /// Waits for every write and makes them durable.
    ///
    /// # Errors
    /// As [`DiskSink::write`].
    async fn finish(self: Box<Self>) -> Result<(), DriverError>;
}

/// A hypervisor host.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Which hypervisor.
    fn kind(&self) -> HypervisorKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The guard of the host.
    fn guard(&self) -> Arc<dyn HostGuard>;

    /// Whether the host can be used: rights, tools, versions, space.
    ///
    /// # Errors
    /// It cannot; the error says what to do.
    async fn check(&self) -> Result<HostReport, DriverError>;

    /// Every VM, by name.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn inventory(&self) -> Result<Vec<VmSummary>, DriverError>;

    /// One VM.
    ///
    /// # Errors
    /// [`DriverError::VmNotFound`], or the host cannot be used.
    async fn describe(&self, vm: &VmName) -> Result<VmDescription, DriverError>;

    /// Switches a VM and waits until it is as wanted (at most 120 s for a shutdown). It is no error
    /// when it is so already.
    ///
    /// # Errors
    /// No such VM, or the hypervisor or the guest did not do it.
    async fn power(&self, grip: &Grip, action: PowerAction) -> Result<PowerState, DriverError>;

    /// What the host itself is to run when the worker dies while an export is open, so that the VM
    /// is not left with it: the equivalent of `close_export(.., Abandoned)`.
    fn export_at_loss(&self, grip: &Grip) -> Option<Argv>;

    /// Freezes the VM's disks at an instant and opens them for reading. The guest runs on; it is
    /// thawed before this returns, also when it fails.
    ///
    /// # Errors
    /// No such VM, it is busy, or it has nothing that can be backed up.
    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError>;

    /// Reads one disk of an open export.
    ///
    /// # Errors
    /// The export is gone.
    async fn read_disk(
        &self,
        grip: &Grip,
        export: &Export,
        disk: &Disk,
    ) -> Result<Box<dyn DiskSource>, DriverError>;

    /// What endangers the VM while the export is open (the guest is paused because the scratch file
    /// is full), `None` when all is well. Asked every few seconds during a copy; on a danger the copy
    /// is ended and the export abandoned, which sets the guest free.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn export_danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError>;

    /// Ends this job's export and removes what it left on the host: thaws, resumes a guest that the
    /// export had paused, ends the backup job, removes scratch files and sockets. Idempotent; needs no
    /// [`Export`], so that it works after any crash. Leaves alone what is not of DR Switch.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn close_export(&self, grip: &Grip, end: ExportEnd) -> Result<(), DriverError>;

    /// Decides what an import makes. Changes nothing.
    ///
    /// # Errors
    /// [`DriverError::AlreadyExists`] when a VM or a disk of that name is there, no space, an unknown
    /// network or folder, or the host cannot be used.
    async fn plan_import(
        &self,
        job: drs_model::JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError>;

    /// Makes the staging disks, empty. Idempotent: makes them anew.
    ///
    /// # Errors
    /// No space, or the host cannot be used.
    async fn create_disks(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Opens a staging disk for writing.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn write_disk(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        disk: &PlannedDisk,
    ) -> Result<Box<dyn DiskSink>, DriverError>;

    /// The command that checks the staging disks; it runs detached under the guard, exit code 0
    /// meaning sound. `None` when there is nothing to check.
    fn check_command(&self, plan: &ImportPlan) -> Option<Argv>;

    /// Puts the disks in their places and defines the VM. Idempotent.
    ///
    /// # Errors
    /// The name was taken meanwhile, or the hypervisor refused.
    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Removes what this job's import made, and nothing else. Idempotent.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;
}

/// Finds the driver of a host.
#[async_trait]
pub trait Drivers: Send + Sync {
    /// The host as the catalogue has it.
    ///
    /// # Errors
    /// No such host, or the catalogue failed.
    async fn host(&self, name: &HostName) -> Result<Host, Fault>;

    /// Its driver; connections are shared and made when first used.
    ///
    /// # Errors
    /// No such host, or its description is invalid.
    async fn driver(&self, name: &HostName) -> Result<Arc<dyn Driver>, Fault>;
}
