//! What the stream promises, on streams in memory.

use bytes::Bytes;
use drs_model::Extent;
use proptest::prelude::*;

use super::decode::Decoder;
use super::encode::{Encoder, Totals};
use super::{Bounds, FRAME_HEAD_BYTES, GRAIN_BYTES, StreamError};

const MIB: usize = Extent::BYTES_MAX;

fn extent(offset: usize, data: Vec<u8>) -> Extent {
    Extent { offset: offset as u64, data: Bytes::from(data) }
}

/// Bytes that do not compress.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut data);
    data
}

fn encode(size_bytes: usize, extents: &[Extent]) -> (Vec<u8>, Totals) {
    let mut encoder = Encoder::new(Vec::new(), Some(size_bytes as u64)).unwrap();
    for extent in extents {
        encoder.write(extent).unwrap();
    }
    encoder.finish().unwrap()
}

/// The disk's bytes with holes as zeros, and how many bytes came in extents.
fn decode(stream: &[u8]) -> Result<(Vec<u8>, u64), StreamError> {
    let mut decoder = Decoder::new(stream)?;
    let mut disk = vec![0; usize::try_from(decoder.size_bytes().expect("a size")).unwrap()];
    while let Some(extent) = decoder.next()? {
        let start = usize::try_from(extent.offset).unwrap();
        disk[start..start + extent.data.len()].copy_from_slice(&extent.data);
    }
    let end = decoder.end().expect("the end was reached");
    assert_eq!(end.digest, blake3::hash(stream));
    assert_eq!(decoder.read_bytes(), stream.len() as u64);
    Ok((disk, end.data_bytes))
}

fn image(size_bytes: usize, extents: &[Extent]) -> Vec<u8> {
    let mut disk = vec![0; size_bytes];
    for extent in extents {
        let start = usize::try_from(extent.offset).unwrap();
        disk[start..start + extent.data.len()].copy_from_slice(&extent.data);
    }
    disk
}

#[test]
fn blocks_of_zeros_inside_extents_cost_nothing() {
    let mut data = vec![0; MIB];
    data[3 * GRAIN_BYTES] = 1;
    data[3 * GRAIN_BYTES + 1..5 * GRAIN_BYTES].fill(7);
    let extents = [extent(0, data), extent(MIB, vec![0; MIB])];
    let (stream, totals) = encode(2 * MIB, &extents);
    assert_eq!(totals.data_bytes, 2 * GRAIN_BYTES as u64);
    assert_eq!(totals.stored_bytes, stream.len() as u64);
    assert!(stream.len() < 200, "{} bytes stored", stream.len());
    let (disk, data_bytes) = decode(&stream).unwrap();
    assert_eq!(data_bytes, totals.data_bytes);
    assert!(disk == image(2 * MIB, &extents));
}

#[test]
fn what_does_not_compress_is_stored_as_it_is() {
    let extents = [extent(0, noise(MIB, 1)), extent(MIB, noise(1000, 2))];
    let (stream, _) = encode(MIB + 1000, &extents);
    assert!(stream.len() < MIB + 1000 + 200, "{} bytes stored", stream.len());
    assert!(decode(&stream).unwrap().0 == image(MIB + 1000, &extents));
}

#[test]
fn small_extents_that_touch_share_a_frame() {
    let parts: Vec<_> =
        (0..256).map(|n| extent(n * 4096, vec![(n % 255) as u8 + 1; 4096])).collect();
    let whole = image(MIB, &parts);
    let (stream, _) = encode(MIB, &parts);
    let (stream_of_one, _) = encode(MIB, &[extent(0, whole.clone())]);
    assert!(decode(&stream).unwrap().0 == whole);
    assert_eq!(stream.len(), stream_of_one.len());
}

#[test]
fn a_disk_without_data_is_a_header_and_a_trailer() {
    let (stream, totals) = encode(10 * MIB, &[]);
    assert_eq!((stream.len(), totals.data_bytes), (72, 0));
    assert_eq!(decode(&stream).unwrap().1, 0);
}

