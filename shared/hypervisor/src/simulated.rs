//! A simulated hypervisor: an ordinary driver with any number of VMs, delays and failures, for load
//! tests and for trying the product without a hypervisor.
//!
//! A host is described by its address, for example `vms=4,disk_mib=64,backup_ms=1000`; every key
//! stands at [`Settings`]. Its state lies in files, so that it survives the process and several
//! processes may use it at once:
//!
//! | file | holds |
//! |---|---|
//! | `HOST.json` | since when the host lives |
//! | `HOST.vms/VM.json` | the VM, its open export, its guard; changed under `VM.lock` |
//! | `HOST.vms/VM.N.hold` | locked while the process that holds the VM lives |
//! | `HOST.images/VM.DISK.JOB.img` | the disks of imported VMs, sparse |
//! | `HOST.journal/VM` | a line `epoch_ms job step fence begin\|end` for each hold and detached command |
//!
//! # Invariants
//! - Running VMs write: their content grows with time, and an export keeps the generation of its
//!   freeze instant. An imported VM keeps exactly what was imported, also while it runs.
//! - Every file is replaced atomically. The state survives the death of any process at any point;
//!   it is not synced, so it need not survive the death of the machine.
//! - Time is passed with `tokio::time`; the freeze instant, generations and detached commands go
//!   by the wall clock, which all processes share.

mod command;
mod content;
mod copy;
mod export;
mod guard;
mod image;
mod import;
mod inventory;
mod pace;
mod replace;
pub mod settings;
mod state;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{Fault, Grip, Host, HypervisorKind, PowerAction, PowerState, VmName, VmSummary};
use drs_transport::{Argv, HostGuard};

use crate::port::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Export, ExportEnd, HostReport,
    ImportPlan, ImportRequest, VmDescription,
};
use guard::SimulatedGuard;
pub use settings::{Settings, SettingsError, Step};
use state::HostDir;

/// The driver of one simulated host.
#[derive(Debug, Clone)]
pub struct SimulatedDriver {
    dir: Arc<HostDir>,
}

impl SimulatedDriver {
    /// Opens the host's state in `state_dir`, making it when the host is new.
    ///
    /// # Errors
    /// [`DriverError::Invalid`] naming everything that is wrong with the host's description, or the
    /// directory cannot be used.
    pub fn open(host: Host, state_dir: &Path) -> Result<Self, DriverError> {
        let settings: Settings = host.address.parse().map_err(|error: SettingsError| {
            DriverError::Invalid(format!("host {}: {error}", host.name))
        })?;
        Ok(Self { dir: Arc::new(HostDir::open(host, settings, state_dir)?) })
    }

    /// The journal of a VM: when each hold and each detached command began and ended. The file is
    /// there once the VM was used.
    #[must_use]
    pub fn journal(&self, vm: &VmName) -> PathBuf {
        self.dir.journal_file(vm)
    }
}

#[async_trait]
impl Driver for SimulatedDriver {
    fn kind(&self) -> HypervisorKind {
        HypervisorKind::Simulated
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            export_running: true,
            export_off: true,
            export_rereadable: true,
            file_system_freeze: false,
            change_tracking: false,
            import: true,
            detached_check: true,
            staging: false,
        }
    }

    fn guard(&self) -> Arc<dyn HostGuard> {
        Arc::new(SimulatedGuard { dir: Arc::clone(&self.dir) })
    }

    async fn check(&self) -> Result<HostReport, DriverError> {
        self.dir.check()
    }

    async fn inventory(&self) -> Result<Vec<VmSummary>, DriverError> {
        self.dir.inventory()
    }

    async fn describe(&self, vm: &VmName) -> Result<VmDescription, DriverError> {
        self.dir.describe_on_order(vm).await
    }

    async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        self.dir.power(grip, vm, action).await
    }

    fn export_at_loss(&self, grip: &Grip) -> Option<Argv> {
        Some(command::abandon_export(grip.job))
    }

    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        self.dir.open_export(grip).await
    }

    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        Ok(Box::new(self.dir.source(grip, export).await?))
    }

    async fn export_danger(&self, _: &Grip, _: &Export) -> Result<Option<Fault>, DriverError> {
        Ok(self.dir.reachable().map(|()| None)?)
    }

    async fn close_export(&self, grip: &Grip, _end: ExportEnd) -> Result<(), DriverError> {
        self.dir.close_export(grip).await
    }

    async fn plan_import(
        &self,
        job: drs_model::JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.dir.plan_import(job, request)
    }

    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.allocate(grip, plan).await
    }

    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        Ok(Box::new(self.dir.sink(grip, plan).await?))
    }

    fn check_command(&self, _plan: &ImportPlan) -> Option<Argv> {
        Some(command::sleep(self.dir.check_length()))
    }

    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.define(grip, plan).await
    }

    async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.exchange(grip, plan).await
    }

    async fn exchange_back(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.exchange_back(grip, plan).await
    }

    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.destroy_displaced(grip, plan).await
    }

    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.dir.remove_import(grip, plan).await
    }
}
