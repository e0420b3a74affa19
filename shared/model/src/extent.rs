//! A run of a disk's content on its way between a hypervisor and a vault.

use bytes::Bytes;

/// A run of a disk's content. What no extent covers is a hole and reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the disk, in bytes.
    pub offset: u64,
    /// The bytes, at most [`Extent::BYTES_MAX`].
    pub data: Bytes,
}

impl Extent {
    /// Largest extent that is passed at once: 1 MiB.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// The first byte behind it; `u64::MAX` when there can be none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.data.len() as u64)
    }
}

/// An extent and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which content, by its index in [`VmSpec::contents`](crate::VmSpec::contents) (in a restore: in
    /// the point's `disks`, which stand in the same order).
    pub content: usize,
    /// The bytes and their place in it.
    pub extent: Extent,
}
