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
/// The format that is written, and the newest that is read. Version 1 had no size in its trailer.
pub(crate) const VERSION: u32 = 2;
/// Stands where the header has the size and says that the trailer tells it.
const SIZE_AT_END: u64 = u64::MAX;
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

/// Admits runs of bytes that lie inside a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    size_bytes: Option<u64>,
    end: u64,
}

impl Bounds {
    /// For a disk of so many bytes, or for a content whose end tells its length.
    pub(crate) fn new(size_bytes: Option<u64>) -> Self {
        Self { size_bytes, end: 0 }
    }

    /// How long the content is, as far as it is known: behind its last byte, all of it.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes.unwrap_or(self.end)
    }

    /// Takes a run.
    ///
    /// # Errors
    /// Why it does not belong there: too long, outside the disk.
    pub(crate) fn admit(&mut self, offset: u64, bytes: usize) -> Result<(), String> {
        if bytes > FRAME_BYTES_MAX {
            return Err(format!("{bytes} bytes at once, at most {FRAME_BYTES_MAX} are allowed"));
        }
        let size_max = self.size_bytes.unwrap_or(SIZE_AT_END - 1);
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= size_max => {
                self.end = self.end.max(end);
                Ok(())
            }
            _ => Err(format!(
                "{bytes} bytes at offset {offset} reach beyond the disk's {size_max} bytes"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
