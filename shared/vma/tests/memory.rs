//! No archive makes its reader take more than 64 MiB, however it is made.

use std::fs;
use std::io::{Seek as _, Write as _};

use drs_vma::{Config, Device, Header, Limit, Reader, VmaError, Writer, compression, verify};

const MEMORY_MAX_KIB: u64 = 64 << 10;
/// A cluster of each range of 2 GiB, which costs the reader most.
const STEP: u64 = 2 << 30;

/// As much header as is taken: 254 devices of the largest size, and configurations.
fn header() -> Header {
    let config = |index| Config { name: format!("config-{index}"), data: vec![b'#'; 65_000] };
    let device = |id| Device { id, name: format!("drive-scsi{id}"), size_bytes: 1 << 48 };
    Header {
        uuid: [1; 16],
        created_at: 0,
        configs: (0..15).map(config).collect(),
        devices: (1..=254).map(device).collect(),
    }
}

/// The largest memory of this process since it was asked to forget the one before.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|peak| peak.parse().ok()).expect("a number")
}

#[test]
fn the_wildest_archive_is_read_in_64_mib() {
    let mut file = tempfile::tempfile().unwrap();
    let mut encoder = zstd::Encoder::new(&mut file, 1).unwrap();
    encoder.window_log(24).unwrap();
    let mut writer = Writer::new(encoder, &header()).unwrap();
    let places = (0..4000).flat_map(|range| [1_u8, 254].map(|device| (device, range * STEP)));
    let mut refused = None;
    for (device, offset) in places {
        match writer.write(device, offset, &[device; 65536]) {
            Ok(()) => {}
            Err(VmaError::Limit { limit, .. }) => refused = Some(limit),
            Err(error) => panic!("{error}"),
        }
        if refused.is_some() {
            break;
        }
    }
    let Some(Limit::Disorder(ranges)) = refused else { panic!("{refused:?}") };
    assert_eq!(ranges, 4096);
    drop(writer);
    file.flush().unwrap();
    file.rewind().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let reader = Reader::open(compression::open(file).unwrap()).unwrap();
    let mut clusters = 0;
    let result = verify(reader, |progress| clusters = progress.clusters);
    let peak = peak_kib();
    // It was not finished, so it must not seem complete; but nearly all of it was read.
    assert!(matches!(result, Err(VmaError::Read { .. } | VmaError::Damaged { .. })), "{result:?}");
    assert!(clusters > 3900, "only {clusters} clusters were read");
    assert!(peak <= MEMORY_MAX_KIB, "the reader took {peak} KiB");
}
