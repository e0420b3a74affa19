//! Small points with known content.

use drs_model::{
    Consistency, DiskContent, Extent, Firmware, HypervisorKind, PointId, RecoveryPoint, Timestamp,
    VmForm, VmSpec,
};

use crate::{PointWriter, Vault};

pub(super) const MIB: u64 = 1024 * 1024;
const DISKS: [&str; 2] = ["vda", "vdb"];

/// The id of the sample point with this number.
pub(super) fn id(number: u8) -> PointId {
    format!("0192f000-0000-7000-8000-0000000000{number:02x}").parse().expect("an id")
}

/// A time, in seconds after the epoch.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

/// Extents of the sample disk with this number: text, noise, and zeros with a byte among them.
pub(super) fn extents(disk: usize) -> Vec<Extent> {
    let mut noise = vec![0; 300_000];
    blake3::Hasher::new().update(&[disk as u8]).finalize_xof().fill(&mut noise);
    let mut sparse = vec![0; MIB as usize];
    sparse[500_000] = 1;
    vec![
        Extent { offset: 512, data: b"DR Switch ".repeat(10_000).into() },
        Extent { offset: MIB, data: noise.into() },
        Extent { offset: 7 * MIB, data: sparse.into() },
    ]
}

/// The sample disk as the guest sees it.
pub(super) fn image(disk: usize) -> Vec<u8> {
    let mut image = vec![0; 8 * MIB as usize];
    for extent in extents(disk) {
        let start = extent.offset as usize;
        image[start..start + extent.data.len()].copy_from_slice(&extent.data);
    }
    image
}

/// An entry that no disk was written for.
pub(super) fn content(disk: &str) -> DiskContent {
    DiskContent {
        name: disk.into(),
        size_bytes: MIB,
        data_bytes: 0,
        stored_bytes: 64,
        digest: "0".repeat(64),
    }
}

/// A manifest with these disks.
#[must_use]
pub fn manifest(id: PointId, consistent_at: Timestamp, disks: Vec<DiskContent>) -> RecoveryPoint {
    RecoveryPoint {
        id,
        source: "dc1/web1".parse().expect("a VM"),
        hypervisor: HypervisorKind::Simulated,
        consistent_at,
        completed_at: consistent_at,
        consistency: Consistency::Crash,
        spec: VmSpec {
            name: "web1".parse().expect("a name"),
            native_id: "1".into(),
            label: String::new(),
            form: VmForm::Machine,
            vcpus: 1,
            memory_mib: 64,
            firmware: Firmware::Bios,
            machine: String::new(),
            disks: Vec::new(),
            nics: Vec::new(),
            guest_agent: false,
        },
        native_config: "<domain>ä</domain>".into(),
        disks,
    }
}

/// Writes the sample disk with this number.
pub(super) async fn write_disk(writer: &mut dyn PointWriter, disk: usize) -> DiskContent {
    let mut written = writer.disk(DISKS[disk], Some(8 * MIB)).await.expect("disk");
    for extent in extents(disk) {
        written.write(extent).await.expect("write");
    }
    let content = written.finish().await.expect("finish");
    assert_eq!((content.name.as_str(), content.size_bytes), (DISKS[disk], 8 * MIB));
    content
}

/// Writes a whole point with two disks.
pub(super) async fn complete(
    vault: &dyn Vault,
    id: PointId,
    consistent_at: Timestamp,
) -> RecoveryPoint {
    let mut writer = vault.begin(id).await.expect("begin");
    let disks = vec![write_disk(writer.as_mut(), 0).await, write_disk(writer.as_mut(), 1).await];
    let manifest = manifest(id, consistent_at, disks);
    writer.commit(&manifest).await.expect("commit");
    manifest
}

/// Writes the sample point with this number, consistent at that many seconds after the epoch.
pub async fn point(vault: &dyn Vault, number: u8) -> RecoveryPoint {
    complete(vault, id(number), time(number.into())).await
}

/// A disk as the guest would see it, and how many bytes came in extents.
pub(super) async fn read_disk(vault: &dyn Vault, id: PointId, disk: &str) -> (Vec<u8>, u64) {
    let mut reader = vault.read(id, disk).await.expect("read");
    let mut image = vec![0; reader.size_bytes() as usize];
    let mut data_bytes = 0;
    while let Some(extent) = reader.next().await.expect("next") {
        assert!(extent.data.len() <= Extent::BYTES_MAX);
        data_bytes += extent.data.len() as u64;
        image[extent.offset as usize..extent.end() as usize].copy_from_slice(&extent.data);
    }
    assert_eq!(reader.next().await.expect("after the end"), None);
    (image, data_bytes)
}
