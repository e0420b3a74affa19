//! The driver port: one trait for every hypervisor, with declared capabilities.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{
    Consistency, Fault, Grip, Host, HostName, HypervisorKind, JobId, Piece, PowerAction,
    PowerState, RecoveryPoint, ReplacePolicy, RestoreTarget, Timestamp, VmForm, VmName, VmSpec,
    VmSummary,
};
use drs_transport::{Argv, HostGuard, Remote};
use serde::{Deserialize, Serialize};

pub use crate::error::DriverError;

/// What a driver can do. What it cannot do it declares here; the conformance suite asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Reads a running VM without stopping it.
    pub export_running: bool,
    /// Reads a VM that is off.
    pub export_off: bool,
    /// An open export can be read as often as one likes; otherwise once, from its beginning.
    pub export_rereadable: bool,
    /// Freezes the guest's file systems when the VM has a guest agent.
    pub file_system_freeze: bool,
    /// Keeps a mark at the freeze instant from which a later export can tell what changed.
    pub change_tracking: bool,
    /// Makes VMs.
    pub import: bool,
    /// Checks an imported disk with a detached command.
    pub detached_check: bool,
    /// Moves VMs as archives that are staged on the host ([`Driver::staging`]).
    pub staging: bool,
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
    /// What the driver needs to reach the contents.
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
    /// The new VM's name when the job is done.
    pub name: VmName,
    /// The name under which it is made and checked; another one than `name` while a VM of that name is
    /// to be replaced, on hypervisors that can rename.
    pub made_as: VmName,
    /// The VM that stands where the new one is to be.
    pub replaces: Option<ReplacedVm>,
    /// Machine or container.
    pub form: VmForm,
    /// Its disks, in the order of the point; of a container its volumes, for information.
    pub disks: Vec<PlannedDisk>,
    /// Its description in the target hypervisor's own words.
    pub native_config: String,
    /// What differs from the source or deserves a look, one sentence each.
    pub remarks: Vec<String>,
    /// What the driver needs beside this to make it.
    #[serde(default)]
    pub handle: serde_json::Value,
}

impl ImportPlan {
    /// The VM whose place the new one takes.
    #[must_use]
    pub fn displaced(&self) -> Option<&ReplacedVm> {
        self.replaces.as_ref().filter(|old| old.policy.takes_place())
    }
}

/// A VM that stands where an import is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedVm {
    /// Its name.
    pub name: VmName,
    /// The hypervisor's own id of it: what is destroyed must still be this VM.
    pub native_id: String,
    /// Whether it ran when the plan was made.
    pub running: bool,
    /// The name it has after [`Driver::exchange`]; its own where VMs are not renamed.
    pub aside: VmName,
    /// What becomes of it.
    pub policy: ReplacePolicy,
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

/// One pass over the contents of an export. Holes are left out; pieces do not overlap. The order is
/// the hypervisor's: contents may be interleaved and their extents come in any order.
#[async_trait]
pub trait ContentSource: Send {
    /// Bytes of the contents that the pass has covered so far, holes included.
    fn position_bytes(&self) -> u64;

    /// The next piece, or `None` behind the last one, when the hypervisor has confirmed that this was
    /// all: exit status, completeness, byte count.
    ///
    /// # Errors
    /// The connection broke, the hypervisor reported an error, or something is missing at the end.
    async fn next(&mut self) -> Result<Option<Piece>, DriverError>;
}

/// The contents of an import that are being written. They start as zeros.
#[async_trait]
pub trait ContentSink: Send {
    /// Writes a piece; several may be on their way when it returns. Pieces do not overlap; those of
    /// one content that touch the same aligned 64 KiB follow each other, otherwise any order will do.
    ///
    /// # Errors
    /// The connection broke, the piece does not fit the plan, or an earlier write failed (no space
    /// left).
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError>;

    /// Waits for every write and makes them durable.
    ///
    /// # Errors
    /// As [`ContentSink::write`].
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

    /// Switches a VM of this host and waits until it is as wanted (at most 120 s for a shutdown). It is
    /// no error when it is so already. The grip's VM need not be this one: a restore that replaces a VM
    /// switches the old and the new one under the same grip.
    ///
    /// # Errors
    /// No such VM, or the hypervisor or the guest did not do it.
    async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError>;

    /// What the host itself is to run when the worker dies while an export is open, so that the VM
    /// is not left with it: the equivalent of `close_export(.., Abandoned)`.
    fn export_at_loss(&self, grip: &Grip) -> Option<Argv>;

    /// Freezes the VM's disks at an instant and opens them for reading. The guest runs on; it is
    /// thawed before this returns, also when it fails.
    ///
    /// # Errors
    /// No such VM, it is busy, or it has nothing that can be backed up.
    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError>;

    /// Reads the contents of an open export ([`VmSpec::contents`] of its description).
    ///
    /// # Errors
    /// The export is gone.
    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError>;

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
    /// [`DriverError::AlreadyExists`] when a VM of that name is there and is not to be replaced, or a
    /// disk is; no space, an unknown network, storage or folder; a form that this hypervisor cannot
    /// make; or the host cannot be used.
    async fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError>;

