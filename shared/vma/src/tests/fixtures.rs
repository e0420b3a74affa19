//! What the real tools wrote is read byte by byte, and written again the same.

use std::collections::BTreeMap;

use super::samples::{contents, fixtures, json, sha256, unpacked};
use crate::extent::Slot;
use crate::{Damage, Header, Reader, VmaError, Writer, verify};

const WHOLE: [&str; 4] = ["one-disk", "two-disk", "tiny-disks", "diskless"];

fn path(name: &str) -> String {
    let manifest = json("manifest.json");
    format!("{name}/{}.zst", manifest[name]["archive"].as_str().unwrap())
}

#[test]
fn archives_of_the_real_tool_read_byte_by_byte() {
    let manifest = json("manifest.json");
    for name in WHOLE {
        let (archive, expected) = (unpacked(path(name)), &manifest[name]);
        assert_eq!(sha256(&archive), expected["archive_sha256"].as_str().unwrap());
        let disks = contents(&archive).unwrap();
        let streams = expected["streams"].as_array().unwrap();
        assert_eq!(disks.len(), streams.len(), "{name}");
        for stream in streams {
            let disk = &disks[stream["dev"].as_str().unwrap()];
            assert_eq!(disk.len() as u64, stream["size"].as_u64().unwrap(), "{name}");
            assert_eq!(sha256(disk), stream["sha256"].as_str().unwrap(), "{name}");
        }
        let header = Reader::open(&archive[..]).unwrap().header().clone();
        let configs = expected["configs"].as_object().unwrap();
        assert_eq!(header.configs.len(), configs.len(), "{name}");
        for config in header.configs {
            assert_eq!(sha256(&config.data), configs[&config.name]["sha256"].as_str().unwrap());
        }
    }
}

fn live_archives() -> impl Iterator<Item = String> {
    let files = std::fs::read_dir(fixtures().join("real-vzdump")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".vma.zst")).map(|name| format!("real-vzdump/{name}"))
}

/// The same clusters in the same order through our writer.
fn written_again(archive: &[u8]) -> Vec<u8> {
    let mut reader = Reader::open(archive).unwrap();
    let header = reader.header().clone();
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    while let Some(extent) = reader.next_extent().unwrap() {
        for (slot, stored) in extent.clusters() {
            writer.write(slot.device, slot.offset(), &whole(&header, slot, stored)).unwrap();
        }
    }
    let (bytes, totals) = writer.finish().unwrap();
    assert_eq!(totals, reader.totals());
    bytes
}

/// A cluster's content with its zeros.
fn whole(header: &Header, slot: Slot, stored: &[u8]) -> Vec<u8> {
    let device = header.devices.iter().find(|device| device.id == slot.device).unwrap();
    let mut data = vec![0; 65536.min(device.size_bytes - slot.offset()) as usize];
    let mut blocks = stored.chunks(4096);
    for block in (0..16).filter(|block| slot.mask & (1 << block) != 0) {
        let (start, stored) = (block * 4096, blocks.next().unwrap());
        let end = data.len().min(start + 4096);
        data[start..end].copy_from_slice(&stored[..end - start]);
    }
    data
}

#[test]
fn archives_written_again_equal_those_of_the_real_writer() {
    for path in WHOLE.map(path).into_iter().chain(live_archives()) {
        let archive = unpacked(&path);
        assert!(written_again(&archive) == archive, "{path} differs when it is written again");
    }
}

/// What becomes of the variant `name`: its disks, or the damage and its place.
fn verdict(name: &str) -> Result<BTreeMap<String, Vec<u8>>, (u64, Damage)> {
    contents(&unpacked(format!("variants/{name}.vma.zst"))).map_err(|error| match error {
        VmaError::Damaged { at, damage } => (at, damage),
        error => panic!("{name}: {error}"),
    })
}

/// The damaged variants of the one archive of 1009664 bytes with two disks.
fn damages() -> [(&'static str, u64, Damage); 13] {
    let missing =
        |first, count| Damage::Missing { name: "drive-scsi0".into(), first, count, clusters: 71 };
    let cut = |part, got, wanted| Damage::Truncated { part, got, wanted };
    [
        ("block-count-too-large", 640518, Damage::BlockCount { stated: 91, counted: 90 }),
        (
            "cluster-beyond-end",
            640856,
            Damage::ClusterBeyondEnd { device: 1, cluster: 1000, clusters: 71 },
        ),
        ("dev-id-255", 4096 + 255 * 32, Damage::DeviceId(255)),
        ("duplicate-cluster", 640856, Damage::ClusterTwice { device: 1, cluster: 4 }),
        ("extent-header-bit-flip", 640536, Damage::ExtentChecksum),
        ("header-only", 13312, Damage::NoExtent),
        ("missing-cluster", 993280, missing(3, 1)),
        ("trailing-garbage", 1009764, cut("the header of an extent", 100, 512)),
        ("truncated-at-extent-boundary", 640512, missing(58, 13)),
        ("truncated-in-header", 9000, cut("the header", 9000, 12288)),
        ("unknown-dev", 640856, Damage::UnknownDevice(9)),
        ("wrong-extent-uuid", 640520, Damage::ExtentUuid),
        ("wrong-version", 4, Damage::Version(2)),
    ]
}

/// The variants that real archives may look like.
const SOUND: [&str; 5] = [
    "data-bit-flip",
    "out-of-order",
    "own-writer-58",
    "reserved-byte-set-in-blockinfo",
    "size-not-multiple-of-512",
];

#[test]
fn every_damaged_variant_is_refused_with_its_place() {
    for (name, at, damage) in damages() {
        assert_eq!(verdict(name), Err((at, damage)), "{name}");
    }
}

#[test]
fn the_sound_variants_read_as_the_real_tool_extracts_them() {
    let expected = json("variants/expected.json");
    for name in SOUND {
        let disks = verdict(name).unwrap();
        let extracted = expected["variants"][name]["extracted"].as_object().unwrap();
        assert_eq!(disks.len() + 1, extracted.len(), "{name}: the disks and one configuration");
        for (disk, mut content) in disks {
            // The real tool's file ends with a whole sector, ours with the disk.
            content.resize(content.len().next_multiple_of(512), 0);
            let file = &extracted[&format!("disk-{disk}.raw")];
            assert_eq!(file[0].as_u64(), Some(content.len() as u64), "{name}");
            assert!(sha256(&content).starts_with(file[1].as_str().unwrap()), "{name}: {disk}");
        }
    }
}

#[test]
fn no_variant_is_forgotten() {
    let expected = json("variants/expected.json");
    let mut known: Vec<&str> = damages().iter().map(|(name, ..)| *name).chain(SOUND).collect();
    known.sort_unstable();
    let mut there: Vec<&str> =
        expected["variants"].as_object().unwrap().keys().map(String::as_str).collect();
    there.sort_unstable();
    assert_eq!(known, there);
}

#[test]
fn flipped_data_is_told_by_the_digest_alone() {
    let report = |name: &str| {
        let archive = unpacked(format!("variants/{name}.vma.zst"));
        verify(Reader::open(&archive[..]).unwrap(), |_| ()).unwrap()
    };
    let digests = |name| report(name).devices.iter().map(|d| d.digest).collect::<Vec<_>>();
    let sound = digests("own-writer-58");
    assert_eq!(sound, digests("out-of-order"));
    let flipped = digests("data-bit-flip");
    assert_ne!(sound[0], flipped[0]);
    assert_eq!(sound[1], flipped[1]);
}
