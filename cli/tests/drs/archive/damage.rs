//! Damaged and hostile archives: refused with the place, and nothing is left.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{fixture, unpacked, variant};
use crate::bench::{Bench, local};

/// The damaged variants, the place where it is seen, and what is said of it.
const DAMAGES: [(&str, u64, &str); 13] = [
    ("block-count-too-large", 640_518, "states 91 blocks, its slots hold 90"),
    ("cluster-beyond-end", 640_856, "has 71 clusters, there is no cluster 1000"),
    ("dev-id-255", 12_256, "cannot have id 255"),
    ("duplicate-cluster", 640_856, "cluster 4 of device 1 occurs twice"),
    ("extent-header-bit-flip", 640_536, "checksum of the extent's header"),
    ("header-only", 13_312, "ends behind its header"),
    ("missing-cluster", 993_280, "1 of 71 clusters of 'drive-scsi0' are missing, first 3"),
    ("trailing-garbage", 1_009_764, "ends within the header of an extent: 100 of 512"),
    ("truncated-at-extent-boundary", 640_512, "13 of 71 clusters of 'drive-scsi0' are missing"),
    ("truncated-in-header", 9_000, "ends within the header: 9000 of 12288"),
    ("unknown-dev", 640_856, "device 9 is not in the header"),
    ("wrong-extent-uuid", 640_520, "belongs to another archive"),
    ("wrong-version", 4, "version 2 of the format is unknown"),
];

#[test]
fn every_damaged_variant_is_refused_with_its_place_and_leaves_nothing() {
    let bench = Bench::bare();
    for (name, at, what) in DAMAGES {
        let archive = variant(name).display().to_string();
        for words in [&["verify", &archive][..], &["extract", &archive, &bench.path("out")]] {
            let told = bench.refused(words, 11, "archive_damaged");
            let place = format!("{archive}: byte {at}: ");
            for part in [&*place, what, "unpacked archive", "Do not trust"] {
                assert!(told.contains(part), "{words:?} lacks {part}: {told}");
            }
            assert!(bench.is_empty(), "{words:?}");
        }
    }
}

#[test]
fn no_damaged_variant_is_forgotten() {
    const SOUND: [&str; 5] = [
        "data-bit-flip",
        "out-of-order",
        "own-writer-58",
        "reserved-byte-set-in-blockinfo",
        "size-not-multiple-of-512",
    ];
    let bench = Bench::bare();
    for entry in fs::read_dir(fixture("variants")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let Some(name) = name.strip_suffix(".vma.zst") else { continue };
        if DAMAGES.iter().all(|(damaged, ..)| *damaged != name) {
            assert!(SOUND.contains(&name), "{name}");
            assert_eq!(bench.archive(&["verify", &path.display().to_string()]).code, 0, "{name}");
        }
    }
}

#[test]
fn a_packing_that_is_cut_or_bent_is_damage_too() {
    let bench = Bench::bare();
    let one = |end| fixture(&format!("one-disk/vzdump-qemu-112-2024_01_31-12_30_00.vma.{end}"));
    for end in ["zst", "gz", "lzo"] {
        let whole = fs::read(one(end)).expect("a fixture");
        let mut bent = whole.clone();
        let middle = bent.len() / 2;
        bent[middle] ^= 0x10;
        for (case, content) in
            [("cut", &whole[..whole.len() - 3]), ("half", &whole[..middle]), ("bent", &bent)]
        {
            let path = bench.path(&format!("{case}.vma.{end}"));
            fs::write(&path, content).expect("a file");
            let told = bench.refused(&["verify", &path], 11, "archive_damaged");
            assert!(told.contains(&path) && told.contains("byte "), "{told}");
            bench.refused(&["extract", &path, &bench.path("out")], 11, "archive_damaged");
            assert!(
                !bench.folder().join("out").exists()
                    && !bench.folder().join("out.partial").exists()
            );
        }
    }
}

/// The sound archive with another name in its header, and the header's checksum put right.
fn renamed(bench: &Bench, from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let mut archive = unpacked(&variant("own-writer-58"));
    let header = u32::from_be_bytes(archive[56..60].try_into().expect("four bytes")) as usize;
    // A name, unlike a text in a configuration, ends with a NUL.
    let name = [from.as_bytes(), b"\0"].concat();
    let place = archive[..header].windows(name.len()).position(|text| text == name);
    let place = place.expect("the name");
    archive[place..place + to.len()].copy_from_slice(to.as_bytes());
    archive[32..48].fill(0);
    fs::write(bench.folder().join("header"), &archive[..header]).expect("a file");
    let sum = local("md5sum").arg(bench.folder().join("header")).stdin(Stdio::null()).output();
    let sum = String::from_utf8(sum.expect("md5sum runs").stdout).expect("text");
    for (byte, digits) in archive[32..48].iter_mut().zip(sum.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).expect("digits");
        *byte = u8::from_str_radix(digits, 16).expect("digits");
    }
    let path = bench.path("hostile.vma");
    fs::write(&path, archive).expect("a file");
    path
}

#[test]
fn no_name_leads_out_of_the_directory() {
    for (from, to, rule) in [
        ("qemu-server.conf", "../a-server.conf", "'/' or a control character"),
        ("qemu-server.conf", "/tmp/server.conf", "'/' or a control character"),
        ("qemu-server.conf", "qemu\x1b[2Jver.conf", "'/' or a control character"),
        ("drive-scsi0", "../../scsi0", "'/' or a control character"),
    ] {
        let bench = Bench::bare();
        let inner = bench.folder().join("inner");
        fs::create_dir(&inner).expect("a folder");
        let (archive, out) = (renamed(&bench, from, to), inner.join("out"));
        let told = bench.refused(
            &["extract", &archive, &out.display().to_string()],
            11,
            "archive_damaged",
        );
        assert!(told.contains(rule) && !told.contains('\x1b'), "{told}");
        bench.refused(&["list", &archive], 11, "archive_damaged");
        assert_eq!(fs::read_dir(&inner).expect("a folder").count(), 0, "{to}");
        assert!(!bench.folder().join("a-server.conf").exists());
        assert!(!Path::new("/tmp/server.conf").exists());
    }
}

/// A script because the small file system lives in a mount namespace of its own.
const SMALL: &str = r#"
set -eu
drs=$1 dir=$2 archive=$3
mount -t tmpfs -o size=64k small "$dir"
code=0
"$drs" archive extract "$archive" "$dir/out" || code=$?
echo "code $code"
ls -A "$dir"
"#;

#[test]
fn a_disk_that_fills_up_is_12_and_nothing_is_left() {
    let bench = Bench::bare();
    let output = local("unshare")
        // Root may mount as it is; anybody else may in a user namespace.
        .args(["--map-root-user"].iter().filter(|_| !rustix::process::geteuid().is_root()))
        .args(["--mount", "sh", "-c", SMALL, "sh", env!("CARGO_BIN_EXE_drs")])
        .arg(bench.folder())
        .arg(variant("own-writer-58"))
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "code 12\n", "{stderr}");
    assert!(stderr.contains("disk_full") && stderr.contains("Free space there"), "{stderr}");
}