    /// Makes room for the import: takes its name or number, makes empty staging disks. Idempotent:
    /// makes them anew.
    ///
    /// # Errors
    /// The name was taken meanwhile, no space, or the host cannot be used.
    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Opens what was allocated for writing.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError>;

    /// The command that checks what was written; it runs detached under the guard, exit code 0
    /// meaning sound. `None` when there is nothing to check.
    fn check_command(&self, plan: &ImportPlan) -> Option<Argv>;

    /// Puts the disks in their places and defines the VM under [`ImportPlan::made_as`], off; or, where
    /// writing has made the VM already, demands that it is what the plan says. Remembers on the host
    /// that DR Switch made it. Idempotent.
    ///
    /// # Errors
    /// The name was taken meanwhile, the VM is not as planned, or the hypervisor refused.
    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Gives the import its final name and the displaced VM the name it keeps aside, where VMs can be
    /// renamed. Both are off. Idempotent.
    ///
    /// # Errors
    /// One of them runs or is not what the plan says, or the host cannot be used.
    async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Takes [`Driver::exchange`] back, also when it was done in part or not at all. Idempotent.
    ///
    /// # Errors
    /// As [`Driver::exchange`].
    async fn exchange_back(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Destroys the displaced VM with its disks, when its policy says so; it is off. Leaves alone what
    /// is not that very VM. Idempotent.
    ///
    /// # Errors
    /// It runs, or the host cannot be used.
    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// Removes what this job's import made, and nothing else: VM, disks, reservations, staged archives.
    /// Idempotent.
    ///
    /// # Errors
    /// The host cannot be used, or the import runs.
    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError>;

    /// How VMs are moved as staged archives; `None` where that is not possible.
    fn staging(&self) -> Option<&dyn Staging> {
        None
    }
}

/// An archive on a host: what a dump left there, or what a load reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedArchive {
    /// Its absolute path on the host, in a folder of DR Switch's own.
    pub path: String,
    /// Its length in bytes, when it is complete on the host.
    pub size_bytes: u64,
    /// What the VM was when it was dumped, `None` for an archive that is to be loaded.
    pub export: Option<Export>,
}

impl StagedArchive {
    /// Its file name. It is kept through every copy: Proxmox VE takes type and compression from it.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Moving VMs as archives that are staged on the host. What the host does runs detached under the
/// guard; the archive itself is moved by the worker between the commands.
///
/// ```text
/// backup   dump_command (detached) -> dumped -> worker fetches -> unpack -> Driver::close_export
/// restore  pack -> worker pushes to load_path -> load_command (detached) -> Driver::define
/// ```
///
/// [`Driver::close_export`] removes what a dump left, [`Driver::remove_import`] and
/// [`Driver::define`] what a load needed.
#[async_trait]
pub trait Staging: Send + Sync {
    /// The connection over which archives are moved.
    fn remote(&self) -> Arc<dyn Remote>;

    /// Refuses with [`DriverError::Busy`] while somebody else dumps on this host.
    ///
    /// # Errors
    /// It is busy, or the host cannot be used.
    async fn dump_admitted(&self, grip: &Grip) -> Result<(), DriverError>;

    /// The command that dumps the VM into an archive in a folder of this job.
    fn dump_command(&self, grip: &Grip, limit_bytes_per_second: Option<u64>) -> Argv;

    /// Progress of a dump or a load from its log so far: done and total bytes. `None` when the log
    /// does not tell (containers).
    fn progress(&self, log: &str) -> Option<(u64, u64)>;

    /// What a dump that failed means, or a load with its plan; `log` is the end of its output.
    fn command_fault(&self, grip: &Grip, loads: Option<&ImportPlan>, log: &str) -> Fault;

    /// What the dump left, when it is there and complete by every sign.
    ///
    /// # Errors
    /// It is not, or the host cannot be used.
    async fn dumped(&self, grip: &Grip) -> Result<StagedArchive, DriverError>;

    /// Reads a fetched archive.
    ///
    /// # Errors
    /// It cannot be read or is not of that VM.
    async fn unpack(
        &self,
        archive: &StagedArchive,
        local: &Path,
    ) -> Result<Box<dyn ContentSource>, DriverError>;

    /// Writes an archive on this machine for an import.
    ///
    /// # Errors
    /// The file cannot be made.
    async fn pack(
        &self,
        plan: &ImportPlan,
        local: &Path,
    ) -> Result<Box<dyn ContentSink>, DriverError>;

    /// Makes the folder for the archive that is to be loaded, with room for so many bytes, and tells
    /// the archive's path. Idempotent.
    ///
    /// # Errors
    /// No space, or the host cannot be used.
    async fn load_path(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        size_bytes: u64,
    ) -> Result<String, DriverError>;

    /// The command that makes the VM from the archive.
    fn load_command(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        path: &str,
        limit_bytes_per_second: Option<u64>,
    ) -> Argv;
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
