//! Imports: making a planned VM, and taking it back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{Grip, Piece};
use drs_transport::Argv;

use super::disk::{DiskSink, Served, serve};
use super::{LibvirtDriver, script};
use crate::turn::order;
use crate::{ContentSink, DriverError, ImportPlan, PlannedDisk};

const IMPORT: &str = concat!(include_str!("../turn.sh"), include_str!("import.sh"));

/// A call of `import.sh`.
pub(super) fn import(command: &str) -> Argv {
    script(IMPORT, "drs-import").arg(command)
}

/// Whether a content of the point becomes a file; what is not kept has no path.
pub(super) fn is_kept(disk: &&PlannedDisk) -> bool {
    !disk.path.is_empty()
}

/// The command that fails when a staging disk is damaged.
pub(super) fn check_command(plan: &ImportPlan) -> Argv {
    let kept = plan.disks.iter().filter(is_kept);
    import("check").args(kept.map(|disk| disk.staging.as_str()))
}

impl LibvirtDriver {
    pub(super) async fn create(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let kept = plan.disks.iter().filter(is_kept);
        let disks = kept.flat_map(|it| [it.staging.clone(), it.size_bytes.to_string()]);
        let argv = import("create").args([grip.job.to_string(), order(grip)]).args(disks);
        self.change(grip, "qemu-img create", &argv, Bytes::new()).await.map(drop)
    }

    pub(super) async fn sink(&self, grip: &Grip, plan: &ImportPlan) -> Result<Sink, DriverError> {
        let run = self.ask(None, "id", &script(RUN, "drs-run")).await?.trim().to_owned();
        let (driver, grip, disks) = (self.clone(), grip.clone(), plan.disks.clone());
        Ok(Sink { driver, grip, run, disks, open: BTreeMap::new() })
    }

    async fn open_staging(
        &self,
        grip: &Grip,
        run: &str,
        disk: &PlannedDisk,
    ) -> Result<DiskSink, DriverError> {
        let served = Served {
            options: &["--cache=writeback", "--discard=unmap", "--detect-zeroes=unmap"],
            run,
            disk: &disk.name,
            format: &disk.format,
            file: &disk.staging,
        };
        let (server, stream) = serve(self, grip, &served).await?;
        DiskSink::open(stream, server, &grip.vm, &disk.name, disk.size_bytes).await
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
    let kept = plan.disks.iter().filter(is_kept);
    let files = kept.flat_map(|disk| [disk.staging.clone(), disk.path.clone()]);
    let names = [plan.made_as.to_string(), plan.name.to_string()];
    import(command).args([grip.job.to_string(), order(grip)]).args(names).args(files)
}

/// The staging disks of an import; each is opened with its first piece.
pub(super) struct Sink {
    driver: LibvirtDriver,
    grip: Grip,
    run: String,
    disks: Vec<PlannedDisk>,
    open: BTreeMap<usize, DiskSink>,
}

#[async_trait]
impl ContentSink for Sink {
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError> {
        let Some(disk) = self.disks.get(piece.content) else {
            return Err(DriverError::Invalid(format!(
                "there is no content {} in an import of {}",
                piece.content,
                self.disks.len()
            )));
        };
        if !is_kept(&disk) {
            return Ok(());
        }
        let sink = match self.open.entry(piece.content) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                place.insert(self.driver.open_staging(&self.grip, &self.run, disk).await?)
            }
        };
        sink.write(&piece.extent).await
    }

    async fn finish(self: Box<Self>) -> Result<(), DriverError> {
        for sink in self.open.into_values() {
            sink.finish().await?;
        }
        Ok(())
    }
}
