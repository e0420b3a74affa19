//! What stands on the disks of a simulated VM: pseudo-random bytes that follow from the seed, the
//! VM, the disk and the generation, so that a copy can be compared byte for byte.
//!
//! Each MiB of a disk begins with its data and ends with a hole. Data is made of 64 KiB blocks; in
//! every generation the guest writes one block, in turn, and the first one, which holds a marker.

use std::ops::Range;

use bytes::BytesMut;
use drs_model::{Extent, VmName};

const BLOCK: usize = 64 * 1024;
const PAGE: usize = 4096;
const MIB: u64 = 1024 * 1024;
const BLOCKS_PER_MIB: u64 = MIB / BLOCK as u64;

/// A disk's content at one generation.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) seed: u64,
    pub(super) vm: VmName,
    /// Number of the disk, from 0.
    pub(super) disk: usize,
    pub(super) disk_mib: u64,
    pub(super) data_percent: u64,
    pub(super) generation: u64,
}

impl Content {
    fn blocks_per_mib(&self) -> u64 {
        (BLOCKS_PER_MIB * self.data_percent).div_ceil(100)
    }

    /// The data of the MiB of that number, `None` behind the last one that has data.
    pub(super) fn extent(&self, mib: u64) -> Option<Extent> {
        (mib < self.disk_mib && self.data_percent > 0).then(|| self.filled(mib))
    }

    fn filled(&self, mib: u64) -> Extent {
        let per_mib = self.blocks_per_mib();
        let mut data = BytesMut::with_capacity(per_mib as usize * BLOCK);
        for block in mib * per_mib..(mib + 1) * per_mib {
            self.append_block(block, &mut data);
        }
        Extent { offset: mib * MIB, data: data.freeze() }
    }

    fn append_block(&self, block: u64, data: &mut BytesMut) {
        let version = self.version(block);
        let mut state =
            hash([self.seed, hash_text(self.vm.as_str()), self.disk as u64, block, version]);
        let start = data.len();
        for _ in 0..PAGE / 8 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            data.extend_from_slice(&mix(state).to_le_bytes());
        }
        if block == 0 {
            let text = format!("drs-simulated {} generation {version}\n", self.vm);
            data[start..start + text.len()].copy_from_slice(text.as_bytes());
        }
        for page in 1..BLOCK / PAGE {
            repeat_page(data, start..start + PAGE, page as u64);
        }
    }

    /// The last generation in which a block was written.
    fn version(&self, block: u64) -> u64 {
        let blocks = self.disk_mib * self.blocks_per_mib();
        match block {
            0 => self.generation,
            _ if self.generation < block => 0,
            _ => self.generation - (self.generation - block) % blocks,
        }
    }
}

/// Repeats a page at the end, made different by its number.
fn repeat_page(data: &mut BytesMut, page: Range<usize>, number: u64) {
    let start = data.len();
    data.resize(start + page.len(), 0);
    data.copy_within(page, start);
    data[start..start + 8].copy_from_slice(&number.to_le_bytes());
}

/// The marker that begins a disk's content: the line up to the first line break.
pub(super) fn marker(content: &[u8]) -> Option<String> {
    let line = content.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.starts_with("drs-simulated ").then(|| line.to_owned())
}

/// A number that looks random and follows from the parts.
pub(super) fn hash<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0, |state, part| mix(state ^ mix(part.wrapping_add(0x9e37_79b9))))
}

/// FNV-1a.
pub(super) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of SplitMix64.
fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
