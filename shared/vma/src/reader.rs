//! Reads an archive from its first byte to its last.

mod runs;

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use crate::clusters::{Clusters, Unfit};
use crate::error::{Damage, VmaError};
use crate::extent::{self, Extent, Slot};
use crate::format::*;
use crate::header::{self, Header};
use crate::totals::{Progress, Totals};
use runs::{Run, Runs};

/// How many extents may wait for another thread: enough that neither side stops when the system
/// lets the other one pause.
pub(crate) const EXTENTS_AHEAD: usize = 4;
/// How many buffers are kept: one that is filled, those under way, one that the caller works on.
const BUFFERS: usize = EXTENTS_AHEAD + 2;
/// The longest data part of an extent.
const EXTENT_DATA_MAX: usize = SLOTS * CLUSTER;

/// Up to this many bytes an extent gets memory of its own, so that whoever keeps pieces of extents
/// that hold little keeps little.
const SMALL: usize = 256 << 10;

/// A piece of a disk that is not a hole. Data that no piece covers reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The id of the device it belongs to.
    pub device: u8,
    /// Where it begins on the device, in bytes; a multiple of 4096.
    pub offset: u64,
    /// The bytes: at most 1 MiB, never beyond the device's size. It keeps the memory of its
    /// whole extent (up to 3.7 MiB): a caller that gathers pieces should copy what it keeps.
    pub data: Bytes,
}

/// A reader of one archive. Memory: the header, one or two extents (six while they are handed to
/// another thread), and at most 20 MiB for what is
/// known of the clusters (some kilobytes per terabyte for archives in order).
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    clusters: Clusters,
    at: u64,
    totals: Totals,
    /// The extent whose pieces are being handed out.
    runs: Runs,
    extent: Extent,
    /// Buffers of [`EXTENT_DATA_MAX`], used again once nobody else holds a piece of them.
    buffers: VecDeque<Bytes>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Complete,
    Failed,
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
            runs: Runs::default(),
            extent: Extent::default(),
            buffers: VecDeque::with_capacity(BUFFERS),
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

    /// How far the reading is.
    pub fn progress(&self) -> Progress {
        self.totals.progress(self.at, &self.clusters)
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
                let data = self.extent.data.slice(run.data);
                return Ok(Some(Piece { device: run.device, offset: run.offset, data }));
            }
            self.extent = Extent::default();
            let Some(extent) = self.next_extent()? else { return Ok(None) };
            self.extent = extent;
            self.runs.fill(&self.extent.slots, &self.clusters);
        }
    }

    /// All pieces of the next extent: what may be held together without holding more memory.
    pub(crate) fn next_pieces(&mut self) -> Result<Option<Vec<Piece>>, VmaError> {
        let Some(Extent { slots, data }) = self.next_extent()? else { return Ok(None) };
        self.runs.fill(&slots, &self.clusters);
        let runs = std::iter::from_fn(|| self.runs.next());
        let piece =
            |run: Run| Piece { device: run.device, offset: run.offset, data: data.slice(run.data) };
        Ok(Some(runs.map(piece).collect()))
    }

    /// Reads and checks the next extent; none at the end of an archive that is complete.
    pub(crate) fn next_extent(&mut self) -> Result<Option<Extent>, VmaError> {
        match self.state {
            State::Reading => {}
            State::Complete => return Ok(None),
            State::Failed => {
                let source = io::Error::other("it failed before");
                return Err(VmaError::Read { at: self.at, source });
            }
        }
        let read = self.read_extent();
        self.state = match read {
            Ok(Some(_)) => State::Reading,
            Ok(None) => State::Complete,
            Err(_) => State::Failed,
        };
        read
    }

    fn read_extent(&mut self) -> Result<Option<Extent>, VmaError> {
        let mut head = [0; EXTENT_HEADER];
        let start = self.at;
        match self.fill(&mut head)? {
            0 => return self.check_complete().map(|()| None),
            EXTENT_HEADER => {}
            got => return Err(truncated(start, "the header of an extent", got, EXTENT_HEADER)),
        }
        let damaged = |(at, damage)| VmaError::Damaged { at: start + at as u64, damage };
        let slots = extent::parse(&head, &self.header.uuid).map_err(damaged)?;
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.device != 0) {
            let at = start + (AT_SLOTS + index * SLOT) as u64;
            take(&mut self.clusters, *slot).map_err(|unfit| at_slot(at, *slot, unfit))?;
            self.totals.clusters += 1;
        }
        self.totals.extents += 1;
        let data = self.read_data(slots.iter().copied().map(Slot::data_bytes).sum())?;
        Ok(Some(Extent { slots, data }))
    }

    fn read_data(&mut self, wanted: usize) -> Result<Bytes, VmaError> {
        let start = self.at;
        let mut buffer = self.buffer(wanted);
        let got = match buffer.get_mut(..wanted) {
            Some(part) => self.fill(part)?,
            None => 0,
        };
        if got < wanted {
            return Err(truncated(start, "the data of an extent", got, wanted));
        }
        self.totals.data_bytes += wanted as u64;
        let buffer = buffer.freeze();
        let data = buffer.slice(..wanted);
        if buffer.len() == EXTENT_DATA_MAX && self.buffers.len() < BUFFERS {
            self.buffers.push_back(buffer);
        }
        Ok(data)
    }

    /// A buffer for so many bytes: a small one, or one of the full length, if possible one that was
    /// used before.
    fn buffer(&mut self, wanted: usize) -> BytesMut {
        if wanted <= SMALL {
            return BytesMut::zeroed(wanted);
        }
        for _ in 0..self.buffers.len() {
            match self.buffers.pop_front().unwrap_or_default().try_into_mut() {
                Ok(buffer) => return buffer,
                Err(shared) => self.buffers.push_back(shared),
            }
        }
        BytesMut::zeroed(EXTENT_DATA_MAX)
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
    let within = size.saturating_sub(slot.offset());
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
