//! Archives of the real vzdump, whole and damaged, through the sources.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use drs_model::{Disk, Firmware};
use drs_vma::compression;

use super::*;

fn fixture(path: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proxmox");
    let mut bytes = Vec::new();
    let file = File::open(folder.join(path)).expect(path);
    compression::open(file).and_then(|mut plain| plain.read_to_end(&mut bytes)).expect(path);
    bytes
}

fn spec(form: VmForm, disks: &[(&str, u64)]) -> VmSpec {
    let disk = |(name, size_bytes): &(&str, u64)| Disk {
        name: (*name).to_owned(),
        size_bytes: *size_bytes,
        source: "local:vol".into(),
        format: "raw".into(),
        protected: true,
        unprotected_reason: String::new(),
    };
    VmSpec {
        name: "112".parse().expect("a name"),
        native_id: "qemu/112".into(),
        label: "web".into(),
        form,
        vcpus: 1,
        memory_mib: 64,
        firmware: Firmware::Bios,
        machine: String::new(),
        disks: disks.iter().map(disk).collect(),
        nics: Vec::new(),
        guest_agent: false,
    }
}

fn fetched(tar_bytes: Option<u64>) -> Fetched {
    Fetched { name: "archive".into(), tar_bytes }
}

async fn source(form: VmForm, bytes: Vec<u8>) -> Result<ArchiveSource<Fetched>, ArchiveError> {
    let decoding = Decoding::begin(form, Cursor::new(bytes)).await?;
    let mut spec = spec(form, &[("scsi0", 0), ("virtio1", 0), ("none", 0)]);
    if let Head::Machine(header) = &decoding.head {
        vma_source::correct(&mut spec, header);
    }
    let contents = decoding.contents(&spec).expect("what was announced");
    Ok(ArchiveSource::new(decoding, contents, fetched(None)))
}

type Contents = BTreeMap<usize, Vec<u8>>;

async fn read(source: &mut dyn ContentSource) -> Result<Contents, DriverError> {
    let mut contents = Contents::new();
    let mut before = 0;
    while let Some(Piece { content, extent }) = source.next().await? {
        assert!(!extent.data.is_empty() && extent.data.len() <= Extent::BYTES_MAX);
        assert!(source.position_bytes() >= before, "the position falls back");
        before = source.position_bytes();
        let bytes = contents.entry(content).or_default();
        let end = usize::try_from(extent.end()).expect("a size");
        bytes.resize(bytes.len().max(end), 0);
        bytes[end - extent.data.len()..end].copy_from_slice(&extent.data);
    }
    assert!(source.next().await.expect("the end stays").is_none());
    Ok(contents)
}

#[tokio::test]
async fn a_machines_archive_is_read_whole() {
    let bytes = fixture("two-disk/vzdump-qemu-113-2024_01_31-12_30_00.vma.zst");
    let header = Reader::open(&bytes[..]).expect("an archive").header().clone();
    let mut source = source_of(&header, bytes.clone()).await;
    let contents = read(&mut source).await.expect("a complete archive");
    let whole: u64 = header.devices.iter().map(|device| device.size_bytes).sum();
    assert_eq!(source.position_bytes(), whole);
    let mut reader = Reader::open(&bytes[..]).expect("an archive");
    while let Some(piece) = reader.next().expect("sound") {
        let index = header.devices.iter().position(|it| it.id == piece.device).expect("a disk");
        let start = usize::try_from(piece.offset).expect("a size");
        assert_eq!(contents[&index][start..start + piece.data.len()], piece.data);
    }
}

/// The source of an archive whose contents are its devices in their order.
async fn source_of(header: &Header, bytes: Vec<u8>) -> ArchiveSource<Fetched> {
    let disks: Vec<(&str, u64)> = header
        .devices
        .iter()
        .map(|device| (vma_source::disk_name(&device.name), device.size_bytes))
        .collect();
    let decoding = Decoding::begin(VmForm::Machine, Cursor::new(bytes)).await.expect("an archive");
    let contents = decoding.contents(&spec(VmForm::Machine, &disks)).expect("its disks");
    ArchiveSource::new(decoding, contents, fetched(None))
}

#[tokio::test]
async fn contents_are_found_by_name_and_what_was_not_announced_is_refused() {
    let bytes = fixture("two-disk/vzdump-qemu-113-2024_01_31-12_30_00.vma.zst");
    let header = Reader::open(&bytes[..]).expect("an archive").header().clone();
    let names: Vec<_> = header.devices.iter().map(|it| vma_source::disk_name(&it.name)).collect();
    let sizes: Vec<_> = header.devices.iter().map(|it| it.size_bytes).collect();
    let of = |disks: &[(&str, u64)]| vma_source::contents(&header, &spec(VmForm::Machine, disks));
    let reversed = of(&[(names[1], sizes[1]), (names[0], sizes[0])]).expect("its disks");
    assert_eq!(reversed[&header.devices[0].id], 1);
    assert!(of(&[(names[0], sizes[0])]).unwrap_err().contains("was not announced"));
    assert!(of(&[(names[0], sizes[0]), (names[1], 1)]).unwrap_err().contains("another size"));
    let more = [(names[0], sizes[0]), (names[1], sizes[1]), ("sata5", 9)];
    assert!(of(&more).unwrap_err().contains("sata5 is not in the archive"));
    assert_eq!(vma_source::disk_name("drive-tpmstate0-backup"), "tpmstate0");
}

