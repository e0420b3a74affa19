//! Writes an archive as the original does: 58 clusters to an extent, in the order they come.

use std::io::Write;

use crate::clusters::{Clusters, Unfit};
use crate::error::{Misuse, VmaError};
use crate::extent::{self, Slot};
use crate::format::*;
use crate::header::{self, Header};
use crate::totals::{Progress, Totals};

/// A writer of one archive. Memory: one extent, and what is known of the clusters, as the reader.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    header: Header,
    clusters: Clusters,
    at: u64,
    totals: Totals,
    slots: Vec<Slot>,
    /// Room for the extent's header, then the data of the slots.
    extent: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive: checks the header as the reader would and writes it.
    ///
    /// # Errors
    /// The header cannot be an archive's (then nothing was written), or writing fails.
    pub fn new(mut output: W, header: &Header) -> Result<Self, VmaError> {
        let bytes = header::build(header)?;
        output.write_all(&bytes).map_err(|source| VmaError::Write { at: 0, source })?;
        let mut extent = Vec::with_capacity(EXTENT_HEADER + SLOTS_WRITTEN * CLUSTER);
        extent.resize(EXTENT_HEADER, 0);
        Ok(Self {
            output,
            clusters: Clusters::of(&header.devices),
            header: header.clone(),
            at: bytes.len() as u64,
            totals: Totals::default(),
            slots: Vec::with_capacity(SLOTS_WRITTEN),
            extent,
        })
    }

    /// Writes a piece of a device. It begins at a multiple of 64 KiB and ends at one or at the
    /// device's end; pieces come in any order. Blocks of zeros are found here and cost nothing.
    ///
    /// # Errors
    /// The piece has no place in the archive or was written before, or writing fails. The archive
    /// is of no use then.
    pub fn write(&mut self, device: u8, offset: u64, data: &[u8]) -> Result<(), VmaError> {
        let misused = |misuse| VmaError::Misused { device, offset, misuse };
        let size = self.clusters.size_bytes(device).ok_or_else(|| misused(Misuse::Device))?;
        let whole = |length: u64| length.is_multiple_of(CLUSTER as u64);
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= size);
        let aligned = |end: u64| whole(offset) && (whole(end) || end == size);
        if !end.is_some_and(aligned) {
            return Err(misused(Misuse::Alignment));
        }
        let first = offset / CLUSTER as u64;
        for (cluster, data) in (first..).zip(data.chunks(CLUSTER)) {
            self.cluster(device, cluster, data)?;
        }
        Ok(())
    }

    /// Ends the archive: clusters that were never written become clusters of zeros, and what is
    /// still held back is written and flushed.
    ///
    /// # Errors
    /// Writing fails; the archive is incomplete then.
    pub fn finish(mut self) -> Result<(W, Totals), VmaError> {
        let devices: Vec<u8> = self.header.devices.iter().map(|device| device.id).collect();
        for device in devices {
            let mut next = 0;
            while let Some(cluster) = self.clusters.missing_from(device, next) {
                self.cluster(device, cluster, &[])?;
                next = cluster + 1;
            }
        }
        if !self.slots.is_empty() || self.totals.extents == 0 {
            self.write_extent()?;
        }
        let at = self.at;
        self.output.flush().map_err(|source| VmaError::Write { at, source })?;
        Ok((self.output, self.totals))
    }

    /// Bytes of the archive written so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How far the writing is; clusters that will be made of zeros at the end do not count yet.
    pub fn progress(&self) -> Progress {
        self.totals.progress(self.at, &self.clusters)
    }

    fn cluster(&mut self, device: u8, cluster: u64, data: &[u8]) -> Result<(), VmaError> {
        let offset = cluster * CLUSTER as u64;
        let misused = |misuse| VmaError::Misused { device, offset, misuse };
        self.clusters.take(device, cluster).map_err(|unfit| match unfit {
            Unfit::Device => misused(Misuse::Device),
            Unfit::BeyondEnd { .. } => misused(Misuse::Alignment),
            Unfit::Twice => misused(Misuse::Twice),
            Unfit::Limit(limit) => VmaError::Limit { at: self.at, limit },
        })?;
        let cluster = u32::try_from(cluster).map_err(|_| misused(Misuse::Alignment))?;
        let mut mask = 0;
        for (index, block) in data.chunks(BLOCK).enumerate() {
            if !is_zero(block) {
                mask |= 1 << index;
                self.extent.extend_from_slice(block);
                self.extent.resize(self.extent.len() + BLOCK - block.len(), 0);
            }
        }
        self.slots.push(Slot { device, cluster, mask });
        if self.slots.len() == SLOTS_WRITTEN { self.write_extent() } else { Ok(()) }
    }

    fn write_extent(&mut self) -> Result<(), VmaError> {
        extent::build(&mut self.extent, &self.header.uuid, &self.slots);
        let at = self.at;
        self.output.write_all(&self.extent).map_err(|source| VmaError::Write { at, source })?;
        self.at += self.extent.len() as u64;
        self.totals.extents += 1;
        self.totals.clusters += self.slots.len() as u64;
        self.totals.data_bytes += (self.extent.len() - EXTENT_HEADER) as u64;
        self.slots.clear();
        self.extent.truncate(EXTENT_HEADER);
        Ok(())
    }
}
