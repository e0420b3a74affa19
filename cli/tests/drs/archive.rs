//! `drs archive` on what the real tools wrote, on damaged archives, and on its own.

mod create;
mod damage;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::bench::{Bench, Ran, until};

fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/proxmox")).join(path)
}

fn variant(name: &str) -> PathBuf {
    fixture(&format!("variants/{name}.vma.zst"))
}

/// A packed file's content.
fn unpacked(path: &Path) -> Vec<u8> {
    let file = File::open(path).expect("a fixture");
    let mut content = Vec::new();
    drs_vma::compression::open(file)
        .and_then(|mut unpacked| unpacked.read_to_end(&mut content))
        .expect("a sound fixture");
    content
}

impl Bench {
    /// Runs `drs archive` with these words, without a data directory.
    fn archive(&self, words: &[&str]) -> Ran {
        assert!(!self.data_dir().exists());
        self.run_words(&[&["archive"], words].concat())
    }

    /// As [`Bench::archive`], and it fails so; returns standard error.
    fn refused(&self, words: &[&str], code: i32, fault: &str) -> String {
        let ran = self.archive(words);
        assert_eq!((ran.code, &*ran.stdout), (code, ""), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("  code: {fault}\n")), "{words:?}: {}", ran.stderr);
        ran.stderr
    }

    fn path(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.folder()).expect("a folder").next().is_none()
    }
}

