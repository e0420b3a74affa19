//! The archives of the real tools, and small ones of our own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{Config, Device, Header, Reader, VmaError};

pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox")
}

pub(super) fn json(path: &str) -> serde_json::Value {
    let text = std::fs::read(fixtures().join(path)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The uncompressed archive of a `.vma.zst`.
pub(super) fn unpacked(path: impl AsRef<Path>) -> Vec<u8> {
    zstd::decode_all(std::fs::File::open(fixtures().join(path)).unwrap()).unwrap()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every device's whole content, by name.
pub(super) fn contents(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, VmaError> {
    let mut reader = Reader::open(archive)?;
    let devices = reader.header().devices.clone();
    let mut disks: BTreeMap<u8, Vec<u8>> =
        devices.iter().map(|device| (device.id, vec![0; device.size_bytes as usize])).collect();
    while let Some(piece) = reader.next()? {
        let start = piece.offset as usize;
        let disk = disks.get_mut(&piece.device).unwrap();
        disk[start..start + piece.data.len()].copy_from_slice(&piece.data);
    }
    assert_eq!(reader.position(), archive.len() as u64);
    Ok(devices.into_iter().map(|d| (d.name, disks.remove(&d.id).unwrap())).collect())
}

/// A header with devices of these names and sizes.
pub(super) fn header(devices: &[(&str, u64)]) -> Header {
    let devices = (1..=254).zip(devices).map(|(id, (name, size_bytes))| Device {
        id,
        name: (*name).to_owned(),
        size_bytes: *size_bytes,
    });
    let config = Config { name: "qemu-server.conf".into(), data: b"memory: 64\n".to_vec() };
    Header { uuid: [9; 16], created_at: -5, configs: vec![config], devices: devices.collect() }
}

/// The header as it stands in a file, without any extent.
pub(super) fn header_bytes(header: &Header) -> Vec<u8> {
    crate::header::build(header).unwrap()
}
