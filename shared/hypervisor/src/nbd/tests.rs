use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use drs_model::Extent;
use drs_transport::BoxStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::{IN_FLIGHT, NbdError, Reader, Writer};

const MIB: usize = 1024 * 1024;

/// A real `qemu-nbd` in its own folder.
struct Server {
    folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    async fn start(image: &Path, format: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Command::new("qemu-nbd")
            .args(["--persistent", "--shared=4", "-f", format, "-x", "vda", "-k"])
            .arg(folder.path().join("s"))
            .args(options)
            .arg(image)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("qemu-nbd");
        let server = Self { folder, process };
        drop(server.connect().await);
        server
    }

    async fn connect(&self) -> BoxStream {
        let path = self.folder.path().join("s");
        for _ in 0..2000 {
            if let Ok(stream) = UnixStream::connect(&path).await {
                return Box::new(stream);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("qemu-nbd does not listen");
    }
}

/// An image with data at the given offsets, the rest a hole.
async fn image(folder: &Path, format: &str, size: usize, data: &[(usize, Vec<u8>)]) -> PathBuf {
    let raw = folder.join("image.raw");
    let file = std::fs::File::create(&raw).expect("a file");
    file.set_len(size as u64).expect("its size");
    for (offset, bytes) in data {
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, *offset as u64).expect("data");
    }
    if format == "raw" {
        return raw;
    }
    let path = folder.join("image.qcow2");
    let done = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", format])
        .args([&raw, &path])
        .status()
        .await;
    assert!(done.expect("qemu-img").success());
    path
}

/// Bytes without a pattern that compresses or repeats by the sector.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

async fn read_all(reader: &mut Reader) -> Vec<Extent> {
    let mut extents = Vec::new();
    while let Some(extent) = reader.next().await.expect("an extent") {
        extents.push(extent);
    }
    extents
}

fn assemble(size: usize, extents: &[Extent]) -> Vec<u8> {
    let mut disk = vec![0; size];
    for extent in extents {
        let from = usize::try_from(extent.offset).expect("an offset");
        disk[from..from + extent.data.len()].copy_from_slice(&extent.data);
    }
    disk
}

#[tokio::test]
async fn a_sparse_image_is_read_in_rising_order_without_its_holes() {
    for format in ["qcow2", "raw"] {
        let folder = tempfile::tempdir().expect("a folder");
        let size = 300 * MIB + 4096;
        let data = vec![
            (0, noise(3 * MIB + 700, 1)),
            (100 * MIB, noise(9 * MIB, 2)),
            (size - 5000, noise(5000, 3)),
        ];
        let path = image(folder.path(), format, size, &data).await;
        let server = Server::start(&path, format, &["--read-only"]).await;
        let mut reader = Reader::open(server.connect().await, "vda").await.expect("an export");
        assert_eq!(reader.size_bytes(), size as u64);
        let extents = read_all(&mut reader).await;
        assert!(extents.windows(2).all(|pair| pair[0].end() <= pair[1].offset));
        assert!(extents.iter().all(|extent| extent.data.len() <= Extent::BYTES_MAX));
        let read: usize = extents.iter().map(|extent| extent.data.len()).sum();
        assert!(read < 14 * MIB, "{format}: {read} bytes were read");
        let mut expected = vec![0; size];
        for (offset, bytes) in &data {
            expected[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        assert!(assemble(size, &extents) == expected, "{format}: other bytes");
        assert!(reader.next().await.expect("the end stays the end").is_none());
    }
}

#[tokio::test]
async fn an_empty_disk_and_a_large_one_cost_nothing() {
    for size in [0, 5_u64 << 40] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image.qcow2");
        let done = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&path)
            .arg(size.to_string())
            .status()
            .await;
        assert!(done.expect("qemu-img").success());
        let server = Server::start(&path, "qcow2", &["--read-only"]).await;
        let mut reader = Reader::open(server.connect().await, "vda").await.expect("an export");
        assert_eq!(reader.size_bytes(), size);
        assert_eq!(read_all(&mut reader).await, []);
    }
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let size = 64 * MIB + 512;
    let path = image(folder.path(), "qcow2", size, &[]).await;
    let bytes = noise(20 * MIB + 77, 9);
    let server = Server::start(&path, "qcow2", &["--cache=writeback", "--discard=unmap"]).await;
    let mut writer = Writer::open(server.connect().await, "vda").await.expect("an export");
    assert_eq!(writer.size_bytes(), size as u64);
    let start = size - bytes.len();
    for (at, piece) in bytes.chunks(MIB).enumerate().rev() {
        let offset = (start + at * MIB) as u64;
        let extent = Extent { offset, data: Bytes::copy_from_slice(piece) };
        writer.write(&extent).await.expect("a write");
    }
    writer.finish().await.expect("the end");
    let mut reader = Reader::open(server.connect().await, "vda").await.expect("an export");
    let disk = assemble(size, &read_all(&mut reader).await);
    assert!(disk[start..] == bytes && disk[..start].iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_wrong_name_and_a_read_only_export_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = image(folder.path(), "raw", MIB, &[(0, noise(MIB, 4))]).await;
    let server = Server::start(&path, "raw", &["--read-only"]).await;
    let wrong = Reader::open(server.connect().await, "vdb").await.err().expect("no such export");
    assert!(
        matches!(&wrong, NbdError::Refused(text) if text.contains("no such export")),
        "{wrong}"
    );
    let refused = Writer::open(server.connect().await, "vda").await.err().expect("read-only");
    assert!(refused.to_string().contains("read-only"), "{refused}");
}

#[tokio::test]
async fn a_write_beyond_the_end_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = image(folder.path(), "raw", MIB, &[]).await;
    let server = Server::start(&path, "raw", &[]).await;
    let mut writer = Writer::open(server.connect().await, "vda").await.expect("an export");
    let extent = Extent { offset: 1, data: Bytes::from(vec![1; MIB]) };
    assert!(matches!(writer.write(&extent).await, Err(NbdError::Refused(_))));
}

#[tokio::test]
async fn a_killed_server_is_an_error_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let size = 64 * MIB;
    let path = image(folder.path(), "raw", size, &[(0, noise(size, 5))]).await;
    let mut server = Server::start(&path, "raw", &[]).await;
    let mut reader = Reader::open(server.connect().await, "vda").await.expect("an export");
    let mut writer = Writer::open(server.connect().await, "vda").await.expect("an export");
    reader.next().await.expect("the first extent");
    server.process.kill().await.expect("a kill");
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the disk was read to its end without a server"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, NbdError::Io(_)), "{error}");
    let extent = Extent { offset: 0, data: Bytes::from(vec![1; MIB]) };
    let mut failed = false;
    for _ in 0..=IN_FLIGHT {
        failed |= writer.write(&extent).await.is_err();
    }
    assert!(failed);
}

