//! The copies of a simulated VM that the port hands out: all its disks, read or written.

use std::collections::VecDeque;

use async_trait::async_trait;
use drs_model::{Extent, Piece};

use super::content::Content;
use super::image::{ImageReader, ImageWriter};
use super::pace::Pace;
use crate::{ContentSink, ContentSource, DriverError};

/// One pass over a disk.
pub(super) enum DiskPass {
    /// Over generated content, and the number of the next MiB.
    Generated(Content, u64),
    /// Over what was imported.
    Imported(ImageReader),
}

impl DiskPass {
    /// The next run of data, `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Extent>, DriverError> {
        match self {
            Self::Generated(content, mib) => {
                let extent = content.extent(*mib);
                *mib += 1;
                Ok(extent)
            }
            Self::Imported(image) => image.next(),
        }
    }
}

/// One pass over all disks, one after the other.
pub(super) struct Source {
    /// Size in bytes and pass of the disks that are not read to their end.
    disks: VecDeque<(u64, DiskPass)>,
    /// Content index of the first of them.
    content: usize,
    finished_bytes: u64,
    position: u64,
    total_bytes: u64,
    pace: Pace,
}

impl Source {
    pub(super) fn new(disks: VecDeque<(u64, DiskPass)>, pace: Pace) -> Self {
        let total_bytes = disks.iter().map(|(size_bytes, _)| size_bytes).sum();
        Self { disks, content: 0, finished_bytes: 0, position: 0, total_bytes, pace }
    }
}

#[async_trait]
impl ContentSource for Source {
    fn position_bytes(&self) -> u64 {
        self.finished_bytes + self.position
    }

    async fn next(&mut self) -> Result<Option<Piece>, DriverError> {
        while let Some((size_bytes, disk)) = self.disks.front_mut() {
            if let Some(extent) = disk.next()? {
                self.pace.reach(self.finished_bytes + extent.offset, self.total_bytes).await?;
                self.position = extent.end();
                return Ok(Some(Piece { content: self.content, extent }));
            }
            self.finished_bytes += *size_bytes;
            self.position = 0;
            self.content += 1;
            self.disks.pop_front();
        }
        self.pace.reach(self.total_bytes, self.total_bytes).await?;
        Ok(None)
    }
}

/// The disks of an import.
pub(super) struct Sink {
    /// Each with the end of what was written.
    disks: Vec<(ImageWriter, u64)>,
    total_bytes: u64,
    pace: Pace,
}

impl Sink {
    /// `total_bytes` is the size of all disks.
    pub(super) fn new(disks: Vec<ImageWriter>, total_bytes: u64, pace: Pace) -> Self {
        Self { disks: disks.into_iter().map(|disk| (disk, 0)).collect(), total_bytes, pace }
    }
}

#[async_trait]
impl ContentSink for Sink {
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError> {
        let written = self.disks.iter().map(|(_, end)| end).sum();
        let count = self.disks.len();
        let (disk, end) = self.disks.get_mut(piece.content).ok_or_else(|| {
            DriverError::Invalid(format!(
                "there is no content {} in an import of {count}",
                piece.content
            ))
        })?;
        disk.fits(&piece.extent)?;
        self.pace.reach(written, self.total_bytes).await?;
        disk.write(&piece.extent)?;
        *end = (*end).max(piece.extent.end());
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), DriverError> {
        self.pace.reach(self.total_bytes, self.total_bytes).await
    }
}
