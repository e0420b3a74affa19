//! Writes a disk stream.

use std::io::{self, Write};
use std::ops::Range;

use drs_model::Extent;
use zstd::bulk::Compressor;

use super::{
    Bounds, CHECK_BYTES, FRAME_BYTES_MAX, GRAIN_BYTES, MAGIC, SIZE_AT_END, TRAILER_MARK, VERSION,
};

/// zstd's fastest regular level: on one core it keeps up with the network.
const LEVEL: i32 = 1;

static ZEROS: [u8; GRAIN_BYTES] = [0; GRAIN_BYTES];

/// What a finished stream amounts to.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Length of the content, holes included.
    pub(crate) size_bytes: u64,
    /// Bytes that are not in a hole.
    pub(crate) data_bytes: u64,
    /// Length of the stream.
    pub(crate) stored_bytes: u64,
    /// BLAKE3 of the stream.
    pub(crate) digest: blake3::Hash,
}

/// Writes one disk into `out`. Holds less than 3 MiB: the frame that is being gathered, its
/// compressed form and the compressor.
pub(crate) struct Encoder<W> {
    out: W,
    hasher: blake3::Hasher,
    bounds: Bounds,
    compressor: Compressor<'static>,
    gathered: Vec<u8>,
    gathered_at: u64,
    packed: Vec<u8>,
    data_bytes: u64,
    stored_bytes: u64,
    frames: u64,
}

impl<W: Write> Encoder<W> {
    /// Writes the header of a disk of `size_bytes`, or of a content whose end tells its length.
    pub(crate) fn new(out: W, size_bytes: Option<u64>) -> io::Result<Self> {
        let mut encoder = Self {
            out,
            hasher: blake3::Hasher::new(),
            bounds: Bounds::new(size_bytes),
            compressor: Compressor::new(LEVEL)?,
            gathered: Vec::with_capacity(FRAME_BYTES_MAX),
            gathered_at: 0,
            packed: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES_MAX)),
            data_bytes: 0,
            stored_bytes: 0,
            frames: 0,
        };
        encoder.put(&MAGIC)?;
        encoder.put(&VERSION.to_le_bytes())?;
        encoder.put(&(FRAME_BYTES_MAX as u32).to_le_bytes())?;
        encoder.put(&size_bytes.unwrap_or(SIZE_AT_END).to_le_bytes())?;
        encoder.put_check()?;
        Ok(encoder)
    }

    /// Adds an extent.
    ///
    /// # Errors
    /// `InvalidInput` when it does not lie inside the disk, or what `out` failed with.
    pub(crate) fn write(&mut self, extent: &Extent) -> io::Result<()> {
        self.bounds
            .admit(extent.offset, extent.data.len())
            .map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
        for run in data_runs(extent.offset, &extent.data) {
            let offset = extent.offset + run.start as u64;
            self.gather(offset, &extent.data[run])?;
        }
        Ok(())
    }

    /// Ends the stream and gives back what it was written into, flushed.
    pub(crate) fn finish(mut self) -> io::Result<(W, Totals)> {
        self.flush_gathered()?;
        self.put(&TRAILER_MARK.to_le_bytes())?;
        self.put(&self.data_bytes.to_le_bytes())?;
        self.put(&self.frames.to_le_bytes())?;
        self.put(&self.bounds.size_bytes().to_le_bytes())?;
        self.put_check()?;
        self.out.flush()?;
        let totals = Totals {
            size_bytes: self.bounds.size_bytes(),
            data_bytes: self.data_bytes,
            stored_bytes: self.stored_bytes,
            digest: self.hasher.finalize(),
        };
        Ok((self.out, totals))
    }

    /// Joins runs that touch each other, so that small extents compress as well as large ones.
    fn gather(&mut self, offset: u64, run: &[u8]) -> io::Result<()> {
        let gathered_end = self.gathered_at + self.gathered.len() as u64;
        if offset != gathered_end || self.gathered.len() + run.len() > FRAME_BYTES_MAX {
            self.flush_gathered()?;
        }
        if run.len() == FRAME_BYTES_MAX {
            return self.frame(offset, run);
        }
        if self.gathered.is_empty() {
            self.gathered_at = offset;
        }
        self.gathered.extend_from_slice(run);
        Ok(())
    }

    fn flush_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        self.frame(self.gathered_at, &gathered)?;
        gathered.clear();
        self.gathered = gathered;
        Ok(())
    }

    fn frame(&mut self, offset: u64, raw: &[u8]) -> io::Result<()> {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        self.compressor.compress_to_buffer(raw, &mut packed)?;
        let payload = if packed.len() < raw.len() { packed.as_slice() } else { raw };
        self.put(&offset.to_le_bytes())?;
        self.put(&(raw.len() as u32).to_le_bytes())?;
        self.put(&(payload.len() as u32).to_le_bytes())?;
        self.put(payload)?;
        self.put_check()?;
        self.packed = packed;
        self.data_bytes += raw.len() as u64;
        self.frames += 1;
        Ok(())
    }

    fn put_check(&mut self) -> io::Result<()> {
        let digest = self.hasher.finalize();
        self.put(&digest.as_bytes()[..CHECK_BYTES])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.stored_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The parts of `data`, which belongs at `offset`, that are not blocks of zeros.
fn data_runs(offset: u64, data: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < data.len() && is_zero(&data[at..block_end(offset, at, data.len())]) {
            at = block_end(offset, at, data.len());
        }
        let start = at;
        while at < data.len() && !is_zero(&data[at..block_end(offset, at, data.len())]) {
            at = block_end(offset, at, data.len());
        }
        (start < at).then_some(start..at)
    })
}

/// Where the aligned block that holds byte `at` ends, in a run of `bytes` that belongs at `offset`.
fn block_end(offset: u64, at: usize, bytes: usize) -> usize {
    let into_block = ((offset + at as u64) % GRAIN_BYTES as u64) as usize;
    (at + GRAIN_BYTES - into_block).min(bytes)
}

/// Whether a block of at most [`GRAIN_BYTES`] is all zeros.
fn is_zero(block: &[u8]) -> bool {
    block == &ZEROS[..block.len()]
}
