//! A digest of a disk's content that does not depend on how the content is cut into extents.

use std::hash::{DefaultHasher, Hasher};

use drs_model::Extent;

/// Content is compared in blocks of this size; a block of zeros counts as a hole.
const BLOCK: u64 = 4096;

/// Digests the extents of one pass over a disk. Equal content gives equal digests, however it was
/// cut and whether zeros were delivered or left out.
///
/// It tells contents apart in tests and demonstrations of one run; it is no proof against forgery
/// and is not stored (the vault has its own digests).
#[derive(Debug, Default)]
pub struct ContentDigest {
    hasher: DefaultHasher,
    /// Number of the block that is being collected, and its bytes.
    number: u64,
    block: Vec<u8>,
}

impl ContentDigest {
    /// Takes the next extent; extents come in rising order.
    pub fn update(&mut self, extent: &Extent) {
        let mut offset = extent.offset;
        let mut data: &[u8] = &extent.data;
        while !data.is_empty() {
            let (number, start) = (offset / BLOCK, (offset % BLOCK) as usize);
            if number != self.number {
                self.close_block();
                self.number = number;
            }
            let (part, rest) = data.split_at(data.len().min(BLOCK as usize - start));
            self.block.resize(start, 0);
            self.block.extend_from_slice(part);
            offset += part.len() as u64;
            data = rest;
        }
    }

    /// The digest, 16 hexadecimal digits.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.close_block();
        format!("{:016x}", self.hasher.finish())
    }

    fn close_block(&mut self) {
        if self.block.iter().any(|&byte| byte != 0) {
            self.block.resize(BLOCK as usize, 0);
            self.hasher.write_u64(self.number);
            self.hasher.write(&self.block);
        }
        self.block.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn digest(extents: &[(u64, Vec<u8>)]) -> String {
        let mut digest = ContentDigest::default();
        for (offset, data) in extents {
            digest.update(&Extent { offset: *offset, data: Bytes::from(data.clone()) });
        }
        digest.finish()
    }

    #[test]
    fn neither_cuts_nor_delivered_zeros_change_it() {
        let whole = digest(&[(0, [vec![0; 8192], vec![7; 5000]].concat())]);
        assert_eq!(whole, digest(&[(8192, vec![7; 5000])]));
        assert_eq!(whole, digest(&[(8192, vec![7; 100]), (8292, vec![7; 4900])]));
        assert_eq!(whole, digest(&[(8192, vec![7; 5000]), (20_000, vec![0; 9])]));
        assert_ne!(whole, digest(&[(8192, vec![7; 5001])]));
        assert_ne!(whole, digest(&[(4096, vec![7; 5000])]));
    }
}