/// Speaks the handshake of a server with an export of 8 MiB, up to the transmission phase.
async fn shake_hands(stream: &mut DuplexStream) {
    stream.write_all(b"NBDMAGICIHAVEOPT\x00\x03").await.expect("a greeting");
    let mut flags = [0; 4];
    stream.read_exact(&mut flags).await.expect("flags");
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.expect("an option");
        let option = u32::from_be_bytes(head[8..12].try_into().expect("4 bytes"));
        let length = u32::from_be_bytes(head[12..].try_into().expect("4 bytes"));
        stream.read_exact(&mut vec![0; length as usize]).await.expect("its data");
        let info = [&[0, 0][..], &(8 * MIB as u64).to_be_bytes(), &[0, 1]].concat();
        let replies: &[(u32, &[u8])] = match option {
            8 => &[(1, b"")],
            10 => &[(4, b"\x00\x00\x00\x01base:allocation"), (1, b"")],
            _ => &[(3, &info), (1, b"")],
        };
        for (kind, payload) in replies {
            stream.write_all(&0x0003_e889_0455_65a9_u64.to_be_bytes()).await.expect("a reply");
            stream.write_all(&option.to_be_bytes()).await.expect("a reply");
            stream.write_all(&kind.to_be_bytes()).await.expect("a reply");
            stream.write_all(&(payload.len() as u32).to_be_bytes()).await.expect("a reply");
            stream.write_all(payload).await.expect("a reply");
        }
        if option == 7 {
            return;
        }
    }
}

