//! A driver whose calls can be made to fail.

use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Export, ExportEnd, HostReport,
    ImportPlan, ImportRequest, VmDescription,
};
use drs_model::{
    Fault, Grip, HypervisorKind, JobId, Piece, PowerAction, PowerState, VmName, VmSummary,
};
use drs_transport::{Argv, HostGuard};

use super::FaultPlan;
use super::guard::FaultyGuard;

pub(super) struct FaultyDriver {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) plan: FaultPlan,
}

#[async_trait]
impl Driver for FaultyDriver {
    fn kind(&self) -> HypervisorKind {
        self.driver.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    fn guard(&self) -> Arc<dyn HostGuard> {
        Arc::new(FaultyGuard { guard: self.driver.guard(), plan: self.plan.clone() })
    }

    async fn check(&self) -> Result<HostReport, DriverError> {
        self.plan.twice("check", || self.driver.check()).await
    }

    async fn inventory(&self) -> Result<Vec<VmSummary>, DriverError> {
        self.plan.twice("inventory", || self.driver.inventory()).await
    }

    async fn describe(&self, vm: &VmName) -> Result<VmDescription, DriverError> {
        self.plan.twice("describe", || self.driver.describe(vm)).await
    }

    async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        self.plan.twice("power", || self.driver.power(grip, vm, action)).await
    }

    fn export_at_loss(&self, grip: &Grip) -> Option<Argv> {
        self.driver.export_at_loss(grip)
    }

    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        self.plan.call("open_export", self.driver.open_export(grip)).await
    }

    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        self.plan.call("read", self.driver.read(grip, export)).await
    }

    async fn export_danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        self.driver.export_danger(grip, export).await
    }

    async fn close_export(&self, grip: &Grip, end: ExportEnd) -> Result<(), DriverError> {
        self.plan.twice("close_export", || self.driver.close_export(grip, end)).await
    }

    async fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.plan.twice("plan_import", || self.driver.plan_import(job, request)).await
    }

    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("allocate", || self.driver.allocate(grip, plan)).await
    }

    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        let sink = self.plan.call("write", self.driver.write(grip, plan)).await?;
        Ok(Box::new(FaultySink { sink, plan: self.plan.clone() }))
    }

    fn check_command(&self, plan: &ImportPlan) -> Option<Argv> {
        let command = self.driver.check_command(plan)?;
        let program = command.parts().first()?.clone();
        let longer = self.plan.plan().check_ms.map(|ms| Argv::new(program).arg(ms.to_string()));
        Some(longer.unwrap_or(command))
    }

    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("define", || self.driver.define(grip, plan)).await
    }

    async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("exchange", || self.driver.exchange(grip, plan)).await
    }

    async fn exchange_back(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("exchange_back", || self.driver.exchange_back(grip, plan)).await
    }

    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("destroy_displaced", || self.driver.destroy_displaced(grip, plan)).await
    }

    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.plan.twice("remove_import", || self.driver.remove_import(grip, plan)).await
    }
}

struct FaultySink {
    sink: Box<dyn ContentSink>,
    plan: FaultPlan,
}

#[async_trait]
impl ContentSink for FaultySink {
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError> {
        self.sink.write(piece).await
    }

    async fn finish(self: Box<Self>) -> Result<(), DriverError> {
        self.plan.call("finish_write", self.sink.finish()).await
    }
}
