//! Every packing that `vzdump` makes, and what becomes of damaged ones.

use std::io::{Read as _, Write as _};

use super::samples::{fixtures, json, sha256, unpacked};
use crate::compression::{self, Compression, Mismatch};
use crate::{Reader, VmaError};

/// The packed archives of the real tools: path, packing, sha256 of the content.
fn packed() -> Vec<(String, Compression, String)> {
    let mut found = Vec::new();
    for (name, archive) in json("manifest.json").as_object().unwrap() {
        for (suffix, packed) in archive["compressed"].as_object().unwrap() {
            let path = format!("{name}/{}", packed["file"].as_str().unwrap());
            let compression = match suffix.as_str() {
                "zst" => Compression::Zstd,
                "gz" => Compression::Gzip,
                _ => Compression::Lzo,
            };
            if fixtures().join(&path).exists() {
                found.push((path, compression, archive["archive_sha256"].as_str().unwrap().into()));
            }
        }
    }
    found
}

#[test]
fn every_packing_is_told_by_its_content_and_unpacked() {
    let packed = packed();
    for compression in [Compression::Gzip, Compression::Lzo, Compression::Zstd] {
        assert!(packed.iter().any(|(_, of, _)| *of == compression), "{compression}");
    }
    for (path, compression, digest) in packed {
        let file = std::fs::File::open(fixtures().join(&path)).unwrap();
        let mut input = compression::open(file).unwrap();
        assert_eq!(input.compression(), compression, "{path}");
        assert_eq!(compression.check_name(&path), Ok(()));
        let mut archive = Vec::new();
        input.read_to_end(&mut archive).unwrap();
        assert_eq!(sha256(&archive), digest, "{path}");
    }
}

#[test]
fn a_name_that_says_another_packing_is_told() {
    let told = Compression::Zstd.check_name("vzdump-qemu-112.vma.gz");
    let (named, found) = (Compression::Gzip, Compression::Zstd);
    let mismatch = Mismatch { name: "vzdump-qemu-112.vma.gz".into(), named, found };
    assert_eq!(
        mismatch.to_string(),
        "the name 'vzdump-qemu-112.vma.gz' says gzip, but the content is zstd"
    );
    assert_eq!(told, Err(mismatch));
    assert!(Compression::Lzo.check_name("a.vma").is_err());
    assert!(Compression::None.check_name("a.vma.lzo").is_err());
    assert_eq!(Compression::Lzo.check_name("backup"), Ok(()));
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    compression::open(packed)?.read_to_end(&mut bytes).map(|_| bytes)
}

/// One stream per packing of the same 100 KiB, in two blocks of lzop.
fn samples() -> [(Vec<u8>, Vec<u8>); 3] {
    let plain: Vec<u8> = (0..100_u32 << 10).map(|at| (at / 300 % 251) as u8).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(&plain).unwrap();
    let lzo = lzop(&plain);
    [gzip.finish().unwrap(), zstd.finish().unwrap(), lzo].map(|packed| (packed, plain.clone()))
}

/// What `lzop` makes of standard input: checksums of the plain and of the packed blocks.
fn lzop(plain: &[u8]) -> Vec<u8> {
    let adler = |bytes: &[u8]| {
        let mut sum = simd_adler32::Adler32::new();
        sum.write(bytes);
        sum.finish().to_be_bytes()
    };
    let head = [
        &[0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 5][..],
        &0x0300_000f_u32.to_be_bytes(),
        &[0; 12],
        b"\x03vma",
    ]
    .concat();
    let mut packed = [&b"\x89LZO\0\r\n\x1a\n"[..], &head, &adler(&head)].concat();
    for block in plain.chunks(64 << 10) {
        let mut room = vec![0; block.len() * 2];
        let length = lzallright::compress(block, &mut room, &mut lzallright::Dict::new()).unwrap();
        packed.extend((block.len() as u32).to_be_bytes());
        packed.extend((length as u32).to_be_bytes());
        packed.extend(adler(block));
        packed.extend(adler(&room[..length]));
        packed.extend(&room[..length]);
    }
    packed.extend([0; 4]);
    packed
}

#[test]
fn no_damage_of_a_packed_stream_goes_unseen() {
    for (packed, plain) in samples() {
        assert!(unpack(&packed).unwrap() == plain);
        let compression = Compression::detect(&packed);
        for at in 9..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 0x10;
            // A flipped time or level of gzip changes nothing that is read.
            assert!(unpack(&flipped).map_or(true, |bytes| bytes == plain), "{compression}: {at}");
            let cut = unpack(&packed[..at]);
            assert!(cut.is_err(), "{compression}: cut at {at} gives {:?}", cut.map(|b| b.len()));
        }
        let trailing = unpack(&[&packed[..], b"garbage"].concat());
        assert!(trailing.is_err(), "{compression}: trailing garbage");
    }
}

#[test]
fn a_packed_archive_that_is_cut_is_not_complete() {
    let of_disks = |(path, ..): &(String, Compression, String)| path.starts_with("one-disk/");
    let path = packed().into_iter().find(of_disks).unwrap().0;
    let packed = std::fs::read(fixtures().join(path)).unwrap();
    let archive = unpack(&packed).unwrap();
    assert!(Reader::open(&archive[..]).is_ok());
    let mut reader = Reader::open(compression::open(&packed[..packed.len() - 5]).unwrap()).unwrap();
    let error = loop {
        match reader.next() {
            Ok(piece) => assert!(piece.is_some(), "the archive seems complete"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, VmaError::Read { .. }), "{error:?}");
    assert!(reader.next().is_err(), "what failed once does not go on");
}

#[test]
fn concatenated_gzip_and_zstd_streams_are_one() {
    for (packed, plain) in samples().into_iter().take(2) {
        assert!(unpack(&packed.repeat(2)).unwrap() == plain.repeat(2));
    }
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(25).unwrap();
    encoder.write_all(&unpacked("one-disk/vzdump-qemu-112-2024_01_31-12_30_00.vma.zst")).unwrap();
    let error = unpack(&encoder.finish().unwrap()).unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
}
