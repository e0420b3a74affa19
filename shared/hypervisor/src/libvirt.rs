//! libvirt with QEMU or KVM, through `virsh` over SSH. Nothing is installed on the host and
//! nothing is staged there.
//!
//! - A running VM is exported by a backup job in pull mode: QEMU serves the disks, as they were at
//!   the freeze instant, on a Unix socket that the SSH connection reaches.
//! - A VM that is off is exported by one `qemu-nbd` per disk, which lives as long as its channel.
//! - An import writes into a `qemu-nbd` on the target and defines the VM when its disks are proven.
//!
//! Everything made on a host carries the job's id in its name; `export.sh` and `import.sh`
//! say what that is, and how it is taken back after any crash.

mod disk;
mod domain;
mod export;
mod foreign;
mod import;
mod inventory;
mod parse;
mod pass;
mod plan;
mod power;
mod replace;
mod spec;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{
    Fault, Grip, Host, HypervisorKind, JobId, PowerAction, PowerState, VmName, VmRef, VmSummary,
};
use drs_transport::{Argv, HostGuard, Output, Remote};

use crate::turn::order;
use crate::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Export, ExportEnd, HostReport,
    ImportPlan, ImportRequest, VmDescription,
};

/// Where restored disks go when the host names no folder.
const IMAGE_DIR_DEFAULT: &str = "/var/lib/libvirt/images";

/// Longest a command that changes a VM may take.
const CHANGE_LIMIT: Duration = Duration::from_secs(240);

/// A libvirt host.
#[derive(Clone)]
pub struct LibvirtDriver {
    host: Host,
    remote: Arc<dyn Remote>,
    guard: Arc<dyn HostGuard>,
}

impl LibvirtDriver {
    /// The driver of a host that is reached through `remote` and guarded by `guard`.
    #[must_use]
    pub fn new(host: Host, remote: Arc<dyn Remote>, guard: Arc<dyn HostGuard>) -> Self {
        Self { host, remote, guard }
    }

    fn image_dir(&self) -> &str {
        self.host.image_dir.as_deref().unwrap_or(IMAGE_DIR_DEFAULT)
    }

    fn vm_ref(&self, name: &VmName) -> VmRef {
        VmRef { host: self.host.name.clone(), name: name.clone() }
    }

    /// Runs a command that changes nothing and gives its output.
    async fn ask(
        &self,
        vm: Option<&VmRef>,
        what: &str,
        argv: &Argv,
    ) -> Result<String, DriverError> {
        let output = self.remote.exec(argv, Bytes::new()).await?;
        self.text(vm, what, &output)
    }

    /// Runs a command that changes something, under the guard.
    async fn change(
        &self,
        grip: &Grip,
        what: &str,
        argv: &Argv,
        stdin: Bytes,
    ) -> Result<String, DriverError> {
        let output = self.guard.run(grip, argv, stdin, CHANGE_LIMIT).await?;
        self.text(Some(&grip.vm), what, &output)
    }

    fn text(&self, vm: Option<&VmRef>, what: &str, output: &Output) -> Result<String, DriverError> {
        match output.ok() {
            true => Ok(output.text()),
            false => Err(parse::failure(&self.host, vm, what, output)),
        }
    }

    fn failed(&self, what: &str, reason: impl Into<String>) -> DriverError {
        let host = self.host.name.to_string();
        DriverError::Failed { host, what: what.to_owned(), reason: reason.into() }
    }
}

/// What every script begins with: output that can be read by a program, the folders that a login
/// without a terminal may lack, and the system's libvirt, since `virsh` of an ordinary login would
/// take that user's own, where none of the host's VMs are.
const PREAMBLE: &str = r#"export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
export LIBVIRT_DEFAULT_URI="${LIBVIRT_DEFAULT_URI:-qemu:///system}"
"#;

/// A `virsh` command.
fn virsh<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Argv {
    script(r#"exec virsh -q "$@""#, "drs-virsh").args(args)
}

/// A constant script with arguments.
fn script(text: &str, name: &str) -> Argv {
    Argv::new("sh").args(["-c", &format!("{PREAMBLE}{text}"), name])
}

#[async_trait]
impl Driver for LibvirtDriver {
    fn kind(&self) -> HypervisorKind {
        HypervisorKind::Libvirt
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            export_running: true,
            export_off: true,
            export_rereadable: true,
            file_system_freeze: true,
            change_tracking: true,
            import: true,
            detached_check: true,
            staging: false,
        }
    }

    fn guard(&self) -> Arc<dyn HostGuard> {
        Arc::clone(&self.guard)
    }

    async fn check(&self) -> Result<HostReport, DriverError> {
        self.report().await
    }

    async fn inventory(&self) -> Result<Vec<VmSummary>, DriverError> {
        self.summaries().await
    }

    async fn describe(&self, vm: &VmName) -> Result<VmDescription, DriverError> {
        let vm = self.vm_ref(vm);
        let found = self.find(&vm).await?;
        Ok(self.examine(&vm, &found).await?.description)
    }

    async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        self.switch(grip, vm, action).await
    }

    fn export_at_loss(&self, grip: &Grip) -> Option<Argv> {
        // Made before the commands that it follows.
        Some(self.close_command(grip, "any", ExportEnd::Abandoned))
    }

    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        self.open(grip).await
    }

    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        Ok(Box::new(self.pass(grip, export).await?))
    }

    async fn export_danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        self.danger(grip, export).await
    }

    async fn close_export(&self, grip: &Grip, end: ExportEnd) -> Result<(), DriverError> {
        let command = self.close_command(grip, &order(grip), end);
        self.change(grip, "closing the export", &command, Bytes::new()).await.map(drop)
    }

    async fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.plan(job, request).await
    }

    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.create(grip, plan).await
    }

    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        Ok(Box::new(self.sink(grip, plan).await?))
    }

    fn check_command(&self, plan: &ImportPlan) -> Option<Argv> {
        Some(import::check_command(plan))
    }

    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.put_in_place(grip, plan).await
    }

    async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.rename("exchange", grip, plan).await
    }

    async fn exchange_back(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.rename("exchange_back", grip, plan).await
    }

    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.destroy(grip, plan).await
    }

    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.take_back(grip, plan).await
    }
}
