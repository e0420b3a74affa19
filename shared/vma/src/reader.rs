//! Reads an archive from its first byte to its last.

mod runs;

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use crate::clusters::{Clusters, Unfit};
use crate::error::{Damage, VmaError};
use crate::extent::{self, Slot};
use crate::format::*;
use crate::header::{self, Header};
use runs::Runs;

/// The longest data part of an extent.
const EXTENT_DATA_MAX: usize = SLOTS * CLUSTER;

/// A piece of a disk that is not a hole. Data that no piece covers reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The id of the device it belongs to.
    pub device: u8,
    /// Where it begins on the device, in bytes; a multiple of 4096.
    pub offset: u64,
    /// The bytes: at most 1 MiB, never beyond the device's size. It shares the memory of its
    /// extent (up to 4 MiB), which is used again once all its pieces are dropped.
    pub data: Bytes,
}

/// What was read or written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Extents.
    pub extents: u64,
    /// Clusters of 64 KiB, those of zeros included.
    pub clusters: u64,
    /// Bytes of blocks stored, in whole blocks of 4096.
    pub data_bytes: u64,
}

/// A reader of one archive. Memory: the header, one or two extents, and at most 28 MiB for what is
/// known of the clusters (some kilobytes per terabyte for archives in order).
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    clusters: Clusters,
    at: u64,
    totals: Totals,
    slots: Vec<Slot>,
    runs: Runs,
    /// The data of the latest extent in the front part of a buffer of the full length.
    extent: Bytes,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Complete,
    Failed,
}

/// A cluster as it stands in the archive, in the archive's order.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub slot: Slot,
    /// The blocks of the mask, in whole blocks.
    pub data: &'a [u8],
}

impl<R: Read> Reader<R> {
    /// Begins to read: the header is read, and checked as a whole.
    ///
    /// # Errors
    /// The input is no archive, its header is damaged or asks for too much, or reading fails.
    pub fn open(mut input: R) -> Result<Self, VmaError> {
        let (header, at) = header::read(&mut input)?;
        Ok(Self {
            input,
            clusters: Clusters::of(&header.devices),
            header,
            at,
            totals: Totals::default(),
            slots: Vec::with_capacity(SLOTS),
            runs: Runs::default(),
            extent: Bytes::new(),
            state: State::Reading,
        })
    }

