//! Writing a disk: a bounded queue into a thread of its own, so that compression and hashing
//! overlap with the network and never stop the async runtime.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{DiskContent, Extent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::blocking;
use super::lock::PointLock;
use super::root::{Root, create, record_file, stream_file};
use crate::stream::Bounds;
use crate::stream::encode::Encoder;
use crate::{DiskWriter, VaultError};

/// Extents that wait for the thread: with the encoder's 3 MiB and the extents in hand on both
/// sides a writer holds at most 7 MiB.
const QUEUE_EXTENTS: usize = 2;
/// Gathers the small pieces of the stream; payloads pass it by.
const BUFFER_BYTES: usize = 64 * 1024;

enum Order {
    Write(Extent),
    Finish,
}

/// Where a disk is written.
struct Target {
    root: Arc<Root>,
    /// Nobody else begins this point while its disk is being written.
    _lock: Arc<PointLock>,
    folder: PathBuf,
    disk: String,
    size_bytes: Option<u64>,
}

/// A disk of a [`DirVault`](super::DirVault) that is being written.
pub(super) struct DirDiskWriter {
    orders: mpsc::Sender<Order>,
    bounds: Bounds,
    /// `None` once its error was told.
    thread: Option<JoinHandle<Result<Option<DiskContent>, VaultError>>>,
}

impl DirDiskWriter {
    /// Begins a disk in the folder of an unfinished point.
    pub(super) async fn begin(
        root: Arc<Root>,
        lock: Arc<PointLock>,
        disk: &str,
        size_bytes: Option<u64>,
    ) -> Result<Self, VaultError> {
        let folder = lock.folder().to_owned();
        let target = Target { root, _lock: lock, folder, disk: disk.to_owned(), size_bytes };
        let (target, encoder) = blocking(move || {
            let encoder = target.open()?;
            Ok((target, encoder))
        })
        .await?;
        let (orders, queue) = mpsc::channel(QUEUE_EXTENTS);
        let thread = tokio::task::spawn_blocking(move || target.run(encoder, queue));
        Ok(Self { orders, bounds: Bounds::new(size_bytes), thread: Some(thread) })
    }

    /// What the thread ended with.
    async fn outcome(&mut self) -> Result<Option<DiskContent>, VaultError> {
        match self.thread.take() {
            Some(thread) => thread
                .await
                .map_err(|error| VaultError::Misuse(format!("writing a disk: {error}")))?,
            None => Err(VaultError::Misuse("the disk's writer has failed already".into())),
        }
    }
}

#[async_trait]
impl DiskWriter for DirDiskWriter {
    async fn write(&mut self, extent: Extent) -> Result<(), VaultError> {
        self.bounds.admit(extent.offset, extent.data.len()).map_err(VaultError::Misuse)?;
        if self.orders.send(Order::Write(extent)).await.is_ok() {
            return Ok(());
        }
        self.outcome().await.and(Err(gone()))
    }

    async fn finish(mut self: Box<Self>) -> Result<DiskContent, VaultError> {
        // A refused order means that the thread has failed; its outcome says of what.
        let accepted = self.orders.send(Order::Finish).await.is_ok();
        match self.outcome().await? {
            Some(content) if accepted => Ok(content),
            _ => Err(gone()),
        }
    }
}

fn gone() -> VaultError {
    VaultError::Misuse("the disk's writer ended without being told to".into())
}

impl Target {
    fn path(&self) -> Result<PathBuf, VaultError> {
        Ok(self.folder.join(stream_file(&self.disk)?))
    }

    /// Drops what an earlier writer left, its record durably first, and writes the header.
    fn open(&self) -> Result<Encoder<BufWriter<File>>, VaultError> {
        let path = self.path()?;
        self.root.remove_file(&self.folder.join(record_file(&self.disk)?))?;
        self.root.sync_folder(&self.folder)?;
        self.root.remove_file(&path)?;
        create(&path)
            .and_then(|file| {
                Encoder::new(BufWriter::with_capacity(BUFFER_BYTES, file), self.size_bytes)
            })
            .map_err(|error| self.root.failed(&path, error))
    }

    /// Writes what comes. `None` when the writer was dropped before its end.
    fn run(
        self,
        mut encoder: Encoder<BufWriter<File>>,
        mut queue: mpsc::Receiver<Order>,
    ) -> Result<Option<DiskContent>, VaultError> {
        let path = self.path()?;
        loop {
            match queue.blocking_recv() {
                Some(Order::Write(extent)) => {
                    encoder.write(&extent).map_err(|error| self.root.failed(&path, error))?;
                }
                Some(Order::Finish) => return self.finish(encoder, &path).map(Some),
                None => return Ok(None),
            }
        }
    }

    /// Makes the stream durable, then the record that it is finished.
    fn finish(
        &self,
        encoder: Encoder<BufWriter<File>>,
        path: &Path,
    ) -> Result<DiskContent, VaultError> {
        let (out, totals) = encoder.finish().map_err(|error| self.root.failed(path, error))?;
        out.get_ref().sync_all().map_err(|error| self.root.failed(path, error))?;
        let content = DiskContent {
            name: self.disk.clone(),
            size_bytes: totals.size_bytes,
            data_bytes: totals.data_bytes,
            stored_bytes: totals.stored_bytes,
            digest: totals.digest.to_hex().to_string(),
        };
        self.root.put(&self.folder.join(record_file(&self.disk)?), &content)?;
        Ok(content)
    }
}
