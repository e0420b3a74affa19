//! A simulated host whose guard is the real one, on a real sshd.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::simulated::SimulatedDriver;
use drs_hypervisor::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Export, ExportEnd, HostReport,
    ImportPlan, ImportRequest, VmDescription,
};
use drs_model::{
    Fault, Grip, Host, HypervisorKind, JobId, PowerAction, PowerState, VmName, VmSummary,
};
use drs_transport::{Argv, HostGuard, ShellGuard, SshConfig, SshRemote};

/// How one logs in where hosts have their guard, and what a restore is checked with there.
#[derive(Debug, Clone)]
pub struct Login {
    /// `USER@HOST:PORT`.
    pub address: String,
    /// The private key.
    pub key_file: PathBuf,
    /// Fingerprint of the host's key.
    pub pinned: String,
    /// The detached command that checks what a restore has written; without one the step does nothing.
    pub check: Option<Argv>,
}

impl Login {
    /// The guard there, with connections of its own.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn guard(&self, host: &Host) -> Result<ShellGuard, Fault> {
        let remote = SshRemote::new(SshConfig {
            host: host.name.clone(),
            address: self.address.clone(),
            key_file: Some(self.key_file.clone()),
            agent_socket: None,
            pinned: vec![self.pinned.clone()],
            connect_timeout: SshConfig::CONNECT_TIMEOUT,
        });
        Ok(ShellGuard::new(Arc::new(remote.map_err(|error| error.fault())?)))
    }

    pub(super) fn guarding(&self, host: &Host, driver: SimulatedDriver) -> Result<OverSsh, Fault> {
        Ok(OverSsh { driver, guard: Arc::new(self.guard(host)?), check: self.check.clone() })
    }
}

pub(super) struct OverSsh {
    driver: SimulatedDriver,
    guard: Arc<ShellGuard>,
    check: Option<Argv>,
}

#[async_trait]
impl Driver for OverSsh {
    fn kind(&self) -> HypervisorKind {
        self.driver.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    fn guard(&self) -> Arc<dyn HostGuard> {
        Arc::clone(&self.guard) as Arc<dyn HostGuard>
    }

    async fn check(&self) -> Result<HostReport, DriverError> {
        self.driver.check().await
    }

    async fn inventory(&self) -> Result<Vec<VmSummary>, DriverError> {
        self.driver.inventory().await
    }

    async fn describe(&self, vm: &VmName) -> Result<VmDescription, DriverError> {
        self.driver.describe(vm).await
    }

    async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        self.driver.power(grip, vm, action).await
    }

    fn export_at_loss(&self, _: &Grip) -> Option<Argv> {
        None
    }

    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        self.driver.open_export(grip).await
    }

    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        self.driver.read(grip, export).await
    }

    async fn export_danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        self.driver.export_danger(grip, export).await
    }

    async fn close_export(&self, grip: &Grip, end: ExportEnd) -> Result<(), DriverError> {
        self.driver.close_export(grip, end).await
    }

    async fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.driver.plan_import(job, request).await
    }

    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.allocate(grip, plan).await
    }

    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        self.driver.write(grip, plan).await
    }

    fn check_command(&self, _: &ImportPlan) -> Option<Argv> {
        self.check.clone()
    }

    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.define(grip, plan).await
    }

    async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.exchange(grip, plan).await
    }

    async fn exchange_back(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.exchange_back(grip, plan).await
    }

    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.destroy_displaced(grip, plan).await
    }

    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.driver.remove_import(grip, plan).await
    }
}