    /// The archive's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the uncompressed archive read so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// What was read so far; checked, but not yet handed out in whole.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next piece that is not a hole, in the archive's order. None means: the input is at its
    /// end, and every cluster of every device was in it exactly once.
    ///
    /// # Errors
    /// The archive breaks the format at this place or is incomplete, or reading fails. Pieces that
    /// came before an error are not to be trusted: what is missing may belong between them.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot tell the end from an error"
    )]
    pub fn next(&mut self) -> Result<Option<Piece>, VmaError> {
        loop {
            if let Some(run) = self.runs.next() {
                let data = self.extent.slice(run.data);
                return Ok(Some(Piece { device: run.device, offset: run.offset, data }));
            }
            if !self.read_extent()? {
                return Ok(None);
            }
            self.runs.fill(&self.slots, &self.clusters);
        }
    }

    /// Hands the clusters of the next extent to `each`; false at the end, as with [`Self::next`].
    pub(crate) fn next_clusters(
        &mut self,
        mut each: impl FnMut(Cluster<'_>),
    ) -> Result<bool, VmaError> {
        if !self.read_extent()? {
            return Ok(false);
        }
        let mut rest: &[u8] = &self.extent;
        for slot in &self.slots {
            let (data, after) = rest.split_at_checked(slot.data_bytes()).unwrap_or_default();
            each(Cluster { slot: *slot, data });
            rest = after;
        }
        Ok(true)
    }

    /// Reads and checks the next extent; false at the end of an archive that is complete.
    fn read_extent(&mut self) -> Result<bool, VmaError> {
        match self.state {
            State::Reading => {}
            State::Complete => return Ok(false),
            State::Failed => {
                let source = io::Error::other("it failed before");
                return Err(VmaError::Read { at: self.at, source });
            }
        }
        let more = self.read_head().and_then(|more| {
            if more { self.read_data() } else { self.check_complete() }.map(|()| more)
        });
        self.state = match more {
            Ok(true) => State::Reading,
            Ok(false) => State::Complete,
            Err(_) => State::Failed,
        };
        more
    }

    /// Reads the header of an extent into the slots; false if there is no more extent.
    fn read_head(&mut self) -> Result<bool, VmaError> {
        let mut head = [0; EXTENT_HEADER];
        let start = self.at;
        match self.fill(&mut head)? {
            0 => return Ok(false),
            EXTENT_HEADER => {}
            got => return Err(truncated(start, "the header of an extent", got, EXTENT_HEADER)),
        }
        let damaged = |(at, damage)| VmaError::Damaged { at: start + at as u64, damage };
        extent::parse(&head, &self.header.uuid, &mut self.slots).map_err(damaged)?;
        for (index, entry) in self.slots.iter().enumerate() {
            let at = start + (AT_SLOTS + index * SLOT) as u64;
            take(&mut self.clusters, *entry).map_err(|unfit| at_slot(at, *entry, unfit))?;
        }
        self.totals.extents += 1;
        self.totals.clusters += self.slots.len() as u64;
        Ok(true)
    }

    fn read_data(&mut self) -> Result<(), VmaError> {
        let wanted = self.slots.iter().map(|slot| slot.data_bytes()).sum();
        let start = self.at;
        let mut buffer = match std::mem::take(&mut self.extent).try_into_mut() {
            Ok(buffer) if buffer.len() == EXTENT_DATA_MAX => buffer,
            _ => BytesMut::zeroed(EXTENT_DATA_MAX),
        };
        let got = match buffer.get_mut(..wanted) {
            Some(part) => self.fill(part)?,
            None => 0,
        };
        if got < wanted {
            return Err(truncated(start, "the data of an extent", got, wanted));
        }
        self.extent = buffer.freeze();
        self.totals.data_bytes += wanted as u64;
        Ok(())
    }

    /// Reads until `buffer` is full or the input ends; gives the bytes that came.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, VmaError> {
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(more) => {
                    got += more;
                    self.at += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(VmaError::Read { at: self.at, source }),
            }
        }
        Ok(got)
    }

    fn check_complete(&self) -> Result<(), VmaError> {
        let damage = match self.clusters.gap() {
            _ if self.totals.extents == 0 => Damage::NoExtent,
            None => return Ok(()),
            Some(gap) => {
                let device = self.header.devices.iter().find(|device| device.id == gap.device);
                let name = device.map(|device| device.name.clone()).unwrap_or_default();
                let (first, count, clusters) = (gap.first, gap.count, gap.clusters);
                Damage::Missing { name, first, count, clusters }
            }
        };
        Err(VmaError::Damaged { at: self.at, damage })
    }
}

fn truncated(start: u64, part: &'static str, got: usize, wanted: usize) -> VmaError {
    let (got, wanted) = (got as u64, wanted as u64);
    VmaError::Damaged { at: start + got, damage: Damage::Truncated { part, got, wanted } }
}

/// Takes note of a cluster; its blocks must begin within the device.
fn take(clusters: &mut Clusters, slot: Slot) -> Result<(), Option<Unfit>> {
    clusters.take(slot.device, u64::from(slot.cluster))?;
    let size = clusters.size_bytes(slot.device).unwrap_or_default();
    let within = size.saturating_sub(u64::from(slot.cluster) * CLUSTER as u64);
    let blocks = within.div_ceil(BLOCK as u64).min(BLOCKS_PER_CLUSTER as u64);
    // The last block that the mask names must be one of them.
    if u64::from(u16::BITS - slot.mask.leading_zeros()) > blocks { Err(None) } else { Ok(()) }
}

fn at_slot(at: u64, slot: Slot, unfit: Option<Unfit>) -> VmaError {
    let Slot { device, cluster, .. } = slot;
    let damage = match unfit {
        None => Damage::BlockBeyondEnd { device, cluster },
        Some(Unfit::Device) => Damage::UnknownDevice(device),
        Some(Unfit::Twice) => Damage::ClusterTwice { device, cluster },
        Some(Unfit::BeyondEnd { clusters }) => {
            Damage::ClusterBeyondEnd { device, cluster, clusters }
        }
        Some(Unfit::Limit(limit)) => return VmaError::Limit { at, limit },
    };
    VmaError::Damaged { at, damage }
}