#[test]
fn the_file_is_laid_out_as_documented() {
    let (stream, _) = encode(4 * MIB, &[extent(MIB, vec![b'x'; 5])]);
    assert_eq!(&stream[..8], b"DRSDISK\n");
    assert_eq!(stream[8..12], 2u32.to_le_bytes());
    assert_eq!(stream[12..16], 1_048_576u32.to_le_bytes());
    assert_eq!(stream[16..24], (4 * MIB as u64).to_le_bytes());
    assert_eq!(&stream[24..32], &blake3::hash(&stream[..24]).as_bytes()[..8]);
    assert_eq!(stream[32..40], (MIB as u64).to_le_bytes());
    assert_eq!(stream[40..44], 5u32.to_le_bytes());
    assert_eq!(stream[44..48], 5u32.to_le_bytes());
    assert_eq!(&stream[48..53], b"xxxxx");
    assert_eq!(&stream[53..61], &blake3::hash(&stream[..53]).as_bytes()[..8]);
    assert_eq!(stream[61..69], u64::MAX.to_le_bytes());
    assert_eq!(stream[69..77], 5u64.to_le_bytes());
    assert_eq!(stream[77..85], 1u64.to_le_bytes());
    assert_eq!(stream[85..93], (4 * MIB as u64).to_le_bytes());
    assert_eq!(stream.len(), 101);
}

#[test]
fn a_newer_stream_is_called_newer_not_damaged() {
    let (mut stream, _) = encode(MIB, &[]);
    stream[8..12].copy_from_slice(&3u32.to_le_bytes());
    let check = blake3::hash(&stream[..24]);
    stream[24..32].copy_from_slice(&check.as_bytes()[..8]);
    assert!(matches!(decode(&stream), Err(StreamError::TooNew { found: 3 })));
}

#[test]
fn hostile_lengths_with_right_checks_are_refused() {
    let forge = |offset: u64, raw: u32, stored: u32, payload: &[u8]| {
        let (empty, _) = encode(MIB, &[]);
        let mut stream = empty[..32].to_vec();
        stream.extend(offset.to_le_bytes());
        stream.extend(raw.to_le_bytes());
        stream.extend(stored.to_le_bytes());
        stream.extend(payload);
        let check = blake3::hash(&stream);
        stream.extend(&check.as_bytes()[..8]);
        stream
    };
    let bomb = zstd::bulk::compress(&vec![0; 64 * MIB], 1).unwrap();
    let bomb_bytes = u32::try_from(bomb.len()).unwrap();
    for (offset, raw, stored, payload) in [
        (0, 0, 0, &[][..]),
        (0, u32::MAX, u32::MAX, &[]),
        (0, 5, 6, b"abcdef"),
        (u64::MAX - 1, 5, 5, b"abcde"),
        (MIB as u64, 5, 5, b"abcde"),
        (0, 5, 3, b"abc"),
        (0, MIB as u32, bomb_bytes, &bomb),
    ] {
        let result = decode(&forge(offset, raw, stored, payload));
        assert!(matches!(result, Err(StreamError::Damaged { at: 32..64, .. })), "{result:?}");
    }
}

#[test]
fn runs_stay_inside_the_disk() {
    let mut bounds = Bounds::new(Some(100));
    assert!(bounds.admit(30, 70).is_ok());
    assert!(bounds.admit(10, 20).is_ok());
    assert!(bounds.admit(100, 0).is_ok());
    assert!(bounds.admit(100, 1).is_err());
    assert!(Bounds::new(None).admit(u64::MAX, 2).is_err());
    assert!(Bounds::new(None).admit(u64::MAX - 1, 1).is_err());
    assert!(Bounds::new(None).admit(0, MIB + 1).is_err());
}

#[test]
fn extents_come_in_any_order() {
    let extents = [
        extent(5 * GRAIN_BYTES, noise(GRAIN_BYTES, 1)),
        extent(GRAIN_BYTES, noise(100, 2)),
        extent(3 * GRAIN_BYTES, noise(2 * GRAIN_BYTES, 3)),
        extent(0, noise(GRAIN_BYTES, 4)),
    ];
    let (stream, _) = encode(MIB, &extents);
    assert!(decode(&stream).unwrap().0 == image(MIB, &extents));
}

