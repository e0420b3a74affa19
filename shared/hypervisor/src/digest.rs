//! A digest of a content that depends neither on how it is cut into extents nor on their order.

use std::hash::{DefaultHasher, Hasher};

use drs_model::Extent;

/// Content is compared in blocks of this size; a block of zeros counts as a hole.
const BLOCK: usize = 64 * 1024;

/// Digests the extents of one pass over a content. Equal content gives equal digests, however it was
/// cut, whatever order it came in, and whether zeros were delivered or left out. As the port demands,
/// extents that touch the same aligned 64 KiB follow each other.
///
/// It tells contents apart in tests and demonstrations of one run; it is no proof against forgery
/// and is not stored (the vault has its own digests).
#[derive(Debug, Default)]
pub struct ContentDigest {
    /// Sum of the digests of the blocks.
    sum: u64,
    /// Number of the block that is being collected, and its bytes.
    number: u64,
    block: Vec<u8>,
}

impl ContentDigest {
    /// Takes the next extent.
    pub fn update(&mut self, extent: &Extent) {
        let mut offset = extent.offset;
        let mut data: &[u8] = &extent.data;
        while !data.is_empty() {
            let (number, start) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            if number != self.number {
                self.close_block();
                self.number = number;
            }
            let (part, rest) = data.split_at(data.len().min(BLOCK - start));
            self.block.resize(BLOCK, 0);
            self.block[start..start + part.len()].copy_from_slice(part);
            offset += part.len() as u64;
            data = rest;
        }
    }

    /// The digest, 16 hexadecimal digits.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.close_block();
        format!("{:016x}", self.sum)
    }

    fn close_block(&mut self) {
        if self.block.iter().any(|&byte| byte != 0) {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.number);
            hasher.write(&self.block);
            self.sum = self.sum.wrapping_add(hasher.finish());
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
    fn the_order_does_not_change_it() {
        let (a, b) = (vec![1; 70_000], vec![2; 65_536]);
        let rising = digest(&[(0, a.clone()), (131_072, b.clone())]);
        assert_eq!(rising, digest(&[(131_072, b.clone()), (0, a.clone())]));
        // Two pieces of one block, the later one first.
        let halves = [(65_536, vec![1; 4464]), (0, vec![1; 65_536]), (131_072, b)];
        assert_eq!(rising, digest(&halves));
        assert_ne!(rising, digest(&[(0, a.clone()), (131_072, a)]));
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
