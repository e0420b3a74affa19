//! The disk stream: one disk's content as one sparse, compressed, self-checking file.
//!
//! Its bytes are documented with the crate. Runs of zeros that fill a block of [`GRAIN_BYTES`]
//! aligned in the disk (or the part of it that an extent covers) become holes; shorter ones are left
//! to the compression.

pub(crate) mod decode;
pub(crate) mod encode;

use drs_model::Extent;

/// First bytes of every disk stream.
const MAGIC: [u8; 8] = *b"DRSDISK\n";
/// The format that is written, and the newest that is read.
pub(crate) const VERSION: u32 = 1;
/// Largest raw length of a frame.
const FRAME_BYTES_MAX: usize = Extent::BYTES_MAX;
/// Stands where a frame has its offset and says that the trailer follows.
const TRAILER_MARK: u64 = u64::MAX;
/// Bytes of a frame before its payload.
const FRAME_HEAD_BYTES: usize = 16;
/// Bytes of a check.
const CHECK_BYTES: usize = 8;
/// Zeros are looked for in aligned blocks of this many bytes.
const GRAIN_BYTES: usize = 64 * 1024;

/// Why a stream could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The stream is not what was written.
    #[error("byte {at}: {what}")]
    Damaged {
        /// Offset in the file of the piece that is wrong.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The stream was written by a newer version.
    #[error("stream format {found}")]
    TooNew {
        /// Its format.
        found: u32,
    },
}

/// Admits runs of bytes that lie inside a disk, in rising order.
#[derive(Debug)]
pub(crate) struct RisingRuns {
    size_bytes: u64,
    end: u64,
}

impl RisingRuns {
    /// For a disk of `size_bytes`.
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self { size_bytes, end: 0 }
    }

    /// Takes the next run.
    ///
    /// # Errors
    /// Why it cannot be the next: too long, before the end of the one before, outside the disk.
    pub(crate) fn admit(&mut self, offset: u64, bytes: usize) -> Result<(), String> {
        if bytes > FRAME_BYTES_MAX {
            return Err(format!("{bytes} bytes at once, at most {FRAME_BYTES_MAX} are allowed"));
        }
        if offset < self.end {
            return Err(format!("offset {offset} lies before {}, where the last ended", self.end));
        }
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= self.size_bytes => {
                self.end = end;
                Ok(())
            }
            _ => Err(format!(
                "{bytes} bytes at offset {offset} reach beyond the disk's {} bytes",
                self.size_bytes
            )),
        }
    }
}

#[cfg(test)]
mod tests;
