//! Packs an archive as `vzdump --compress zstd` does.

use std::io::{self, Write};

/// The level of `zstd` when it is not told one.
const LEVEL: i32 = 3;

/// Packs with zstd what is written to it, with a checksum, as the program `zstd` does.
pub struct Packer<W: Write>(zstd::Encoder<'static, W>);

impl<W: Write> Packer<W> {
    /// Begins to pack into `output`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(output: W) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(output, LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self(encoder))
    }

    /// Ends the packed stream: without this it is incomplete.
    ///
    /// # Errors
    /// Writing fails.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> std::fmt::Debug for Packer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::Compression;

    #[test]
    fn what_is_packed_is_read_back() {
        let mut packer = Packer::new(Vec::new()).expect("a packer");
        packer.write_all(&[7; 100_000]).expect("packing");
        let packed = packer.finish().expect("the end");
        let mut unpacked = crate::compression::open(&packed[..]).expect("a packed stream");
        assert_eq!(unpacked.compression(), Compression::Zstd);
        let mut read = Vec::new();
        unpacked.read_to_end(&mut read).expect("unpacking");
        assert_eq!(read, [7; 100_000]);
    }
}
