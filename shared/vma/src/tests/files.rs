//! Archives of files, and files of archives.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::samples::{header, header_bytes, unpacked};
use crate::{Config, Content, Limit, RawDisk, Reader, VmaError, Writer, create, extract, verify};

/// A sparse disk, one that ends within a block, and a configuration, in `folder`.
fn content(folder: &Path) -> Content {
    let big = fs::File::create_new(folder.join("big.raw")).unwrap();
    big.set_len(64 << 20).unwrap();
    big.write_all_at(&[7; 5000], (40 << 20) + 12_288).unwrap();
    big.write_all_at(&[9; 300_000], 1 << 20).unwrap();
    fs::write(folder.join("odd.raw"), vec![5; 70_001]).unwrap();
    fs::write(folder.join("qemu-server.conf"), "memory: 64\n").unwrap();
    let disk = |name: &str, file| RawDisk { name: name.into(), path: folder.join(file) };
    Content {
        uuid: [3; 16],
        created_at: 1_700_000_000,
        configs: vec![folder.join("qemu-server.conf")],
        disks: vec![disk("drive-scsi0", "big.raw"), disk("drive-scsi1", "odd.raw")],
    }
}

#[test]
fn created_and_extracted_files_are_the_same_and_sparse() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(folder.path());
    let mut steps = 0;
    let (archive, totals) = create(Vec::new(), &content, |_| steps += 1).unwrap();
    assert!(steps > 1);
    assert!(totals.data_bytes < 1 << 20, "holes are stored: {totals:?}");
    let out = folder.path().join("out/");
    let mut last = None;
    let read = extract(Reader::open(&archive[..]).unwrap(), &out, |at| last = Some(at)).unwrap();
    assert_eq!(read, totals);
    let last = last.unwrap();
    assert_eq!((last.archive_bytes, last.clusters), (archive.len() as u64, last.clusters_total));
    for (made, from) in [
        ("disk-drive-scsi0.raw", "big.raw"),
        ("disk-drive-scsi1.raw", "odd.raw"),
        ("qemu-server.conf", "qemu-server.conf"),
    ] {
        let (made, from) = (out.join(made), folder.path().join(from));
        assert!(fs::read(&made).unwrap() == fs::read(from).unwrap(), "{}", made.display());
    }
    let stored = out.join("disk-drive-scsi0.raw").metadata().unwrap().blocks() * 512;
    assert!(stored < 2 << 20, "{stored} bytes of a sparse disk");
    assert!(!folder.path().join("out.partial").exists());
}

#[test]
fn a_directory_that_exists_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let archive = unpacked("diskless/vzdump-qemu-117-2024_01_31-12_30_00.vma.zst");
    for taken in ["out", "out.partial"] {
        let taken = folder.path().join(taken);
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("mine"), "mine").unwrap();
        let result =
            extract(Reader::open(&archive[..]).unwrap(), &folder.path().join("out"), |_| ());
        let Err(VmaError::File { path, source }) = result else { panic!("{result:?}") };
        assert_eq!((path, source.kind()), (taken.clone(), io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(taken.join("mine")).unwrap(), b"mine");
        fs::remove_dir_all(taken).unwrap();
    }
}

#[test]
fn nothing_is_left_of_an_archive_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let archive = unpacked("variants/missing-cluster.vma.zst");
    let result = extract(Reader::open(&archive[..]).unwrap(), &folder.path().join("out"), |_| ());
    assert!(matches!(result, Err(VmaError::Damaged { .. })), "{result:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_configuration_cannot_take_the_place_of_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = header(&[("drive-scsi0", 4096)]);
    header.configs.push(Config { name: "disk-drive-scsi0.raw".into(), data: b"evil".to_vec() });
    let (archive, _) = Writer::new(Vec::new(), &header).unwrap().finish().unwrap();
    let result = extract(Reader::open(&archive[..]).unwrap(), &folder.path().join("out"), |_| ());
    assert!(matches!(result, Err(VmaError::File { .. })), "{result:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_left_of_a_disk_that_the_file_system_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let archive = header_bytes(&header(&[("drive-scsi0", 1 << 48)]));
    let result = extract(Reader::open(&archive[..]).unwrap(), &folder.path().join("out"), |_| ());
    // Where a file may be that long, the archive is still one without an extent.
    assert!(matches!(result, Err(VmaError::File { .. } | VmaError::Damaged { .. })), "{result:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_disk_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.raw");
    let mut content = content(folder.path());
    content.disks.push(RawDisk { name: "drive-scsi2".into(), path: path.clone() });
    let result = create(Vec::new(), &content, |_| ());
    let Err(VmaError::File { path: named, .. }) = result else { panic!("{result:?}") };
    assert_eq!(named, path);
}

#[test]
fn what_does_not_fit_an_archive_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = content(folder.path());
    fs::write(&content.configs[0], vec![b'#'; 65536]).unwrap();
    let result = create(Vec::new(), &content, |_| ());
    assert!(
        matches!(result, Err(VmaError::Limit { limit: Limit::Config(65536), .. })),
        "{result:?}"
    );
    content.disks = vec![content.disks[0].clone(); 255];
    let result = create(Vec::new(), &content, |_| ());
    assert!(matches!(result, Err(VmaError::Limit { limit: Limit::Devices(255), .. })));
}

#[test]
fn the_digest_of_a_disk_is_that_of_its_content_alone() {
    let header = header(&[("drive-scsi0", 200_000), ("drive-scsi1", 200_000)]);
    let disk: Vec<u8> = (0..200_000_u32).map(|at| (at / 9000 % 3) as u8).collect();
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer.write(2, 131_072, &disk[131_072..]).unwrap();
    writer.write(1, 0, &disk).unwrap();
    writer.write(2, 0, &disk[..131_072]).unwrap();
    let (archive, _) = writer.finish().unwrap();
    let report = verify(Reader::open(&archive[..]).unwrap(), |_| ()).unwrap();
    assert_eq!(report.devices[0].digest, report.devices[1].digest);
    assert_eq!(report.devices[0].data_bytes, report.devices[1].data_bytes);
    assert_eq!(report.devices[0].digest.to_string().len(), 64);
    assert_eq!(report.archive_bytes, archive.len() as u64);
}
