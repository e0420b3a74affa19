//! Sizes and places of the format; the tables in the crate's documentation explain them.

/// Unit of holes: data is stored or left out by blocks of this many bytes.
pub(crate) const BLOCK: usize = 4096;
/// Blocks of a cluster, one for each bit of a mask.
pub(crate) const BLOCKS_PER_CLUSTER: usize = 16;
/// Unit of order: every cluster of every device stands in the archive once, wherever it likes.
pub(crate) const CLUSTER: usize = BLOCK * BLOCKS_PER_CLUSTER;
/// Cluster numbers have 32 bits.
pub(crate) const DEVICE_SIZE_MAX: u64 = (CLUSTER as u64) << 32;

/// What the header holds before the blobs.
pub(crate) const HEADER_FIXED: usize = 12288;
/// The largest header that is read or written. The original writes at most half of it.
pub(crate) const HEADER_MAX: usize = 1 << 20;
/// Entries of each table of the header.
pub(crate) const TABLE: usize = 256;
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_MAGIC: [u8; 4] = *b"VMA\0";
pub(crate) const AT_VERSION: usize = 4;
pub(crate) const AT_UUID: usize = 8;
pub(crate) const AT_CREATED: usize = 24;
pub(crate) const AT_HEADER_MD5: usize = 32;
pub(crate) const AT_BLOBS: usize = 48;
pub(crate) const AT_BLOBS_SIZE: usize = 52;
pub(crate) const AT_HEADER_SIZE: usize = 56;
pub(crate) const AT_CONFIG_NAMES: usize = 2044;
pub(crate) const AT_CONFIG_DATA: usize = 3068;
pub(crate) const AT_DEVICES: usize = 4096;
pub(crate) const DEVICE_ENTRY: usize = 32;
/// Where the size stands in a device's entry.
pub(crate) const DEVICE_ENTRY_SIZE: usize = 8;

pub(crate) const EXTENT_HEADER: usize = 512;
pub(crate) const EXTENT_MAGIC: [u8; 4] = *b"VMAE";
pub(crate) const AT_BLOCK_COUNT: usize = 6;
pub(crate) const AT_EXTENT_UUID: usize = 8;
pub(crate) const AT_EXTENT_MD5: usize = 24;
pub(crate) const AT_SLOTS: usize = 40;
pub(crate) const SLOT: usize = 8;
/// Slots of an extent, each for one cluster.
pub(crate) const SLOTS: usize = 59;
/// How many of them the original's writer fills, and so does ours.
pub(crate) const SLOTS_WRITTEN: usize = 58;

/// Place of the MD5 in a header or in an extent's header; it is taken with this place zeroed.
pub(crate) const MD5: usize = 16;

/// The `N` bytes at `at`, if there are so many.
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The big-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_be_bytes)
}

/// The big-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

/// The big-endian number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_be_bytes)
}

/// Writes `field` at `at`; what does not fit is left out, which a test of every caller excludes.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// The MD5 of `bytes` with the 16 bytes at `at`, its own place, as zeros.
pub(crate) fn md5_without(at: usize, bytes: &[u8]) -> [u8; MD5] {
    use md5::Digest as _;
    let mut hash = md5::Md5::new();
    hash.update(bytes.get(..at).unwrap_or(bytes));
    hash.update([0; MD5]);
    hash.update(bytes.get(at + MD5..).unwrap_or_default());
    hash.finalize().into()
}

/// Whether `bytes`, at most a block, are all zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..bytes.len()) == Some(bytes)
}