/// Archives of one machine that are packed in every way.
fn packed_in_every_way() -> [(PathBuf, &'static str); 5] {
    let one = |end| fixture(&format!("one-disk/vzdump-qemu-112-2024_01_31-12_30_00.vma.{end}"));
    let live = fixture("real-vzdump/vzdump-qemu-130-2026_11_22-01_55_42.vma.zst");
    let tiny = fixture("tiny-disks/vzdump-qemu-115-2024_01_31-12_30_00.vma");
    [
        (one("zst"), "zstd"),
        (one("gz"), "gzip"),
        (one("lzo"), "lzop"),
        (tiny, "not compressed"),
        (live, "zstd"),
    ]
}

#[test]
fn archives_are_listed_and_proven_however_they_are_packed_and_come() {
    let bench = Bench::bare();
    let mut digests = Vec::new();
    for (path, compression) in packed_in_every_way() {
        let name = path.display().to_string();
        let listed = bench.archive(&["list", &name, "--json"]).json();
        assert_eq!(
            (&listed["compression"], &listed["archive"]),
            (&compression.into(), &name.into())
        );
        assert_eq!(listed["configs"][0]["name"], "qemu-server.conf");
        assert!(listed["disks"][0]["size_bytes"].as_u64() > Some(0), "{listed}");
        let verified = bench
            .archive(&["verify", listed["archive"].as_str().expect("a name"), "--json"])
            .json();
        assert_eq!(
            (&verified["sound"], &verified["data_checksums"]),
            (&true.into(), &false.into())
        );
        digests.push(verified["contents"].clone());

        let piped = bench.fed("archive verify - --json", &path);
        assert_eq!(piped.code, 0, "{}", piped.stderr);
        assert_eq!(piped.json()["archive"], "standard input");
        assert_eq!(piped.json()["contents"], verified["contents"]);
    }
    assert!(digests[0] == digests[1] && digests[1] == digests[2], "one machine: {digests:?}");
}

#[test]
fn verify_says_what_it_cannot_prove_and_gives_digests_instead() {
    let bench = Bench::bare();
    let verified = |name: &str| bench.archive(&["verify", &variant(name).display().to_string()]);
    let sound = verified("own-writer-58");
    assert_eq!(sound.code, 0, "{}", sound.stderr);
    assert!(sound.stdout.contains("sound and complete"), "{}", sound.stdout);
    assert!(sound.stdout.contains("keeps no checksum of the data"), "{}", sound.stdout);
    let digests = |ran: &Ran| -> Vec<String> {
        let lines = ran.stdout.lines().filter(|line| line.starts_with("drive-"));
        lines.filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect()
    };
    let of_sound = digests(&sound);
    assert!(of_sound.iter().any(|digest| digest.len() == 64), "{}", sound.stdout);
    assert_eq!(of_sound, digests(&verified("out-of-order")));
    assert_ne!(
        of_sound,
        digests(&verified("data-bit-flip")),
        "the digest tells what nothing else does"
    );
}

#[test]
fn a_file_that_is_something_else_than_its_name_says_is_refused_with_both() {
    let bench = Bench::bare();
    let (zstd, plain, tar) = (
        fixture("tiny-disks/vzdump-qemu-115-2024_01_31-12_30_00.vma.zst"),
        fixture("tiny-disks/vzdump-qemu-115-2024_01_31-12_30_00.vma"),
        fixture("lxc/vzdump-lxc-200-2026_11_22-02_02_38.tar.zst"),
    );
    for (from, name, named, found) in [
        (&zstd, "a.vma", "says not compressed", "the content is zstd"),
        (&zstd, "a.vma.gz", "says gzip", "the content is zstd"),
        (&plain, "b.vma.lzo", "says lzop", "the content is not compressed"),
        (&zstd, "c.tar.zst", "container (.tar)", "machine (VMA)"),
        (&tar, "d.vma.zst", "machine (.vma)", "container (tar)"),
    ] {
        let path = bench.path(name);
        fs::copy(from, &path).expect("a copy");
        for words in
            [&["list", &path][..], &["verify", &path], &["extract", &path, &bench.path("out")]]
        {
            let told = bench.refused(words, 2, "invalid_input");
            for part in [&*path, named, found, "Proxmox VE goes by the name"] {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
        fs::remove_file(&path).expect("removed");
        assert!(bench.is_empty());
    }
    fs::copy(&zstd, bench.path("whatever")).expect("a copy");
    assert_eq!(
        bench.archive(&["verify", &bench.path("whatever")]).code,
        0,
        "a name that says nothing"
    );
}

#[test]
fn an_archive_of_a_container_is_recognised() {
    let bench = Bench::bare();
    let path = fixture("lxc/vzdump-lxc-200-2026_11_22-02_02_38.tar.zst");
    let told = bench.refused(&["list", &path.display().to_string()], 2, "invalid_input");
    assert!(
        told.contains("of a container, not of a machine") && told.contains("pct restore"),
        "{told}"
    );
    let piped = bench.fed("archive verify -", &path);
    assert_eq!(piped.code, 2);
    assert!(
        piped.stderr.contains("standard input is an archive of a container"),
        "{}",
        piped.stderr
    );
}

#[test]
fn what_is_no_archive_at_all_is_told_so() {
    let bench = Bench::bare();
    fs::write(bench.folder().join("empty.vma"), "").expect("a file");
    for path in [fixture("README.md").display().to_string(), bench.path("empty.vma")] {
        for command in ["list", "verify"] {
            bench.refused(&[command, &path], 11, "archive_damaged");
        }
    }
    let told = bench.refused(
        &["list", &fixture("README.md").display().to_string()],
        11,
        "archive_damaged",
    );
    assert!(told.contains("is no archive of Proxmox VE"), "{told}");
    let told = bench.refused(&["list", &bench.path("nowhere.vma")], 2, "invalid_input");
    assert!(told.contains("nowhere.vma: No such file"), "{told}");
    bench.refused(&["list", &bench.path("")], 2, "invalid_input");
    let ran = bench.run("archive list -");
    assert_eq!(ran.code, 11, "an empty standard input: {}", ran.stderr);
}

#[test]
fn extract_makes_every_file_and_never_touches_what_is_there() {
    let bench = Bench::bare();
    let (archive, out) =
        (variant("size-not-multiple-of-512").display().to_string(), bench.path("out"));
    let extracted = bench.archive(&["extract", &archive, &format!("{out}/"), "--json"]).json();
    let mut there: Vec<String> = fs::read_dir(&out)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    there.sort();
    let mut told: Vec<&str> = extracted["files"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|file| file.as_str())
        .collect();
    told.sort_unstable();
    assert_eq!(there, told);
    for disk in extracted["disks"].as_array().expect("a list") {
        let file = format!("{out}/disk-{}.raw", disk["name"].as_str().expect("a name"));
        assert_eq!(Some(fs::metadata(file).expect("a disk").len()), disk["size_bytes"].as_u64());
    }

    fs::write(bench.folder().join("file"), "mine").expect("a file");
    symlink("nowhere", bench.folder().join("link")).expect("a link");
    fs::create_dir(bench.folder().join("free.partial")).expect("a folder");
    for (name, remedy) in [
        ("out", "Nothing is overwritten"),
        ("file", "Nothing is overwritten"),
        ("link", "Nothing is overwritten"),
        ("free", "when none is, remove it"),
    ] {
        let told = bench.refused(&["extract", &archive, &bench.path(name)], 4, "already_exists");
        assert!(told.contains("exists already") && told.contains(remedy), "{name}: {told}");
    }
    assert_eq!(fs::read(bench.folder().join("file")).expect("a file"), b"mine");
    assert!(bench.folder().join("free.partial").exists() && !bench.folder().join("free").exists());
}

#[test]
fn what_was_interrupted_is_removed_even_while_nothing_comes() {
    for signal in [Signal::INT, Signal::TERM] {
        let bench = Bench::bare();
        let archive = unpacked(&variant("own-writer-58"));
        let (half, partial) = (&archive[..archive.len() / 2], bench.folder().join("out.partial"));
        let (extract, input) =
            bench.start_fed(&format!("archive extract - {}", bench.path("out")), half);
        until("the partial directory", || partial.exists().then_some(()));
        extract.signal(signal);
        let ran = extract.ends();
        assert_eq!(ran.code, 130, "{}", ran.stderr);
        assert!(ran.stderr.contains("what was unfinished is removed"), "{}", ran.stderr);
        assert!(!partial.exists() && !bench.folder().join("out").exists());
        drop(input);
    }
}

#[test]
fn whoever_reads_the_answer_may_stop() {
    let bench = Bench::bare();
    let archive = variant("own-writer-58").display().to_string();
    let ran = bench.unheard(&format!("archive list {archive}"));
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
}