#[test]
fn a_content_of_unknown_length_ends_behind_its_last_byte_zeros_included() {
    let mut encoder = Encoder::new(Vec::new(), None).unwrap();
    encoder.write(&extent(0, noise(1000, 1))).unwrap();
    encoder.write(&extent(1000, vec![0; MIB])).unwrap();
    let (stream, totals) = encoder.finish().unwrap();
    assert_eq!(totals.size_bytes, 1000 + MIB as u64);
    let mut decoder = Decoder::new(stream.as_slice()).unwrap();
    assert_eq!(decoder.size_bytes(), None);
    while decoder.next().unwrap().is_some() {}
    assert_eq!(decoder.end().map(|end| end.size_bytes), Some(1000 + MIB as u64));
}

#[test]
fn a_stream_of_version_1_is_read() {
    let (stream, _) = encode(MIB, &[extent(0, noise(1000, 1))]);
    let mut old = stream[..8].to_vec();
    let check = |old: &mut Vec<u8>| {
        let digest = blake3::hash(old);
        old.extend(&digest.as_bytes()[..8]);
    };
    old.extend(1u32.to_le_bytes());
    old.extend(&stream[12..24]);
    check(&mut old);
    old.extend(&stream[32..stream.len() - 48]);
    check(&mut old);
    old.extend(&stream[stream.len() - 40..stream.len() - 16]);
    check(&mut old);
    let mut decoder = Decoder::new(old.as_slice()).unwrap();
    while decoder.next().unwrap().is_some() {}
    assert_eq!(decoder.end().map(|end| end.size_bytes), Some(MIB as u64));
}

/// A stream with a frame that is compressed, one that is not, and holes.
fn sample() -> (usize, Vec<Extent>) {
    let extents = vec![
        extent(100, b"DR Switch ".repeat(60)),
        extent(GRAIN_BYTES * 2, noise(700, 3)),
        extent(GRAIN_BYTES * 8, vec![9; 5000]),
    ];
    (MIB, extents)
}

#[test]
fn every_single_cut_and_every_added_byte_is_found() {
    let (size, extents) = sample();
    let (mut stream, _) = encode(size, &extents);
    for cut in 0..stream.len() {
        let result = decode(&stream[..cut]);
        assert!(matches!(result, Err(StreamError::Damaged { .. })), "cut at {cut}: {result:?}");
    }
    stream.push(0);
    assert!(matches!(decode(&stream), Err(StreamError::Damaged { .. })));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_found_in_its_piece(
        place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (size, extents) = sample();
        let (mut stream, _) = encode(size, &extents);
        let place = place.index(stream.len());
        stream[place] ^= 1 << bit;
        match decode(&stream) {
            Err(StreamError::Damaged { at, .. }) => {
                prop_assert!(at <= (place + FRAME_HEAD_BYTES) as u64, "said {at}, was {place}");
            }
            other => prop_assert!(false, "bit {bit} of byte {place}: {other:?}"),
        }
    }

    #[test]
    fn any_bytes_at_all_are_refused_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..400), header in any::<bool>()) {
        if header {
            let (mut stream, _) = encode(MIB, &[]);
            stream.truncate(32);
            stream.append(&mut bytes);
            bytes = stream;
        }
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn what_is_written_is_read(
        parts in prop::collection::vec((0usize..3 * GRAIN_BYTES, 0usize..3 * GRAIN_BYTES, 0u8..3), 0..12),
    ) {
        let mut extents = Vec::new();
        let mut at = 0;
        for (gap, bytes, kind) in parts {
            at += gap;
            let data = match kind {
                0 => vec![0; bytes],
                1 => vec![5; bytes],
                _ => noise(bytes, at as u64),
            };
            extents.push(extent(at, data));
            at += bytes;
        }
        let (stream, totals) = encode(at, &extents);
        let (disk, data_bytes) = decode(&stream).unwrap();
        prop_assert_eq!(data_bytes, totals.data_bytes);
        prop_assert!(disk == image(at, &extents));
    }
}
