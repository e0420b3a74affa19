//! Archives that `drs archive create` makes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use super::fixture;
use crate::bench::{Bench, until};

const MIB: usize = 1 << 20;
/// As `vzdump` calls its archives.
const NAME: &str = "vzdump-qemu-112-2026_11_22-12_00_00.vma";

/// A configuration and two disks: one of 3 MiB and 512 bytes with a hole, one of zeros.
fn machine(bench: &Bench) -> Vec<String> {
    let config = fixture("two-disk/qemu-server.conf");
    fs::copy(config, bench.folder().join("qemu-server.conf")).expect("a copy");
    let disk = File::create(bench.folder().join("a.raw")).expect("a file");
    disk.set_len(3 * MIB as u64 + 512).expect("a size");
    disk.write_all_at(b"begin", 0).expect("written");
    disk.write_all_at(&[0xa5; 512], 3 * MIB as u64).expect("written");
    File::create(bench.folder().join("b.raw"))
        .and_then(|file| file.set_len(64 * 1024))
        .expect("a file");
    ["--config", &bench.path("qemu-server.conf"), "--disk"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("drive-scsi0={}", bench.path("a.raw")), "--disk".to_owned()])
        .chain([format!("drive-virtio1={}", bench.path("b.raw"))])
        .collect()
}

fn words<'a>(file: &'a str, machine: &'a [String]) -> Vec<&'a str> {
    ["create", file].into_iter().chain(machine.iter().map(String::as_str)).collect()
}

fn same(bench: &Bench, left: &str, right: &str) {
    let read = |name: &str| fs::read(bench.folder().join(name)).expect("a file");
    assert!(read(left) == read(right), "{left} and {right} differ");
}

#[test]
fn what_is_created_is_listed_proven_and_extracted_again() {
    for (end, compression) in [("", "not compressed"), (".zst", "zstd")] {
        let bench = Bench::bare();
        let (machine, file) = (machine(&bench), bench.path(&format!("{NAME}{end}")));
        let made = bench.archive(&[&words(&file, &machine)[..], &["--json"]].concat()).json();
        assert_eq!(made["archive"], file.as_str());
        assert_eq!(made["size_bytes"].as_u64(), Some(fs::metadata(&file).expect("made").len()));
        let listed = bench.archive(&["list", &file, "--json"]).json();
        assert_eq!(listed["compression"], compression);
        assert_eq!(listed["disks"][0]["name"], "drive-scsi0");
        assert_eq!(listed["disks"][1]["size_bytes"], 65536);
        let verified = bench.archive(&["verify", &file, "--json"]).json();
        assert_eq!(verified["contents"][0]["data_bytes"], 8192);
        assert_eq!(bench.archive(&["extract", &file, &bench.path("out")]).code, 0);
        same(&bench, "a.raw", "out/disk-drive-scsi0.raw");
        same(&bench, "b.raw", "out/disk-drive-virtio1.raw");
        same(&bench, "qemu-server.conf", "out/qemu-server.conf");

        let told = bench.refused(&words(&file, &machine), 4, "already_exists");
        assert!(told.contains("Nothing is overwritten"), "{told}");
        assert_eq!(bench.archive(&["verify", &file, "--json"]).json()["uuid"], listed["uuid"]);
    }
}

