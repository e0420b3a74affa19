use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use drs_model::Extent;
use drs_vma::{Config, Device, Reader};

use super::*;

const KIB: u64 = 1024;
/// No multiple of a cluster, nor of a block.
const SIZES: [u64; 2] = [300 * KIB + 512, 64 * KIB];

/// An output in memory that knows whether it was completed.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(Vec<u8>, bool)>>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.0.lock().expect("the output")
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.state().0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Memory {
    fn complete(self) -> io::Result<()> {
        self.state().1 = true;
        Ok(())
    }
}

/// An output that breaks after so many bytes.
struct Breaking(usize);

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Breaking {
    fn complete(self) -> io::Result<()> {
        Ok(())
    }
}

/// Two disks whose devices stand in the other order than their contents.
fn machine() -> Layout {
    let device = |id: u8, size_bytes| Device { id, name: format!("drive-scsi{id}"), size_bytes };
    let header = Header {
        uuid: [7; 16],
        created_at: 1_700_000_000,
        configs: vec![Config { name: "qemu-server.conf".into(), data: b"cores: 1\n".to_vec() }],
        devices: vec![device(1, SIZES[1]), device(2, SIZES[0])],
    };
    Layout::Machine { header, devices: vec![2, 1] }
}

fn disk(content: usize) -> Vec<u8> {
    (0..SIZES[content]).map(|at| (at / 512 % 250 + 1) as u8 ^ (content as u8) << 7).collect()
}

fn piece(content: usize, offset: u64, data: &[u8]) -> Piece {
    Piece { content, extent: Extent { offset, data: Bytes::copy_from_slice(data) } }
}

/// The disks of an archive, by the names of their devices.
fn read(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::open(archive).expect("an archive");
    let devices = reader.header().devices.clone();
    let mut disks: Vec<Vec<u8>> =
        devices.iter().map(|it| vec![0; usize::try_from(it.size_bytes).expect("a size")]).collect();
    while let Some(piece) = reader.next().expect("a whole archive") {
        let at = usize::try_from(piece.offset).expect("an offset");
        disks[usize::from(piece.device) - 1][at..at + piece.data.len()]
            .copy_from_slice(&piece.data);
    }
    devices.into_iter().map(|it| it.name).zip(disks).collect()
}

/// Writes both disks in steps of so many bytes, turn by turn.
async fn write_in_steps(step: usize) -> Vec<u8> {
    let memory = Memory::default();
    let mut feed = Feed::start(machine(), memory.clone());
    let disks = [disk(0), disk(1)];
    let turns = SIZES[0].div_ceil(step as u64) as usize;
    for turn in 0..turns {
        for (content, disk) in disks.iter().enumerate() {
            let Some(rest) = disk.get(turn * step..).filter(|rest| !rest.is_empty()) else {
                continue;
            };
            let part = &rest[..step.min(rest.len())];
            feed.write(piece(content, (turn * step) as u64, part)).await.expect("a write");
        }
    }
    feed.finish().await.expect("the end");
    let state = memory.state();
    assert!(state.1, "the output is complete");
    state.0.clone()
}

#[tokio::test]
async fn pieces_of_any_length_become_whole_clusters() {
    for step in [512, 4096, 10_000, 64 * 1024, 100_000, 1024 * 1024] {
        let disks = read(&write_in_steps(step).await);
        let (first, second) = (disks[0].clone(), disks[1].clone());
        assert_eq!(first.0, "drive-scsi1");
        assert!(first.1 == disk(1) && second.1 == disk(0), "steps of {step}");
    }
}

#[tokio::test]
async fn clusters_come_in_any_order_and_holes_are_zeros() {
    let memory = Memory::default();
    let mut feed = Feed::start(machine(), memory.clone());
    feed.write(piece(0, 256 * KIB, &[1; 4096])).await.expect("the fifth cluster");
    feed.write(piece(0, 256 * KIB + 40 * KIB, &[2; 512])).await.expect("still the fifth");
    feed.write(piece(0, 5, &[3; 10])).await.expect("the first");
    feed.finish().await.expect("the end");
    let (_, second) = read(&memory.state().0)[1].clone();
    let mut wanted = vec![0; SIZES[0] as usize];
    wanted[256 * 1024..260 * 1024].fill(1);
    wanted[296 * 1024..296 * 1024 + 512].fill(2);
    wanted[5..15].fill(3);
    assert!(second == wanted);
}

#[tokio::test]
async fn what_has_no_place_in_the_archive_is_refused() {
    let back = [piece(0, 0, &[1; 10]), piece(0, 64 * KIB, &[1; 10]), piece(0, 20, &[1; 10])];
    let beyond = [piece(1, 64 * KIB - 1, &[1; 2])];
    let nowhere = [piece(2, 0, &[1; 2])];
    for pieces in [&back[..], &beyond[..], &nowhere[..]] {
        let memory = Memory::default();
        let mut feed = Feed::start(machine(), memory.clone());
        let mut result = Ok(());
        for piece in pieces {
            result = feed.write(piece.clone()).await;
        }
        let result = if result.is_ok() { feed.finish().await } else { result };
        assert!(matches!(result, Err(FeedError::Misplaced(_))), "{result:?}");
        assert!(!memory.state().1, "it is not taken for complete");
    }
}

#[tokio::test]
async fn an_archive_that_is_given_up_is_not_complete() {
    let memory = Memory::default();
    let mut feed = Feed::start(machine(), memory.clone());
    feed.write(piece(1, 0, &disk(1))).await.expect("a write");
    let written = feed.written.take().expect("a task");
    drop(feed);
    assert!(matches!(written.await, Ok(Err(FeedError::Abandoned))));
    assert!(!memory.state().1);
}

#[tokio::test]
async fn the_failure_of_the_output_is_told() {
    let mut feed = Feed::start(machine(), Breaking(20_000));
    let mut result = Ok(());
    for offset in (0..SIZES[0]).step_by(512) {
        result = feed.write(piece(0, offset, &[1; 512])).await;
        if result.is_err() {
            break;
        }
    }
    let result = if result.is_ok() { feed.finish().await } else { result };
    let Err(FeedError::Output(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_tar_passes_through_with_its_holes_filled() {
    for (size_bytes, length) in [(Some(300_000), 300_000), (None, 204_800)] {
        let memory = Memory::default();
        let mut feed = Feed::start(Layout::Container { size_bytes }, memory.clone());
        feed.write(piece(0, 0, &[1; 1000])).await.expect("the beginning");
        feed.write(piece(0, 200_000, &[2; 1000])).await.expect("behind a hole");
        feed.finish().await.expect("the end");
        let mut wanted = vec![0; length];
        wanted[..1000].fill(1);
        wanted[200_000..201_000].fill(2);
        assert!(memory.state().0 == wanted && memory.state().1);
    }
    let mut feed = Feed::start(Layout::Container { size_bytes: None }, Memory::default());
    feed.write(piece(0, 1000, &[1; 10])).await.expect("a hole");
    drop(feed.write(piece(0, 500, &[1; 10])).await);
    let back = feed.finish().await;
    assert!(matches!(back, Err(FeedError::Misplaced(_) | FeedError::Abandoned)), "{back:?}");
}
