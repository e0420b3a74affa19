//! Archives as they are written for `qmrestore` and `pct restore`: a VMA of a machine's disks, the tar
//! of a container.
//!
//! What comes in, in the vault's order, leaves as an archive through a task of its own, so that the
//! caller waits only when the host (or the disk) is slower than the vault.

mod clusters;
mod plain;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use drs_model::{Extent, Piece};
use drs_vma::{Header, VmaError};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use clusters::Clusters;
use plain::Plain;

/// Most pieces on their way to the archive; each has at most 1 MiB.
const PIECES_MAX: usize = 16;

/// What an archive will hold.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// A VMA.
    Machine {
        /// Its header: configuration and devices.
        header: Header,
        /// The id of the device of each content, in the order of the contents.
        devices: Vec<u8>,
    },
    /// A tar.
    Container {
        /// Its length in bytes; `None` when it becomes known only with its end.
        size_bytes: Option<u64>,
    },
}

/// Where an archive goes.
pub(super) trait Output: Write + Send + 'static {
    /// Makes what was written complete and durable. An output that is dropped without this must not
    /// be taken for a complete archive.
    fn complete(self) -> io::Result<()>;
}

/// Why an archive was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// Its output failed.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// A piece has no place in it.
    #[error("{0}")]
    Misplaced(String),
    /// It was given up before its end.
    #[error("the archive was given up before its end")]
    Abandoned,
}

impl From<VmaError> for FeedError {
    fn from(error: VmaError) -> Self {
        match error {
            VmaError::Write { source, .. } => Self::Output(source),
            other => Self::Misplaced(other.to_string()),
        }
    }
}

impl Layout {
    /// The length of each content, where it is known.
    fn sizes(&self) -> Vec<Option<u64>> {
        match self {
            Self::Machine { header, devices } => {
                let device = |id: &u8| header.devices.iter().find(|device| device.id == *id);
                devices.iter().map(|id| device(id).map(|device| device.size_bytes)).collect()
            }
            Self::Container { size_bytes } => vec![*size_bytes],
        }
    }
}

enum Order {
    Write(Piece),
    Complete,
}

/// An archive that is being written. Dropping it leaves an incomplete one.
pub(super) struct Feed {
    orders: mpsc::Sender<Order>,
    /// Length of each content, where it is known.
    sizes: Vec<Option<u64>>,
    /// Nobody, when its end was told.
    written: Option<JoinHandle<Result<(), FeedError>>>,
}

impl Feed {
    /// Begins an archive: its header is on its way to the output when this returns.
    pub(super) fn start(layout: Layout, output: impl Output) -> Self {
        let (orders, queue) = mpsc::channel(PIECES_MAX);
        let sizes = layout.sizes();
        let written = spawn_blocking(move || match layout {
            Layout::Machine { header, devices } => {
                drain(queue, Clusters::begin(output, &header, &devices)?)
            }
            Layout::Container { size_bytes } => drain(queue, Plain::begin(output, size_bytes)),
        });
        Self { orders, sizes, written: Some(written) }
    }

    /// Writes a piece; several may be on their way when it returns. After an error the archive is of
    /// no use.
    pub(super) async fn write(&mut self, piece: Piece) -> Result<(), FeedError> {
        self.demand_place(&piece)?;
        match self.orders.send(Order::Write(piece)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.end().await.err().unwrap_or(FeedError::Abandoned)),
        }
    }

    /// Refuses a piece that is too long or lies behind the end of its content.
    fn demand_place(&self, piece: &Piece) -> Result<(), FeedError> {
        let (offset, length) = (piece.extent.offset, piece.extent.data.len());
        let end = offset.checked_add(length as u64).filter(|_| length <= Extent::BYTES_MAX);
        let fits = |size: &Option<u64>| end.is_some_and(|end| size.is_none_or(|size| end <= size));
        match self.sizes.get(piece.content).is_some_and(fits) {
            true => Ok(()),
            false => Err(FeedError::Misplaced(format!(
                "{length} bytes at {offset} of content {} have no place in the archive",
                piece.content
            ))),
        }
    }

    /// Waits until the archive is complete.
    pub(super) async fn finish(mut self) -> Result<(), FeedError> {
        // When nobody takes the order the task has failed, and tells why.
        drop(self.orders.send(Order::Complete).await);
        self.end().await
    }

    async fn end(&mut self) -> Result<(), FeedError> {
        match self.written.take() {
            Some(written) => written.await.unwrap_or(Err(FeedError::Abandoned)),
            None => Err(FeedError::Abandoned),
        }
    }
}

/// An archive that takes pieces.
trait Archive {
    fn write(&mut self, piece: &Piece) -> Result<(), FeedError>;
    fn complete(self) -> Result<(), FeedError>;
}

fn drain(mut queue: mpsc::Receiver<Order>, mut archive: impl Archive) -> Result<(), FeedError> {
    while let Some(order) = queue.blocking_recv() {
        match order {
            Order::Write(piece) => archive.write(&piece)?,
            Order::Complete => return archive.complete(),
        }
    }
    Err(FeedError::Abandoned)
}
