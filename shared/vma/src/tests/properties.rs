//! Random machines in random order, whole and damaged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::samples::{contents, header, header_bytes};
use crate::extent::{self, Slot};
use crate::format::*;
use crate::{Header, Reader, Writer};

/// A machine: its disks, and an archive of them with clusters in any order, extents of any
/// length, empty slots anywhere and some zeros stored.
#[derive(Debug, Clone)]
struct Machine {
    disks: BTreeMap<String, Vec<u8>>,
    archive: Vec<u8>,
    /// The archive's clusters in its order.
    order: Vec<(u8, u64)>,
}

/// A disk of up to five clusters: its size, and for each block whether it is data.
fn disk() -> impl Strategy<Value = Vec<u8>> {
    let blocks = prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..80);
    (blocks, 0..BLOCK).prop_map(|(blocks, cut)| {
        let mut disk: Vec<u8> = blocks.iter().flat_map(|byte| [*byte; BLOCK]).collect();
        disk.truncate(disk.len().saturating_sub(cut));
        disk
    })
}

fn machine() -> impl Strategy<Value = Machine> {
    prop::collection::vec(disk(), 0..4)
        .prop_flat_map(|disks| {
            let clusters = |disk: &Vec<u8>| disk.len().div_ceil(CLUSTER) as u64;
            let all =
                (1_u8..).zip(&disks).flat_map(|(id, d)| (0..clusters(d)).map(move |c| (id, c)));
            let order = Just(all.collect::<Vec<_>>()).prop_shuffle();
            // How the slots of each extent go: used, or left empty.
            let slots = prop::collection::vec(prop::bool::weighted(0.8), 1..=SLOTS);
            (Just(disks), order, prop::collection::vec(slots, 1..4), any::<bool>())
        })
        .prop_map(|(disks, order, extents, keep)| encode(disks, order, &extents, keep))
}

fn encode(
    disks: Vec<Vec<u8>>,
    order: Vec<(u8, u64)>,
    extents: &[Vec<bool>],
    keep_zeros: bool,
) -> Machine {
    let names: Vec<String> = (0..disks.len()).map(|index| format!("drive-scsi{index}")).collect();
    let devices: Vec<_> =
        names.iter().zip(&disks).map(|(name, disk)| (name.as_str(), disk.len() as u64)).collect();
    let header = header(&devices);
    let mut archive = header_bytes(&header);
    let mut rest = order.iter();
    for pattern in extents.iter().cycle() {
        let mut bytes = vec![0; EXTENT_HEADER];
        let mut slots = Vec::new();
        // An extent in which every slot is empty would never come to an end.
        for used in pattern.iter().chain(&[true]).take(SLOTS) {
            let cluster = used.then(|| rest.next()).flatten();
            slots.push(cluster.map_or(Slot { device: 0, cluster: 0, mask: 0 }, |(id, number)| {
                let disk = &disks[usize::from(*id) - 1];
                let data = disk.chunks(CLUSTER).nth(*number as usize).unwrap();
                let mut mask = 0;
                for (index, block) in data.chunks(BLOCK).enumerate() {
                    if keep_zeros || !is_zero(block) {
                        mask |= 1 << index;
                        bytes.extend_from_slice(block);
                        let padded = (bytes.len() - EXTENT_HEADER).next_multiple_of(BLOCK);
                        bytes.resize(EXTENT_HEADER + padded, 0xee);
                    }
                }
                Slot { device: *id, cluster: *number as u32, mask }
            }));
        }
        extent::build(&mut bytes, &header.uuid, &slots);
        archive.extend(bytes);
        if rest.len() == 0 {
            break;
        }
    }
    Machine { disks: names.into_iter().zip(disks).collect(), archive, order }
}

/// Ways to damage a file.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (at(), at()).prop_map(|(from, to)| Damage::Remove(from, to)),
    ]
}

impl Damage {
    /// The damaged file; ranges are of whole 512 bytes every other time, where damage is sly.
    fn apply(&self, archive: &[u8]) -> Vec<u8> {
        let range = |from: &prop::sample::Index, to: &prop::sample::Index| {
            let (a, b) = (from.index(archive.len() + 1), to.index(archive.len() + 1));
            let unit = if a % 2 == 0 { 512 } else { 1 };
            (a.min(b) / unit * unit, a.max(b) / unit * unit)
        };
        match self {
            Self::Flip(at, bits) => {
                let mut flipped = archive.to_vec();
                flipped[at.index(archive.len())] ^= bits;
                flipped
            }
            Self::Cut(at) => archive[..at.index(archive.len())].to_vec(),
            Self::Repeat(from, to) => {
                let (from, to) = range(from, to);
                [&archive[..to], &archive[from..]].concat()
            }
            Self::Remove(from, to) => {
                let (from, to) = range(from, to);
                [&archive[..from], &archive[to..]].concat()
            }
        }
    }
}

fn rewritten(machine: &Machine, header: &Header) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for (id, cluster) in &machine.order {
        let disk = &machine.disks[&header.devices[usize::from(*id) - 1].name];
        let data = disk.chunks(CLUSTER).nth(*cluster as usize).unwrap();
        // Clusters of zeros may as well be left to the end.
        if !data.iter().all(|byte| *byte == 0) {
            writer.write(*id, cluster * CLUSTER as u64, data).unwrap();
        }
    }
    writer.finish().unwrap().0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_reads_and_writes_the_same(machine in machine()) {
        prop_assert_eq!(&contents(&machine.archive).unwrap(), &machine.disks);
        let header = Reader::open(&machine.archive[..]).unwrap().header().clone();
        let ours = rewritten(&machine, &header);
        prop_assert_eq!(&contents(&ours).unwrap(), &machine.disks);
    }

    #[test]
    fn damage_is_refused_or_changes_data_alone(machine in machine(), damage in damage()) {
        let damaged = damage.apply(&machine.archive);
        let Ok(disks) = contents(&damaged) else { return Ok(()) };
        let differing: usize = disks
            .iter()
            .map(|(name, disk)| {
                let sound = &machine.disks[name];
                assert_eq!(disk.len(), sound.len());
                disk.iter().zip(sound).filter(|(a, b)| a != b).count()
            })
            .sum();
        prop_assert_eq!(disks.len(), machine.disks.len());
        let flips = usize::from(matches!(damage, Damage::Flip(..)));
        prop_assert!(differing <= flips, "{} bytes differ", differing);
    }

    #[test]
    fn what_follows_a_sound_header_never_panics(tail in prop::collection::vec(any::<u8>(), 0..2000)) {
        let archive = [header_bytes(&header(&[("drive-scsi0", 1 << 40)])), tail].concat();
        prop_assert!(contents_of_any_size(&archive).is_err());
    }
}

/// Reads to the end without keeping anything.
fn contents_of_any_size(archive: &[u8]) -> Result<(), crate::VmaError> {
    let mut reader = Reader::open(archive)?;
    while reader.next()?.is_some() {}
    Ok(())
}
