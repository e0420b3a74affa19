//! Archives that were made to do harm, and callers that make mistakes.

use super::samples::{contents, header, header_bytes};
use crate::extent::{self, Slot};
use crate::format::*;
use crate::{Config, Damage, Header, Limit, Misuse, NameFault, Reader, VmaError, Writer};

fn refused(archive: &[u8]) -> Damage {
    match contents(archive) {
        Err(VmaError::Damaged { damage, .. }) => damage,
        other => panic!("{other:?}"),
    }
}

/// A header whose bytes were changed, with the checksum made right again.
fn header_with(header: &Header, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = header_bytes(header);
    change(&mut bytes);
    let md5 = md5_without(AT_HEADER_MD5, &bytes);
    put(&mut bytes, AT_HEADER_MD5, &md5);
    bytes
}

/// An archive of one disk of two clusters and a bit, followed by an extent with these slots.
fn archive_with(slots: &[Slot]) -> Vec<u8> {
    let header = header(&[("drive-scsi0", 140_000)]);
    let blocks: u32 = slots.iter().map(|slot| slot.mask.count_ones()).sum();
    let mut extent = vec![1; EXTENT_HEADER + blocks as usize * BLOCK];
    extent::build(&mut extent, &header.uuid, slots);
    [header_bytes(&header), extent].concat()
}

fn slot(cluster: u32, mask: u16) -> Slot {
    Slot { device: 1, cluster, mask }
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    for (name, fault) in [
        ("", NameFault::Dots),
        (".", NameFault::Dots),
        ("..", NameFault::Dots),
        ("../x", NameFault::Character),
        ("/etc/passwd", NameFault::Character),
        ("a/b", NameFault::Character),
        ("a\0b", NameFault::Character),
        ("a\u{1b}[2J", NameFault::Character),
        (&"x".repeat(201), NameFault::Form),
    ] {
        let mut of_config = header(&[]);
        of_config.configs[0].name = name.to_owned();
        let of_device = header(&[(name, 4096)]);
        for header in [of_config, of_device] {
            let result = Writer::new(Vec::new(), &header);
            let Err(VmaError::Damaged { damage: Damage::Name { fault: found, .. }, .. }) = result
            else {
                panic!("{name:?}: {result:?}")
            };
            assert_eq!(found, fault, "{name:?}");
        }
    }
}

#[test]
fn names_that_occur_twice_are_refused() {
    let twice = |name: &str| Damage::NameTwice(name.to_owned());
    let mut header = header(&[("a", 1), ("a", 1)]);
    let result = Writer::new(Vec::new(), &header).map(|_| ());
    assert!(matches!(result, Err(VmaError::Damaged { damage, .. }) if damage == twice("a")));
    header.devices.clear();
    header.configs.push(header.configs[0].clone());
    let result = Writer::new(Vec::new(), &header).map(|_| ());
    assert!(
        matches!(result, Err(VmaError::Damaged { damage, .. }) if damage == twice("qemu-server.conf"))
    );
}

