//! Which clusters there were: every one of every device exactly once, in bounded memory.

use std::collections::BTreeMap;

use crate::error::Limit;
use crate::format::CLUSTER;
use crate::header::Device;

/// Clusters that are remembered together: 2 GiB of a device, 4 KiB of memory.
const CHUNK: u64 = 1 << 15;
const WORDS: usize = (CHUNK / 64) as usize;
/// Chunks that may be complete in part at one time, over all devices: 16 MiB of memory. Archives
/// of idle machines have one for each disk; one of a busy machine has at most its whole size, and
/// this is enough for 8 TiB in perfect disorder.
const PARTIAL_MAX: usize = 4096;

/// What is known of every device's clusters.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    devices: BTreeMap<u8, DeviceClusters>,
    partial: usize,
}

/// Why a cluster is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Device,
    BeyondEnd { clusters: u64 },
    Twice,
    Limit(Limit),
}

/// A gap that is left at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub device: u8,
    pub first: u64,
    pub count: u64,
    pub clusters: u64,
}

#[derive(Debug)]
struct DeviceClusters {
    size_bytes: u64,
    clusters: u64,
    seen: u64,
    /// One bit for each chunk that is complete, as far as needed.
    full: Vec<u64>,
    partial: BTreeMap<u64, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    seen: u64,
    bits: Box<[u64; WORDS]>,
}

impl Clusters {
    pub(crate) fn of(devices: &[Device]) -> Self {
        let devices = devices.iter().map(|device| (device.id, DeviceClusters::of(device)));
        Self { devices: devices.collect(), partial: 0 }
    }

    /// Clusters that all devices together have.
    pub(crate) fn total(&self) -> u64 {
        self.devices.values().map(|device| device.clusters).sum()
    }

    /// The size of `device`, if the header has it.
    pub(crate) fn size_bytes(&self, device: u8) -> Option<u64> {
        self.devices.get(&device).map(|device| device.size_bytes)
    }

    /// Remembers a cluster.
    pub(crate) fn take(&mut self, device: u8, cluster: u64) -> Result<(), Unfit> {
        let device = self.devices.get_mut(&device).ok_or(Unfit::Device)?;
        if cluster >= device.clusters {
            return Err(Unfit::BeyondEnd { clusters: device.clusters });
        }
        let before = device.partial.len();
        if !device.take(cluster) {
            return Err(Unfit::Twice);
        }
        self.partial = self.partial + device.partial.len() - before;
        if self.partial > PARTIAL_MAX {
            return Err(Unfit::Limit(Limit::Disorder(PARTIAL_MAX)));
        }
        Ok(())
    }

    /// The first device that is not complete, and what it lacks.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.devices.iter().find_map(|(id, device)| {
            let first = device.missing_from(0)?;
            let count = device.clusters - device.seen;
            Some(Gap { device: *id, first, count, clusters: device.clusters })
        })
    }

    /// The first cluster of `device` at or behind `from` that there was not yet.
    pub(crate) fn missing_from(&self, device: u8, from: u64) -> Option<u64> {
        self.devices.get(&device)?.missing_from(from)
    }
}

impl DeviceClusters {
    fn of(device: &Device) -> Self {
        Self {
            size_bytes: device.size_bytes,
            clusters: device.size_bytes.div_ceil(CLUSTER as u64),
            seen: 0,
            full: Vec::new(),
            partial: BTreeMap::new(),
        }
    }

    fn is_full(&self, chunk: u64) -> bool {
        let word = usize::try_from(chunk / 64).ok().and_then(|word| self.full.get(word));
        word.is_some_and(|word| word & (1 << (chunk % 64)) != 0)
    }

    fn set_full(&mut self, chunk: u64) {
        let word = (chunk / 64) as usize;
        if self.full.len() <= word {
            self.full.resize(word + 1, 0);
        }
        if let Some(word) = self.full.get_mut(word) {
            *word |= 1 << (chunk % 64);
        }
    }