#[tokio::test]
async fn trap_08_an_archive_that_the_real_tool_would_accept_is_refused_when_it_is_cut() {
    let whole = fixture("one-disk/vzdump-qemu-112-2024_01_31-12_30_00.vma.zst");
    let header = Reader::open(&whole[..]).expect("an archive").header().clone();
    let extents: Vec<usize> =
        whole.windows(4).enumerate().filter(|(_, it)| *it == b"VMAE").map(|(at, _)| at).collect();
    // At the boundary of an extent, behind the header, within an extent.
    for cut in [extents[1], extents[0], extents[1] + 700] {
        let mut source = source_of(&header, whole[..cut].to_vec()).await;
        let error = read(&mut source).await.expect_err("it is cut");
        assert!(matches!(error, DriverError::Stream { .. }), "{error}");
    }
    let error = Decoding::begin(VmForm::Machine, Cursor::new(whole[..5000].to_vec())).await;
    assert!(error.is_err());
    assert!(Decoding::begin(VmForm::Machine, Cursor::new(Vec::new())).await.is_err());
}

#[tokio::test]
async fn trap_17_a_diskless_archive_has_no_contents() {
    let bytes = fixture("diskless/vzdump-qemu-117-2024_01_31-12_30_00.vma.zst");
    let mut source = source(VmForm::Machine, bytes).await.expect("an archive");
    assert_eq!(read(&mut source).await.expect("complete"), Contents::new());
    assert_eq!(source.position_bytes(), 0);
}

const TAR_FILE: &str = "lxc/vzdump-lxc-200-2026_11_22-02_02_38.tar.zst";

#[tokio::test]
async fn a_containers_archive_travels_byte_for_byte() {
    let bytes = fixture(TAR_FILE);
    let mut source = source(VmForm::Container, bytes.clone()).await.expect("an archive");
    let Head::Container(head) = &source.decoding.head else { panic!("a container") };
    assert!(head.config.contains("hostname: ct-200"), "{head:?}");
    let contents = read(&mut source).await.expect("complete");
    assert_eq!(source.position_bytes(), bytes.len() as u64);
    assert!(contents[&0] == bytes);
}

#[tokio::test]
async fn a_tar_that_is_cut_or_of_another_kind_is_refused() {
    let whole = fixture(TAR_FILE);
    for cut in [whole.len() / 2, 4096 + 17] {
        let mut source = source(VmForm::Container, whole[..cut].to_vec()).await.expect("a head");
        let error = read(&mut source).await.expect_err("it is cut");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
    // Without the configuration in front.
    let foreign = whole[2048..].to_vec();
    assert!(matches!(
        Decoding::begin(VmForm::Container, Cursor::new(foreign)).await,
        Err(ArchiveError::Tar(TarError::Foreign(_)))
    ));
    assert!(Decoding::begin(VmForm::Container, Cursor::new(vec![0; 1024])).await.is_err());
}

#[tokio::test]
async fn a_tar_of_another_length_than_the_node_told_is_refused() {
    let bytes = fixture(TAR_FILE);
    let told = bytes.len() as u64;
    for (told, good) in [(told, true), (told + 512, false)] {
        let decoding = Decoding::begin(VmForm::Container, Cursor::new(bytes.clone())).await;
        let contents = BTreeMap::from([(TAR, 0)]);
        let decoding = decoding.expect("an archive");
        let mut source = ArchiveSource::new(decoding, contents, fetched(Some(told)));
        assert_eq!(read(&mut source).await.is_ok(), good, "{told}");
    }
}

#[tokio::test]
async fn memory_is_bounded_and_the_thread_ends_with_its_reader() {
    /// An archive without end that notes how much was read and when it is dropped.
    struct Endless(std::sync::mpsc::Sender<u64>, u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(1);
            self.1 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            self.0.send(self.1).expect("the test listens");
        }
    }
    let (tell, read) = std::sync::mpsc::channel();
    let tar = fixture(TAR_FILE);
    let input = Cursor::new(tar).chain(Endless(tell, 0));
    let mut decoding = Decoding::begin(VmForm::Container, input).await.expect("a head");
    for _ in 0..8 {
        assert!(decoding.next().await.expect("bytes").is_some());
    }
    drop(decoding);
    let read = tokio::task::spawn_blocking(move || read.recv()).await.expect("a thread");
    let most = (8 + PIECES_MAX as u64 + 2) << 20;
    assert!(read.is_ok_and(|bytes| bytes <= most));
}