#[test]
fn an_archive_goes_to_standard_output_and_comes_from_standard_input() {
    let bench = Bench::bare();
    let (machine, file) = (machine(&bench), bench.folder().join("stream"));
    let line = format!("archive create - {}", machine.join(" "));
    let ran = bench.to_file(&line, &file);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let listed = bench.fed("archive list - --json", &file).json();
    assert_eq!(
        (&listed["archive"], &listed["compression"]),
        (&"standard input".into(), &"not compressed".into())
    );

    let full = bench.to_file(&line, "/dev/full".as_ref());
    assert_eq!(full.code, 12, "{}", full.stderr);
    let unheard = bench.unheard(&line);
    assert_eq!(unheard.code, 2, "what nobody reads is not made: {}", unheard.stderr);
    assert!(unheard.stderr.contains("incomplete"), "{}", unheard.stderr);
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let bench = Bench::bare();
    machine(&bench);
    let (config, disk) = (bench.path("qemu-server.conf"), bench.path("a.raw"));
    fs::create_dir(bench.folder().join("other")).expect("a folder");
    fs::copy(&config, bench.folder().join("other/qemu-server.conf")).expect("a copy");
    let empty = bench.path("empty.raw");
    fs::write(&empty, "").expect("a file");
    let before = fs::read_dir(bench.folder()).expect("a folder").count();
    let named = |name: &str| format!("{name}={disk}");
    for (file, disks, rest, says) in [
        ("a.zip", [named("a"), named("b")], &config, "ends neither in .vma nor in .vma.zst"),
        ("a.vma.gz", [named("a"), named("b")], &config, "ends neither in .vma nor in .vma.zst"),
        ("a.vma", [named("../a"), named("b")], &config, "'/' or a control character"),
        ("a.vma", [named("a"), named("a")], &config, "the name 'a' occurs twice"),
        ("a.vma", [named("a"), named("b")], &bench.path("other/qemu-server.conf"), "occurs twice"),
        (
            "a.vma.zst",
            [named("a"), format!("b={}", bench.path("none"))],
            &config,
            "none: No such file",
        ),
        ("a.vma", [named("a"), "b=/dev/zero".into()], &config, "no file and no block device"),
        ("a.vma", [named("a"), format!("b={empty}")], &config, "is empty: a disk has bytes"),
        ("a.vma", [named("a"), named("b")], &bench.path("none.conf"), "none.conf: No such file"),
        ("no/a.vma", [named("a"), named("b")], &config, "No such file"),
    ] {
        let file = bench.path(file);
        let [first, second] = &disks;
        let words = [
            "create", &file, "--config", &config, "--config", rest, "--disk", first, "--disk",
            second,
        ];
        // The same configuration twice is a mistake of its own.
        let words: Vec<&str> = match rest == &config {
            true => words
                .into_iter()
                .enumerate()
                .filter(|(at, _)| !(4..6).contains(at))
                .map(|(_, word)| word)
                .collect(),
            false => words.to_vec(),
        };
        let told = bench.refused(&words, 2, "invalid_input");
        assert!(told.contains(says), "{says}: {told}");
        assert_eq!(fs::read_dir(bench.folder()).expect("a folder").count(), before, "{words:?}");
    }
    let told = bench.refused(&["list", &empty], 11, "archive_damaged");
    assert!(told.contains("is empty"), "{told}");
    fs::write(bench.folder().join("left.vma.partial"), "").expect("a file");
    let machine = machine(&bench);
    let told = bench.refused(&words(&bench.path("left.vma"), &machine), 4, "already_exists");
    assert!(told.contains("when none is, remove it"), "{told}");
}

#[test]
fn an_interrupted_archive_is_removed() {
    let bench = Bench::bare();
    let config = fixture("two-disk/qemu-server.conf");
    // Sparse and larger than what is written in the time of this test.
    let disk = bench.folder().join("large.raw");
    File::create(&disk).and_then(|file| file.set_len(1 << 43)).expect("a sparse file");
    let (file, partial) = (bench.path(NAME), bench.folder().join(format!("{NAME}.partial")));
    let disk = format!("drive-scsi0={}", disk.display());
    let create =
        bench.start(&format!("archive create {file} --config {} --disk {disk}", config.display()));
    until("the first extents", || {
        partial.metadata().is_ok_and(|file| file.len() > 0).then_some(())
    });
    create.signal(Signal::INT);
    let ran = create.ends();
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(!partial.exists() && !bench.folder().join(NAME).exists());
}
