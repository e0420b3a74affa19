//! A digest of a disk's content that does not depend on the order in which the content comes.

use std::fmt;

use crate::extent::Slot;
use crate::format::*;

/// The digest of a disk's content. Two disks of one size with the same bytes have the same digest,
/// however their archives are ordered and whatever zeros they store; it is the only thing that
/// tells whether the data of an archive changed, since the format itself has no checksum of it.
///
/// It is the sum, modulo 2^256 and little-endian, over all clusters of 64 KiB that are not all
/// zeros, of the BLAKE3 of: the cluster's blocks of 4 KiB that are not all zeros (the last one as
/// far as the disk goes), then the cluster's number (u64), then a bit for each such block (u16),
/// both little-endian. A disk of zeros has the digest zero.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentDigest([u64; 4]);

impl ContentDigest {
    /// Adds a cluster of a disk of `size_bytes`, given by the blocks of its mask; gives the bytes
    /// of those that are not all zeros.
    pub(crate) fn add(&mut self, slot: Slot, stored: &[u8], size_bytes: u64) -> u64 {
        let mut hash = blake3::Hasher::new();
        let (mut mask, mut bytes) = (0_u16, 0);
        let mut run = 0..0;
        let places = (0..BLOCKS_PER_CLUSTER).filter(|block| slot.mask & (1 << block) != 0);
        for (index, place) in places.enumerate() {
            let start = index * BLOCK;
            let left = size_bytes.saturating_sub(slot.offset() + (place * BLOCK) as u64);
            let end = start + left.min(BLOCK as u64) as usize;
            let Some(block) = stored.get(start..end) else { continue };
            if is_zero(block) {
                continue;
            }
            mask |= 1 << place;
            bytes += BLOCK as u64;
            if run.end != start {
                hash.update(stored.get(run).unwrap_or_default());
                run = start..start;
            }
            run.end = end;
        }
        if mask == 0 {
            return 0;
        }
        hash.update(stored.get(run).unwrap_or_default());
        hash.update(&u64::from(slot.cluster).to_le_bytes());
        hash.update(&mask.to_le_bytes());
        let words = hash.finalize();
        let words = words.as_bytes().as_chunks::<8>().0.iter();
        self.sum(words.map(|word| u64::from_le_bytes(*word)));
        bytes
    }

    /// Adds the digest of other clusters of the same disk.
    pub(crate) fn merge(&mut self, others: Self) {
        self.sum(others.0.into_iter());
    }

    fn sum(&mut self, words: impl Iterator<Item = u64>) {
        let mut carry = false;
        for (sum, word) in self.0.iter_mut().zip(words) {
            (*sum, carry) = sum.carrying_add(word, carry);
        }
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({self})")
    }
}
