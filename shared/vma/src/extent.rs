//! Extents: a header that says which clusters follow, and their blocks.

use bytes::Bytes;

use crate::error::Damage;
use crate::format::*;

/// One cluster's place in an extent, or an empty place: device 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub device: u8,
    pub cluster: u32,
    /// Which blocks of the cluster follow, from the lowest bit; the others are zeros.
    pub mask: u16,
}

/// An extent: its slots and the blocks that they name, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    pub slots: Vec<Slot>,
    pub data: Bytes,
}

impl Extent {
    /// Each cluster with the blocks of its mask, in the order of the archive.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = (Slot, &[u8])> {
        let mut rest: &[u8] = &self.data;
        self.slots.iter().filter(|slot| slot.device != 0).map(move |slot| {
            let (data, after) = rest.split_at_checked(slot.data_bytes()).unwrap_or_default();
            rest = after;
            (*slot, data)
        })
    }
}

impl Slot {
    /// Where the cluster begins on the device.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.cluster) * CLUSTER as u64
    }

    /// Bytes of the cluster that follow.
    pub(crate) fn data_bytes(self) -> usize {
        self.mask.count_ones() as usize * BLOCK
    }
}

/// Reads the header of an extent into slots, those without a device (0) too, so that a slot's
/// number is its place. On damage gives the place within the header.
pub(crate) fn parse(
    bytes: &[u8; EXTENT_HEADER],
    uuid: &[u8; 16],
) -> Result<Vec<Slot>, (usize, Damage)> {
    if bytes_at(bytes, 0) != Some(EXTENT_MAGIC) {
        return Err((0, Damage::ExtentMagic));
    }
    if bytes_at(bytes, AT_EXTENT_MD5) != Some(md5_without(AT_EXTENT_MD5, bytes)) {
        return Err((AT_EXTENT_MD5, Damage::ExtentChecksum));
    }
    if bytes_at(bytes, AT_EXTENT_UUID) != Some(*uuid) {
        return Err((AT_EXTENT_UUID, Damage::ExtentUuid));
    }
    let mut slots = Vec::with_capacity(SLOTS);
    let entries = bytes.get(AT_SLOTS..).unwrap_or_default().as_chunks::<SLOT>().0;
    for (index, [high, low, _reserved, device, a, b, c, d]) in entries.iter().enumerate() {
        let mask = u16::from_be_bytes([*high, *low]);
        let cluster = u32::from_be_bytes([*a, *b, *c, *d]);
        match *device {
            0 if mask != 0 || cluster != 0 => {
                return Err((AT_SLOTS + index * SLOT, Damage::EmptySlot(cluster)));
            }
            device => slots.push(Slot { device, cluster, mask }),
        }
    }
    let stated = u16_at(bytes, AT_BLOCK_COUNT).unwrap_or_default();
    let counted = slots.iter().map(|slot| slot.mask.count_ones()).sum();
    if u32::from(stated) != counted {
        return Err((AT_BLOCK_COUNT, Damage::BlockCount { stated, counted }));
    }
    Ok(slots)
}

/// Writes the header of an extent over the first bytes of `extent`.
pub(crate) fn build(extent: &mut [u8], uuid: &[u8; 16], slots: &[Slot]) {
    let Some(bytes) = extent.first_chunk_mut::<EXTENT_HEADER>() else { return };
    *bytes = [0; EXTENT_HEADER];
    let blocks: u32 = slots.iter().map(|slot| slot.mask.count_ones()).sum();
    put(bytes, 0, &EXTENT_MAGIC);
    put(bytes, AT_BLOCK_COUNT, &(blocks as u16).to_be_bytes());
    put(bytes, AT_EXTENT_UUID, uuid);
    for (index, slot) in slots.iter().enumerate() {
        let entry = AT_SLOTS + index * SLOT;
        put(bytes, entry, &slot.mask.to_be_bytes());
        put(bytes, entry + 3, &[slot.device]);
        put(bytes, entry + 4, &slot.cluster.to_be_bytes());
    }
    let md5 = md5_without(AT_EXTENT_MD5, bytes);
    put(bytes, AT_EXTENT_MD5, &md5);
}