fn chunk(flags: u16, kind: u16, cookie: u64, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x668e_33ef_u32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The map `all data`, as the answer to the first and the second request.
fn honest_map(cookie: u64) -> Vec<u8> {
    let map = [1_u32.to_be_bytes(), (8 * MIB as u32).to_be_bytes(), [0; 4]].concat();
    chunk(1, 5, cookie, 12, &map)
}

/// What a reader says to a server that, after a proper handshake, sends these bytes.
async fn hostile(answers: Vec<Vec<u8>>) -> NbdError {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        shake_hands(&mut theirs).await;
        for answer in answers {
            if theirs.write_all(&answer).await.is_err() {
                return;
            }
        }
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.expect("the client's end");
    });
    let outcome = async {
        let mut reader = Reader::open(Box::new(ours), "vda").await?;
        while reader.next().await?.is_some() {}
        Ok::<_, NbdError>(())
    };
    let error = outcome.await.expect_err("a hostile server");
    server.await.expect("the server");
    error
}

#[tokio::test]
async fn a_hostile_server_is_an_error_never_a_panic() {
    let data_at = |offset: u64, length: u32| {
        [offset.to_be_bytes().as_slice(), &vec![7; length as usize]].concat()
    };
    let empty_map = [1_u32.to_be_bytes(), [0; 4], [0; 4]].concat();
    let error_text = [5_u32.to_be_bytes().as_slice(), &[0xff, 0xff], b"x"].concat();
    let read = |payload: &[u8], flags, kind, cookie| {
        let last = chunk(flags, kind, cookie, payload.len() as u32, payload);
        vec![honest_map(1), last]
    };
    let cases = vec![
        ("bad magic", vec![vec![0x11; 64]]),
        ("huge map", vec![chunk(1, 5, 1, u32::MAX - 3, &[])]),
        ("huge error", vec![chunk(1, 0x8001, 1, u32::MAX, &[0; 6])]),
        ("map that stands still", vec![chunk(1, 5, 1, 12, &empty_map)]),
        ("map for a stranger", vec![honest_map(77)]),
        ("data for a map", vec![chunk(1, 1, 1, 9, &data_at(0, 1))]),
        ("error text cut short", vec![chunk(1, 0x8001, 1, 7, &error_text)]),
        ("unknown kind", vec![chunk(1, 99, 1, 0, &[])]),
        ("data outside", read(&data_at(8 << 20, 512), 1, 1, 2)),
        ("data before", read(&data_at(0, 512), 1, 1, 3)),
        ("data longer than asked", read(&data_at(1, MIB as u32), 1, 1, 2)),
        ("wrong cookie", read(&data_at(0, 512), 1, 1, 1_000_000)),
        ("short answer", read(&data_at(0, 512), 1, 1, 2)),
        ("hole outside", read(&[[0xff; 8].as_slice(), &[0xff; 4]].concat(), 1, 2, 2)),
    ];
    for (name, answers) in cases {
        let error = hostile(answers).await;
        assert!(matches!(error, NbdError::Protocol(_)), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_error_answer_carries_its_meaning() {
    let payload = [28_u32.to_be_bytes().as_slice(), &[0, 4], b"full"].concat();
    let failing = chunk(1, 0x8001, 2, payload.len() as u32, &payload);
    let error = hostile(vec![honest_map(1), failing]).await;
    assert!(error.is_full());
    assert_eq!(error.to_string(), "reading at byte 0 failed: no space left (full)");
}

#[tokio::test]
async fn no_server_at_all_is_no_nbd_server() {
    for greeting in
        [b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n".as_slice(), b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"]
    {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(greeting).await.expect("a greeting");
        let error = Reader::open(Box::new(ours), "vda").await.err().expect("no NBD");
        assert!(error.to_string().contains("no newstyle NBD server"), "{error}");
    }
}
