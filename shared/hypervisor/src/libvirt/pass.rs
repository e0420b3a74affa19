//! One pass over the disks of an export.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{Disk, Grip, Piece, VmRef};
use drs_transport::{Argv, Remote};

use super::disk::{DiskPass, Served, serve};
use super::export::Handle;
use super::{LibvirtDriver, script};
use crate::{ContentSource, DriverError, Export};

const STILL: &str = include_str!("still.sh");

/// Tells whether a VM stayed off and a disk of it unchanged.
pub(super) struct Stillness {
    remote: Arc<dyn Remote>,
    argv: Argv,
    stamp: String,
}

impl Stillness {
    /// Fails when the VM was started or the disk was written.
    pub(super) async fn check(&self, vm: &VmRef) -> Result<(), DriverError> {
        let now = self.remote.exec(&self.argv, Bytes::new()).await?;
        match now.ok() && now.text() == self.stamp {
            true => Ok(()),
            false => Err(DriverError::Busy {
                vm: vm.clone(),
                reason:
                    "it was off and was started, or its disks were written, while they were read"
                        .into(),
            }),
        }
    }
}

/// The command whose output stays the same while the VM is off and the file is not written.
pub(super) fn still(uuid: &str, file: &str) -> Argv {
    script(STILL, "drs-still").args([uuid, file])
}

impl LibvirtDriver {
    /// Opens the disks of an export, one after the other.
    pub(super) async fn pass(&self, grip: &Grip, export: &Export) -> Result<Pass, DriverError> {
        let disks = export.description.spec.disks.iter().filter(|disk| disk.protected);
        let mut pass = Pass {
            driver: self.clone(),
            grip: grip.clone(),
            handle: self.unpacked(export)?,
            waiting: disks.cloned().enumerate().collect(),
            current: None,
            finished_bytes: 0,
            position: 0,
        };
        pass.open_next().await?;
        Ok(pass)
    }

    async fn open_disk(
        &self,
        grip: &Grip,
        handle: &Handle,
        disk: &Disk,
    ) -> Result<DiskPass, DriverError> {
        match handle {
            Handle::Running { socket, .. } => {
                let stream = self.remote.connect_unix(socket).await?;
                DiskPass::open(stream, &grip.vm, disk, None).await
            }
            Handle::Off { uuid, run, stamps } => {
                let served = Served {
                    options: &["--read-only", "--persistent", "--shared=4"],
                    run,
                    disk: &disk.name,
                    format: &disk.format,
                    file: &disk.source,
                };
                let (server, stream) = serve(self, grip, &served).await?;
                let stillness = Stillness {
                    remote: Arc::clone(&self.remote),
                    argv: still(uuid, &disk.source),
                    stamp: stamps.get(&disk.name).cloned().unwrap_or_default(),
                };
                stillness.check(&grip.vm).await?;
                DiskPass::open(stream, &grip.vm, disk, Some((server, stillness))).await
            }
        }
    }
}

/// One pass over the covered disks, one after the other.
pub(super) struct Pass {
    driver: LibvirtDriver,
    grip: Grip,
    handle: Handle,
    /// Disks that were not opened yet, with their content index.
    waiting: VecDeque<(usize, Disk)>,
    /// The disk that is read, with its content index and its size in bytes.
    current: Option<(usize, u64, DiskPass)>,
    finished_bytes: u64,
    /// Where the pass stands in the current disk.
    position: u64,
}

impl Pass {
    /// Goes on to the next disk, if there is one.
    async fn open_next(&mut self) -> Result<(), DriverError> {
        if let Some((_, size_bytes, _)) = self.current.take() {
            self.finished_bytes += size_bytes;
            self.position = 0;
        }
        if let Some((content, disk)) = self.waiting.pop_front() {
            let opened = self.driver.open_disk(&self.grip, &self.handle, &disk).await?;
            self.current = Some((content, disk.size_bytes, opened));
        }
        Ok(())
    }
}

#[async_trait]
impl ContentSource for Pass {
    fn position_bytes(&self) -> u64 {
        self.finished_bytes + self.position
    }

    async fn next(&mut self) -> Result<Option<Piece>, DriverError> {
        while let Some((content, _, disk)) = &mut self.current {
            if let Some(extent) = disk.next().await? {
                self.position = extent.end();
                return Ok(Some(Piece { content: *content, extent }));
            }
            self.open_next().await?;
        }
        Ok(None)
    }
}