#[test]
fn a_header_that_lies_is_refused() {
    let sound = header(&[("drive-scsi0", 140_000)]);
    let device = AT_DEVICES + DEVICE_ENTRY;
    let with = |change: fn(&mut Vec<u8>)| refused(&header_with(&sound, change));
    let damage = with(|bytes| put(bytes, AT_BLOBS_SIZE, &u32::MAX.to_be_bytes()));
    assert_eq!(damage, Damage::BlobTable { offset: 12288, size: u32::MAX });
    let damage = with(|bytes| put(bytes, AT_BLOBS, &0_u32.to_be_bytes()));
    assert!(matches!(damage, Damage::BlobTable { offset: 0, .. }));
    let damage = with(|bytes| put(bytes, AT_CONFIG_DATA, &4000_u32.to_be_bytes()));
    assert!(matches!(damage, Damage::Blob { .. }), "{damage}");
    let damage = with(|bytes| put(bytes, AT_CONFIG_NAMES, &0_u32.to_be_bytes()));
    assert_eq!(damage, Damage::HalfConfig(0));
    let damage = with(|bytes| put(bytes, AT_DEVICES, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(damage, Damage::DeviceId(0));
    let damage = refused(&header_with(&sound, |bytes| put(bytes, device, &[0; 4])));
    assert_eq!(damage, Damage::NamelessDevice(1));
    let size = (1_u64 << 48) + 1;
    let damage = refused(&header_with(&sound, |bytes| {
        put(bytes, device + DEVICE_ENTRY_SIZE, &size.to_be_bytes());
    }));
    assert_eq!(damage, Damage::DeviceSize { name: "drive-scsi0".into(), size });
    // Every configuration points to one and the same text.
    let damage = with(|bytes| {
        let (name, data) = ([0, 0, 0, 1], [0, 0, 0, 20]);
        put(bytes, AT_CONFIG_NAMES + 4, &name);
        put(bytes, AT_CONFIG_DATA + 4, &data);
    });
    assert!(matches!(damage, Damage::Blob { .. }), "{damage}");
    assert_eq!(with(|bytes| put(bytes, AT_HEADER_SIZE, &[0, 0, 0, 9])), Damage::HeaderSize(9));
}

#[test]
fn a_header_beyond_the_limit_is_not_even_read() {
    let mut bytes = header_bytes(&header(&[]));
    put(&mut bytes, AT_HEADER_SIZE, &u32::MAX.to_be_bytes());
    let result = Reader::open(&bytes[..]).map(|_| ());
    let limit = Limit::Header(u64::from(u32::MAX));
    assert!(matches!(result, Err(VmaError::Limit { limit: found, .. }) if found == limit));
    let mut large = header(&[]);
    large.configs = (0..20)
        .map(|index| Config { name: format!("c{index}"), data: vec![b'x'; 65_535] })
        .collect();
    let result = Writer::new(Vec::new(), &large).map(|_| ());
    assert!(matches!(result, Err(VmaError::Limit { limit: Limit::Header(_), .. })), "{result:?}");
}

#[test]
fn extents_are_held_against_the_header() {
    let last = slot(2, 1);
    assert!(contents(&archive_with(&[slot(1, u16::MAX), last, slot(0, 0)])).is_ok());
    let beyond = refused(&archive_with(&[slot(2, 8)]));
    assert_eq!(beyond, Damage::BlockBeyondEnd { device: 1, cluster: 2 });
    let empty = Slot { device: 0, cluster: 5, mask: 0 };
    assert_eq!(refused(&archive_with(&[last, empty])), Damage::EmptySlot(5));
    let far = refused(&archive_with(&[slot(u32::MAX, 0)]));
    assert_eq!(far, Damage::ClusterBeyondEnd { device: 1, cluster: u32::MAX, clusters: 3 });
    let other = Slot { device: 254, cluster: 0, mask: 0 };
    assert_eq!(refused(&archive_with(&[other])), Damage::UnknownDevice(254));
}

#[test]
fn the_place_is_that_of_the_slot() {
    let hole = Slot { device: 0, cluster: 0, mask: 0 };
    let archive = archive_with(&[hole, slot(0, 1), hole, slot(0, 1)]);
    let result = contents(&archive);
    let Err(VmaError::Damaged { at, damage }) = result else { panic!("{result:?}") };
    assert_eq!(damage, Damage::ClusterTwice { device: 1, cluster: 0 });
    assert_eq!(at, 12288 + 512 + (AT_SLOTS + 3 * SLOT) as u64);
}

#[test]
fn bytes_behind_the_end_of_the_disk_are_not_handed_out() {
    let archive = archive_with(&[slot(0, 0), slot(1, 0x8000), slot(2, 7)]);
    let mut reader = Reader::open(&archive[..]).unwrap();
    let piece = reader.next().unwrap().unwrap();
    assert_eq!((piece.offset, piece.data.len()), (131_072 - 4096, 4096 + 140_000 - 131_072));
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn mistakes_of_a_caller_are_told() {
    let header = header(&[("drive-scsi0", 140_000)]);
    let misuse = |device, offset, length: usize| {
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer.write(1, 65536, &[1; 65536]).unwrap();
        match writer.write(device, offset, &vec![1; length]) {
            Err(VmaError::Misused { misuse, .. }) => Some(misuse),
            other => other.map(|()| None).unwrap(),
        }
    };
    assert_eq!(misuse(2, 0, 65536), Some(Misuse::Device));
    assert_eq!(misuse(1, 4096, 65536), Some(Misuse::Alignment));
    assert_eq!(misuse(1, 0, 4096), Some(Misuse::Alignment));
    assert_eq!(misuse(1, 131_072, 65536), Some(Misuse::Alignment));
    assert_eq!(misuse(1, u64::MAX - 65535, 65536), Some(Misuse::Alignment));
    assert_eq!(misuse(1, 0, 131_072), Some(Misuse::Twice));
    assert_eq!(misuse(1, 131_072, 140_000 - 131_072), None);
    assert_eq!(misuse(1, 0, 65536), None);
}

#[test]
fn devices_must_rise_and_may_be_empty() {
    let mut header = header(&[("a", 0), ("b", 65536)]);
    let (archive, totals) = Writer::new(Vec::new(), &header).unwrap().finish().unwrap();
    assert_eq!((totals.extents, totals.clusters, totals.data_bytes), (1, 1, 0));
    assert!(contents(&archive).unwrap()["a"].is_empty());
    header.devices.swap(0, 1);
    let result = Writer::new(Vec::new(), &header).map(|_| ());
    assert!(matches!(result, Err(VmaError::Damaged { damage: Damage::DeviceId(1), .. })));
}
