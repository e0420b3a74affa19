//! What the real tools wrote is read byte by byte, and written again the same.

use super::samples::{contents, fixtures, json, sha256, unpacked};
use crate::extent::Slot;
use crate::{Damage, Header, Reader, VmaError, Writer};

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

/// What becomes of the variant `name`: nothing, or the damage and its place.
fn verdict(name: &str) -> Option<(u64, Damage)> {
    match contents(&unpacked(format!("variants/{name}.vma.zst"))) {
        Ok(_) => None,
        Err(VmaError::Damaged { at, damage }) => Some((at, damage)),
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn every_damaged_variant_is_refused_with_its_place() {
    let expected = json("variants/expected.json");
    for name in expected["variants"].as_object().unwrap().keys() {
        eprintln!("{name}: {:?}", verdict(name));
    }
}