    /// Remembers a cluster within the device; false if it was known.
    fn take(&mut self, cluster: u64) -> bool {
        let (number, place) = (cluster / CHUNK, cluster % CHUNK);
        if self.is_full(number) {
            return false;
        }
        let chunk = self.partial.entry(number).or_insert_with(Chunk::empty);
        if !chunk.take(place) {
            return false;
        }
        self.seen += 1;
        if chunk.seen == CHUNK.min(self.clusters - number * CHUNK) {
            self.partial.remove(&number);
            self.set_full(number);
        }
        true
    }

    fn missing_from(&self, from: u64) -> Option<u64> {
        let mut cluster = from;
        while self.seen < self.clusters && cluster < self.clusters {
            let number = cluster / CHUNK;
            let next_chunk = (number + 1) * CHUNK;
            if self.is_full(number) {
                cluster = next_chunk;
                continue;
            }
            let Some(chunk) = self.partial.get(&number) else { return Some(cluster) };
            match chunk.missing_from(cluster % CHUNK).map(|place| number * CHUNK + place) {
                Some(missing) => return Some(missing).filter(|missing| *missing < self.clusters),
                None => cluster = next_chunk,
            }
        }
        None
    }
}

impl Chunk {
    fn empty() -> Self {
        Self { seen: 0, bits: Box::new([0; WORDS]) }
    }

    fn take(&mut self, place: u64) -> bool {
        let Some(word) = self.bits.get_mut((place / 64) as usize) else { return false };
        let bit = 1 << (place % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.seen += u64::from(new);
        new
    }

    fn missing_from(&self, place: u64) -> Option<u64> {
        let first = (place / 64) as usize;
        let mut below = (1_u64 << (place % 64)) - 1;
        for (index, word) in self.bits.iter().enumerate().skip(first) {
            let taken = word | below;
            below = 0;
            if taken != u64::MAX {
                return Some(index as u64 * 64 + u64::from(taken.trailing_ones()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: u8, clusters: u64) -> Device {
        Device { id, name: format!("d{id}"), size_bytes: clusters * CLUSTER as u64 }
    }

    #[test]
    fn complete_only_when_every_cluster_came_once() {
        let total = 2 * CHUNK + 5;
        let mut clusters = Clusters::of(&[device(1, total)]);
        for cluster in (0..total).rev().filter(|cluster| cluster % 3 != 1) {
            clusters.take(1, cluster).unwrap();
        }
        let gap = clusters.gap().unwrap();
        assert_eq!((gap.first, gap.clusters), (1, total));
        assert_eq!(gap.count, (0..total).filter(|c| c % 3 == 1).count() as u64);
        assert_eq!(clusters.missing_from(1, CHUNK), Some(CHUNK + 2));
        for cluster in (0..total).filter(|cluster| cluster % 3 == 1) {
            assert_eq!(clusters.missing_from(1, cluster), Some(cluster));
            clusters.take(1, cluster).unwrap();
        }
        assert_eq!(clusters.gap(), None);
        assert_eq!(clusters.partial, 0);
        assert_eq!(clusters.take(1, 7), Err(Unfit::Twice));
        assert_eq!(clusters.take(1, total), Err(Unfit::BeyondEnd { clusters: total }));
        assert_eq!(clusters.take(2, 0), Err(Unfit::Device));
    }

    #[test]
    fn memory_is_bounded_however_wild_the_order() {
        let devices: Vec<Device> = (1..=254).map(|id| device(id, 1 << 32)).collect();
        let mut clusters = Clusters::of(&devices);
        let taken = (0..1 << 17).map(|chunk| clusters.take(9, chunk * CHUNK)).find(Result::is_err);
        assert_eq!(taken, Some(Err(Unfit::Limit(Limit::Disorder(PARTIAL_MAX)))));
        assert_eq!(clusters.partial, PARTIAL_MAX + 1);
        assert_eq!(clusters.missing_from(9, 0), Some(1));
    }
}
