//! Archives as files: `drs archive verify` against reading the same file with dd, `drs archive
//! extract` against reading it and writing as many bytes with dd, on the same disk, in turns.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise, statvfs};
use tempfile::TempDir;

use crate::numbers::{median, seconds};
use crate::product::Product;
use crate::table::Table;

const PAIRS: usize = 5;
const MIB: u64 = 1 << 20;
/// Data of the disk, in MiB: nearly the length of the archive.
const DATA_MIB: u64 = 4096;
/// Data and the hole behind it take turns on the disk, in MiB.
const STRETCH_MIB: u64 = 16;
const HOLE_MIB: u64 = 4;
/// The archive, and beside it either the disk that it is made of or one copy of that.
const SPACE_MIB: u64 = 2 * DATA_MIB + 1024;
const TARGET: f64 = 0.8;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    table.section(&format!(
        "archive: an uncompressed VMA archive of {DATA_MIB} MiB, random data and holes, on the disk of cargo's target"
    ));
    let bench = Bench::new()?;
    for cache in [Cache::Cold, Cache::Warm] {
        bench.verify(table, cache)?;
    }
    for (cache, end) in [(Cache::Cold, End::Durable), (Cache::Warm, End::Written)] {
        bench.extract(table, cache, end)?;
    }
    Ok(())
}

/// Whether the archive lies in the page cache when a run begins.
#[derive(Debug, Clone, Copy)]
enum Cache {
    Cold,
    Warm,
}

/// When a copy counts as made.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Its bytes are on the disk, on both sides: each file is synced within the time.
    Durable,
    /// The command has ended, on both sides; the system writes when it sees fit.
    Written,
}

struct Bench {
    drs: Product,
    dir: TempDir,
    archive: PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let drs = Product::new()?;
        let disk = statvfs(drs.target())?;
        let free_mib = disk.f_bavail * disk.f_frsize / MIB;
        ensure!(
            free_mib >= SPACE_MIB,
            "the section needs {SPACE_MIB} MiB on the disk of {}, {free_mib} are free",
            drs.target().display()
        );
        let dir = TempDir::with_prefix_in("drs-bench-", drs.target())?;
        let raw = dir.path().join("disk.raw");
        let archive = dir.path().join("vzdump-qemu-112-2026_11_22-12_00_00.vma");
        fill(&raw)?;
        let config = dir.path().join("qemu-server.conf");
        fs::write(&config, "name: bench\nscsi0: local:112/vm-112-disk-0.raw\n")?;
        let disk = format!("drive-scsi0={}", text(&raw)?);
        let args = ["archive", "create", text(&archive)?, "--config", text(&config)?];
        drs.run(&[&args[..], &["--disk", &disk]].concat())?;
        fs::remove_file(&raw)?;
        Ok(Self { drs, dir, archive })
    }

    fn verify(&self, table: &mut Table, cache: Cache) -> Result<()> {
        let archive = text(&self.archive)?;
        let pairs = self.pairs(
            cache,
            || dd(&[&format!("if={archive}"), "of=/dev/null"]),
            || self.drs.run(&["archive", "verify", archive]).map(drop),
        )?;
        compare(table, &format!("verify, {}", cache.name()), "dd to /dev/null", &pairs);
        Ok(())
    }

    fn extract(&self, table: &mut Table, cache: Cache, end: End) -> Result<()> {
        let archive = text(&self.archive)?;
        let (copy, directory) = (self.dir.path().join("copy"), self.dir.path().join("extracted"));
        let finish = |file: &Path| match end {
            End::Durable => File::open(file)?.sync_all(),
            End::Written => Ok(()),
        };
        let bare = || {
            dd(&[&format!("if={archive}"), &format!("of={}", text(&copy)?)])?;
            Ok(finish(&copy)?)
        };
        let ours = || {
            self.drs.run(&["archive", "extract", archive, text(&directory)?])?;
            Ok(finish(&directory.join("disk-drive-scsi0.raw"))?)
        };
        let pairs = self.pairs(cache, bare, ours)?;
        compare(
            table,
            &format!("extract, {}, {}", cache.name(), end.name()),
            "dd to a file",
            &pairs,
        );
        Ok(())
    }

    /// Seconds of the bare tool and of drs, pair by pair; who is first takes turns.
    fn pairs(
        &self,
        cache: Cache,
        bare: impl Fn() -> Result<()>,
        ours: impl Fn() -> Result<()>,
    ) -> Result<Vec<(f64, f64)>> {
        let mut pairs = Vec::new();
        for round in 0..PAIRS {
            let (mut bare_took, mut ours_took) = (0.0, 0.0);
            for bare_now in [round % 2 == 0, round % 2 != 0] {
                self.prepare(cache)?;
                let began = Instant::now();
                if bare_now {
                    bare()?
                } else {
                    ours()?
                }
                let took = seconds(began.elapsed());
                *(if bare_now { &mut bare_took } else { &mut ours_took }) = took;
            }
            pairs.push((bare_took, ours_took));
        }
        Ok(pairs)
    }

    /// The same beginning for both: copies of the run before are gone with what the system had not
    /// written of them, and the archive is in the page cache as a whole, or not at all.
    fn prepare(&self, cache: Cache) -> Result<()> {
        for made in ["copy", "extracted"].map(|name| self.dir.path().join(name)) {
            if made.is_dir() {
                fs::remove_dir_all(made)?;
            } else if made.exists() {
                fs::remove_file(made)?;
            }
        }
        let archive = File::open(&self.archive)?;
        archive.sync_all()?;
        match cache {
            Cache::Cold => Ok(fadvise(&archive, 0, None, Advice::DontNeed)?),
            Cache::Warm => dd(&[&format!("if={}", text(&self.archive)?), "of=/dev/null"]),
        }
    }
}

impl Cache {
    fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Durable => "both durable",
            Self::Written => "neither durable",
        }
    }
}

fn compare(table: &mut Table, what: &str, tool: &str, pairs: &[(f64, f64)]) {
    let rate = |times: Vec<f64>| format!("{:.0} MiB/s", DATA_MIB as f64 / median(&times));
    table.note(format!("{what}: {tool}"), rate(pairs.iter().map(|pair| pair.0).collect()));
    table.note(format!("{what}: drs"), rate(pairs.iter().map(|pair| pair.1).collect()));
    let ratios: Vec<f64> = pairs.iter().map(|(bare, ours)| bare / ours).collect();
    let (lowest, highest) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    table.at_least(format!("{what}: drs to dd"), median(&ratios), TARGET, "");
    table.note(
        format!("  of {PAIRS} pairs, lowest and highest"),
        format!("{lowest:.2} .. {highest:.2}"),
    );
}

fn dd(args: &[&str]) -> Result<()> {
    let status = Command::new("dd")
        .args(["bs=1M", "status=none"])
        .args(args)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "dd {args:?}: {status}");
    Ok(())
}

/// Makes the raw disk: stretches of random data, holes between them.
fn fill(raw: &Path) -> Result<()> {
    let mut file = File::create_new(raw)?;
    let mut state = u64::from(std::process::id()) | 1 << 32;
    let mut stretch = vec![0; (STRETCH_MIB * MIB) as usize];
    for _ in 0..DATA_MIB / STRETCH_MIB {
        for word in stretch.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        file.write_all(&stretch)?;
        file.seek(SeekFrom::Current((HOLE_MIB * MIB) as i64))?;
    }
    let size = file.stream_position()?;
    Ok(file.set_len(size)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
