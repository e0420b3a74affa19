//! Feeds the reader anything: as it comes, unpacked, and with the checksums made right.

#![no_main]

use std::collections::BTreeMap;
use std::io::Read;

use drs_vma::{Header, Reader, compression};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

/// More is not unpacked: a few bytes of zstd can stand for any length.
const UNPACKED_MAX: u64 = 1 << 20;
const HEADER: usize = 12288;
const EXTENT: usize = 512;
const BLOCK: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut unpacked = Vec::new();
    if let Ok(input) = compression::open(data) {
        // What was unpacked before the stream failed is good enough to go on with.
        let _ = input.take(UNPACKED_MAX).read_to_end(&mut unpacked);
    }
    read(&unpacked);
    repair(&mut unpacked);
    read(&unpacked);
});

/// Reads an archive to its end or its damage; what comes must lie within the devices, once.
fn read(archive: &[u8]) {
    let Ok(mut reader) = Reader::open(archive) else { return };
    let header = reader.header().clone();
    let mut blocks = BTreeMap::new();
    let ended = loop {
        match reader.next() {
            Ok(Some(piece)) => {
                let size = size(&header, piece.device);
                let end = piece.offset + piece.data.len() as u64;
                assert!(!piece.data.is_empty() && piece.data.len() <= 1 << 20 && end <= size);
                for block in (piece.offset..end).step_by(BLOCK) {
                    assert_eq!(blocks.insert((piece.device, block), ()), None, "twice");
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    if ended {
        let clusters: u64 = header.devices.iter().map(|d| d.size_bytes.div_ceil(65536)).sum();
        assert_eq!(reader.totals().clusters, clusters);
        assert_eq!(reader.position(), archive.len() as u64);
    }
}

fn size(header: &Header, device: u8) -> u64 {
    let device = header.devices.iter().find(|found| found.id == device);
    device.expect("a device of the header").size_bytes
}

/// Makes right what chance never gets right: magics, version, uuid, MD5 and block counts.
fn repair(archive: &mut [u8]) {
    if archive.len() < HEADER {
        return;
    }
    archive[..8].copy_from_slice(b"VMA\0\0\0\0\x01");
    let stated = u32::from_be_bytes(archive[56..60].try_into().expect("four bytes")) as usize;
    let size = stated.clamp(HEADER, archive.len());
    archive[56..60].copy_from_slice(&(size as u32).to_be_bytes());
    seal(&mut archive[..size], 32);
    let uuid: [u8; 16] = archive[8..24].try_into().expect("sixteen bytes");
    let mut rest = &mut archive[size..];
    while rest.len() >= EXTENT {
        let (head, data) = rest.split_at_mut(EXTENT);
        head[..4].copy_from_slice(b"VMAE");
        let slots = head[40..].chunks_exact(8).filter(|slot| slot[3] != 0);
        let count: u32 = slots.map(|s| u16::from_be_bytes([s[0], s[1]]).count_ones()).sum();
        head[6..8].copy_from_slice(&(count as u16).to_be_bytes());
        head[8..24].copy_from_slice(&uuid);
        seal(head, 24);
        let next = data.len().min(count as usize * BLOCK);
        rest = &mut data[next..];
    }
}

fn seal(bytes: &mut [u8], at: usize) {
    bytes[at..at + 16].fill(0);
    let md5 = Md5::digest(&*bytes);
    bytes[at..at + 16].copy_from_slice(&md5);
}
