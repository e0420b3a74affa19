//! Reads a disk stream. Nothing in the file is believed: every length is held against its limit
//! before a byte is allocated for it.

use std::io::{self, Read};

use bytes::Bytes;
use drs_model::Extent;
use zstd::bulk::Decompressor;

use super::{
    Bounds, CHECK_BYTES, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, MAGIC, SIZE_AT_END, StreamError,
    TRAILER_MARK, VERSION,
};

/// What a stream that was read to its end amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Length of the content, holes included.
    pub(crate) size_bytes: u64,
    /// Bytes that are not in a hole.
    pub(crate) data_bytes: u64,
    /// BLAKE3 of the stream.
    pub(crate) digest: blake3::Hash,
}

/// Reads one disk from `input`. Holds at most 2 MiB: a payload and its decompressed form.
pub(crate) struct Decoder<R> {
    input: R,
    hasher: blake3::Hasher,
    decompressor: Decompressor<'static>,
    payload: Vec<u8>,
    at: u64,
    version: u32,
    size_bytes: Option<u64>,
    bounds: Bounds,
    data_bytes: u64,
    frames: u64,
    end: Option<End>,
}

impl<R: Read> Decoder<R> {
    /// Reads the header.
    pub(crate) fn new(input: R) -> Result<Self, StreamError> {
        let mut decoder = Self {
            input,
            hasher: blake3::Hasher::new(),
            decompressor: Decompressor::new()?,
            payload: Vec::new(),
            at: 0,
            version: VERSION,
            size_bytes: None,
            bounds: Bounds::new(None),
            data_bytes: 0,
            frames: 0,
            end: None,
        };
        if decoder.take::<8>()? != MAGIC {
            return Err(damaged(0, "this is no disk stream"));
        }
        let version = u32::from_le_bytes(decoder.take()?);
        let frame_max = u32::from_le_bytes(decoder.take()?);
        let size_bytes = u64::from_le_bytes(decoder.take()?);
        decoder.check(0, "header")?;
        if version > VERSION {
            return Err(StreamError::TooNew { found: version });
        }
        if version == 0 || frame_max as usize != FRAME_BYTES_MAX {
            return Err(damaged(8, "the header makes no sense"));
        }
        decoder.version = version;
        decoder.size_bytes = (size_bytes != SIZE_AT_END).then_some(size_bytes);
        decoder.bounds = Bounds::new(decoder.size_bytes);
        Ok(decoder)
    }

    /// Size that the guest sees, in bytes; `None` when only the end tells.
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// Bytes of the file that were read.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.at
    }

    /// What the stream amounts to, once it was read to its end.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// The next frame; `None` after the last, when the trailer was checked and the file ends there.
    pub(crate) fn next(&mut self) -> Result<Option<Extent>, StreamError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let start = self.at;
        let offset = u64::from_le_bytes(self.take()?);
        if offset == TRAILER_MARK {
            self.trailer(start)?;
            return Ok(None);
        }
        self.frame(start, offset).map(Some)
    }

    fn frame(&mut self, start: u64, offset: u64) -> Result<Extent, StreamError> {
        let raw_bytes = u32::from_le_bytes(self.take()?) as usize;
        let stored_bytes = u32::from_le_bytes(self.take()?) as usize;
        if raw_bytes == 0 || stored_bytes == 0 || stored_bytes > raw_bytes {
            let what = format!("a frame of {raw_bytes} bytes stored in {stored_bytes}");
            return Err(damaged(start, what));
        }
        self.bounds.admit(offset, raw_bytes).map_err(|what| damaged(start, what))?;

        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(stored_bytes, 0);
        self.fill(&mut payload)?;
        self.check(start, "frame")?;
        let raw = if stored_bytes == raw_bytes {
            payload.clone()
        } else {
            self.unpack(start, &payload, raw_bytes)?
        };
        self.payload = payload;
        self.data_bytes += raw_bytes as u64;
        self.frames += 1;
        Ok(Extent { offset, data: Bytes::from(raw) })
    }

    fn unpack(
        &mut self,
        start: u64,
        payload: &[u8],
        raw_bytes: usize,
    ) -> Result<Vec<u8>, StreamError> {
        let at = start + FRAME_HEAD_BYTES as u64;
        let mut raw = Vec::with_capacity(raw_bytes);
        self.decompressor
            .decompress_to_buffer(payload, &mut raw)
            .map_err(|error| damaged(at, format!("the frame does not decompress: {error}")))?;
        if raw.len() != raw_bytes {
            let what = format!("the frame holds {} bytes instead of {raw_bytes}", raw.len());
            return Err(damaged(at, what));
        }
        Ok(raw)
    }

    fn trailer(&mut self, start: u64) -> Result<(), StreamError> {
        let data_bytes = u64::from_le_bytes(self.take()?);
        let frames = u64::from_le_bytes(self.take()?);
        let size_bytes = match self.version {
            1 => self.bounds.size_bytes(),
            _ => u64::from_le_bytes(self.take()?),
        };
        self.check(start, "trailer")?;
        if (data_bytes, frames) != (self.data_bytes, self.frames) {
            let what = format!(
                "the trailer counts {data_bytes} bytes in {frames} frames, there were {} in {}",
                self.data_bytes, self.frames
            );
            return Err(damaged(start, what));
        }
        if size_bytes < self.bounds.size_bytes()
            || self.size_bytes.is_some_and(|known| known != size_bytes)
        {
            let what = format!("the trailer tells {size_bytes} bytes, which cannot be");
            return Err(damaged(start, what));
        }
        let at = self.at;
        if self.input.by_ref().take(1).read_to_end(&mut Vec::with_capacity(1))? != 0 {
            return Err(damaged(at, "the file goes on behind its trailer"));
        }
        self.end = Some(End { size_bytes, data_bytes, digest: self.hasher.finalize() });
        Ok(())
    }

    /// Compares the running digest with the check that follows the piece which began at `start`.
    fn check(&mut self, start: u64, piece: &str) -> Result<(), StreamError> {
        let digest = self.hasher.finalize();
        if self.take::<CHECK_BYTES>()? != digest.as_bytes()[..CHECK_BYTES] {
            return Err(damaged(start, format!("the {piece} is not what was written")));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StreamError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StreamError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(self.at, "the file ends too early"),
            _ => StreamError::Io(error),
        })?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn damaged(at: u64, what: impl Into<String>) -> StreamError {
    StreamError::Damaged { at, what: what.into() }
}
