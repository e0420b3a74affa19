//! Proxmox VE, through its own commands (`vzdump`, `qmrestore`, `qm`, `pct`, `pvesh`) over SSH as
//! root. Nothing is installed on the node.
//!
//! - A VM is named by its VMID in text (`112`); its guest name (`web-112`) is its label.
//! - *Stream*: `vzdump --stdout` is decoded on the way; `qmrestore -` reads the archive that we write.
//!   Nothing is staged anywhere.
//! - *Staged*: `vzdump` and `qmrestore` run detached on the node, on archives in a folder of the job.
//!
//! # Invariants
//! - A VM is located first: `vzdump` ends with exit code 0 and no backup when it is on another node.
//! - Exit codes of Proxmox's tools are the errno of the moment: what a failure means is told by its
//!   text (`failure.rs`).
//! - Never `--force`: what is restored gets a VMID that is free.
//! - Never a tool's own pruning, never `--remove`: every dump says `--prune-backups keep-all=1`.
//!
//! # What is made on a node
//! ```text
//! DUMP/JOB                          folder of a job: archives, logs, temporary files of vzdump
//! DUMP/JOB-import                   folder of a job's import: archive, pipe, logs
//! /var/lib/drs-proxmox/imports/ID   which job has made (or is making) the VM with that VMID
//! /var/lib/drs-proxmox/locks/ID     locked while a restore into that VMID runs; `reserve`: while one is
//!                                   being reserved
//! /run/drs-turns/JOB                the turns that a job's commands take (`turn.sh`)
//! ```
//!
//! `traps.rs` lists what the tools do that nobody expects, and where each is defended and tested.

mod check;
mod config;
mod dump;
mod export;
mod failure;
mod guest;
mod import;
mod inventory;
mod load;
mod log;
mod native;
mod node;
mod paths;
mod plan;
mod power;
mod replace;
mod staging;
mod tar_source;
mod traps;
mod unpack;
mod vma_sink;
mod vma_source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{
    Fault, Grip, Host, HypervisorKind, JobId, PowerAction, PowerState, VmName, VmRef, VmSummary,
};
use drs_transport::{Argv, HostGuard, Output, Remote};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::{
    Capabilities, ContentSink, ContentSource, Driver, DriverError, Export, ExportEnd, HostReport,
    ImportPlan, ImportRequest, Staging, VmDescription,
};

/// Longest a command that changes a VM may take.
const CHANGE_LIMIT: Duration = Duration::from_secs(240);

/// A Proxmox VE node.
pub struct ProxmoxDriver {
    host: Host,
    remote: Arc<dyn Remote>,
    guard: Arc<dyn HostGuard>,
    /// The node's name, asked once.
    node: OnceCell<String>,
    /// Streams that were opened and not read yet.
    streams: Mutex<HashMap<JobId, export::OpenStream>>,
}

impl ProxmoxDriver {
    /// The driver of a node that is reached through `remote` and guarded by `guard`.
    #[must_use]
    pub fn new(host: Host, remote: Arc<dyn Remote>, guard: Arc<dyn HostGuard>) -> Self {
        Self { host, remote, guard, node: OnceCell::new(), streams: Mutex::default() }
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

    /// Reads a path of the node's API with `pvesh`; options as `["--content", "images"]`.
    async fn get<T: DeserializeOwned>(
        &self,
        vm: Option<&VmRef>,
        path: &str,
        options: &[&str],
    ) -> Result<T, DriverError> {
        let what = format!("pvesh get {path}");
        let argv = command(["pvesh", "get", path])
            .args(options.iter().copied())
            .args(["--output-format", "json"]);
        let text = self.ask(vm, &what, &argv).await?;
        serde_json::from_str(&text).map_err(|error| {
            self.failed(&what, format!("its answer cannot be understood: {error}"))
        })
    }

    /// Runs a command that changes something, under the guard.
    async fn change(
        &self,
        grip: &Grip,
        vm: &VmRef,
        what: &str,
        argv: &Argv,
        stdin: Bytes,
    ) -> Result<String, DriverError> {
        let output = self.guard.run(grip, argv, stdin, CHANGE_LIMIT).await?;
        self.text(Some(vm), what, &output)
    }

    fn text(&self, vm: Option<&VmRef>, what: &str, output: &Output) -> Result<String, DriverError> {
        match output.ok() {
            true => Ok(output.text()),
            false => Err(failure::failure(&self.host, vm, what, output)),
        }
    }

    fn failed(&self, what: &str, reason: impl Into<String>) -> DriverError {
        let host = self.host.name.to_string();
        DriverError::Failed { host, what: what.to_owned(), reason: reason.into() }
    }
}

/// What every script begins with: output that can be read by a program, and the folders that a
/// login without a terminal may lack.
const PREAMBLE: &str = r#"export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
"#;

/// A constant script with arguments.
fn script(text: &str, name: &str) -> Argv {
    Argv::new("sh").args(["-c", &format!("{PREAMBLE}{text}"), name])
}

/// One of Proxmox's commands and its arguments.
fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Argv {
    script(r#"exec "$@""#, "drs-proxmox").args(argv)
}

#[async_trait]
impl Driver for ProxmoxDriver {
    fn kind(&self) -> HypervisorKind {
        HypervisorKind::Proxmox
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            export_running: true,
            export_off: true,
            export_rereadable: false,
            file_system_freeze: true,
            change_tracking: false,
            import: true,
            detached_check: true,
            staging: true,
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
        Ok(self.locate(&self.vm_ref(vm)).await?.description())
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
        Some(self.close_command(grip, ExportEnd::Abandoned))
    }

    async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        self.open_stream(grip).await
    }

    async fn read(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        self.take_source(grip, export).await
    }

    async fn export_danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        self.danger(grip, export).await
    }

    async fn close_export(&self, grip: &Grip, end: ExportEnd) -> Result<(), DriverError> {
        self.close(grip, end).await
    }

    async fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.plan(job, request).await
    }

    async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.reserve(grip, plan).await
    }

    async fn write(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        self.open_sink(grip, plan).await
    }

    fn check_command(&self, plan: &ImportPlan) -> Option<Argv> {
        Some(self.check_imported(plan))
    }

    async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.settle_import(grip, plan).await
    }

    // VMIDs cannot be exchanged: both VMs keep theirs.
    async fn exchange(&self, _grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.demand_exchangeable(plan).await
    }

    async fn exchange_back(&self, _grip: &Grip, _plan: &ImportPlan) -> Result<(), DriverError> {
        Ok(())
    }

    async fn destroy_displaced(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.destroy_displaced_vm(grip, plan).await
    }

    async fn remove_import(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.take_back(grip, plan).await
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }
}
