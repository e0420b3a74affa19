//! Imports: making a planned VM, and taking it back.

use bytes::Bytes;
use drs_model::Grip;
use drs_transport::Argv;

use super::disk::{NbdSink, Served};
use super::{LibvirtDriver, order, script};
use crate::{DiskSink, DriverError, ImportPlan, PlannedDisk};

const IMPORT: &str = concat!(include_str!("turn.sh"), include_str!("import.sh"));

/// A call of `import.sh`.
pub(super) fn import(command: &str) -> Argv {
    script(IMPORT, "drs-import").arg(command)
}

/// The command that fails when a staging disk is damaged.
pub(super) fn check_command(plan: &ImportPlan) -> Argv {
    import("check").args(plan.disks.iter().map(|disk| disk.staging.as_str()))
}

impl LibvirtDriver {
    pub(super) async fn create(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let disks =
            plan.disks.iter().flat_map(|it| [it.staging.clone(), it.size_bytes.to_string()]);
        let argv = import("create").args([grip.job.to_string(), order(grip)]).args(disks);
        self.change(grip, "qemu-img create", &argv, Bytes::new()).await.map(drop)
    }

    pub(super) async fn sink(
        &self,
        grip: &Grip,
        disk: &PlannedDisk,
    ) -> Result<Box<dyn DiskSink>, DriverError> {
        let run = self.ask(None, "id", &script(RUN, "drs-run")).await?;
        let served = Served {
            options: &["--cache=writeback", "--discard=unmap", "--detect-zeroes=unmap"],
            run: run.trim(),
            disk: &disk.name,
            format: &disk.format,
            file: &disk.staging,
        };
        let (server, stream) = self.serve(grip, &served).await?;
        let sink = NbdSink::open(stream, server, &grip.vm, &disk.name, disk.size_bytes).await?;
        Ok(Box::new(sink))
    }

    pub(super) async fn put_in_place(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let description = Bytes::copy_from_slice(plan.native_config.as_bytes());
        let argv = with_files("define", grip, plan);
        self.change(grip, "virsh define", &argv, description).await.map(drop)
    }

    pub(super) async fn take_back(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let argv = with_files("remove", grip, plan);
        self.change(grip, "removing the import", &argv, Bytes::new()).await.map(drop)
    }
}

/// The folder for sockets of this login.
const RUN: &str =
    r#"if [ "$(id -u)" = 0 ]; then echo /run; else echo "${XDG_RUNTIME_DIR:-$HOME/.cache}"; fi"#;

fn with_files(command: &str, grip: &Grip, plan: &ImportPlan) -> Argv {
    let files = plan.disks.iter().flat_map(|disk| [disk.staging.clone(), disk.path.clone()]);
    import(command).args([grip.job.to_string(), order(grip), plan.name.to_string()]).args(files)
}
