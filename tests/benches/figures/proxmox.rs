//! The tables of the system that DR Switch grew out of, on a lab of Proxmox nodes, in three columns of
//! one run: the old procedure (the same commands, one after the other), drs staged, drs in one pass.
//!
//! A backup of drs ends in the vault on this machine and a restore begins there, so that its transfer
//! is within them; the old procedure moves the archive to this machine and on in a step of its own. The
//! vault of drs is durable and new in every run; what rsync and the old commands write is not synced.

mod nodes;
mod old;

use std::time::Instant;

use anyhow::{Context, Result};

use self::nodes::{Pair, pair};
use self::old::Limit;
use crate::memory;
use crate::numbers::{median, seconds};
use crate::product::Product;
use crate::table::Table;

/// Sizes of the one VM, in MiB.
const SIZES_MIB: [u32; 2] = [128, 512];
const ROUNDS: usize = 3;
/// What the line carries when the one VM has one.
const ONE_LINE: Limit = Limit { mib_per_second: 32 };
/// The size of each VM when several are copied.
const TOGETHER_MIB: u32 = 128;
const VMS: usize = 4;
/// What every VM's line carries when several are copied.
const LINE: Limit = Limit { mib_per_second: 4 };

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "\nproxmox: one VM, 40 % of it random data, from its backup at dc1 to its start at drc1, without limits:\n  \
         the {cores} cores of this machine do the work of both nodes and of this one. Seconds, medians of {ROUNDS}"
    );
    let mut ratios = Vec::new();
    for size_mib in SIZES_MIB {
        ratios.push((size_mib, one_vm(size_mib, None, ROUNDS)?));
    }
    println!(
        "\nproxmox: one VM over lines of {} MiB/s (rsync --bwlimit, drs --limit). Seconds, one run",
        ONE_LINE.mib_per_second
    );
    let largest = SIZES_MIB.into_iter().max().context("a size")?;
    let over_line = one_vm(largest, Some(ONE_LINE), 1)?;
    table.section("proxmox: one VM, total of drs stream as part of the old procedure's");
    for (size_mib, ratio) in ratios {
        table.at_most(format!("{size_mib} MiB, without limits"), ratio, 0.6, "");
    }
    // The line was chosen for this bench, so this says nothing about the target.
    let name = format!("{largest} MiB, over lines of {} MiB/s", ONE_LINE.mib_per_second);
    table.note(name, format!("{over_line:.2}"));
    let pairs = (1..=VMS).map(|n| pair(n, TOGETHER_MIB)).collect::<Result<Vec<_>>>()?;
    together(table, &pairs, Some(LINE))?;
    together(table, &pairs, None)
}

/// A column of drs.
#[derive(Debug, Clone, Copy)]
enum Method {
    Staged,
    Stream,
}

impl Method {
    /// A command with this method and this limit.
    fn run(self, drs: &Product, args: &[&str], limit: Option<Limit>) -> Result<()> {
        let rate = limit.map(Limit::rate);
        let mut args = args.to_vec();
        if let Self::Staged = self {
            args.push("--staged");
        }
        if let Some(rate) = &rate {
            args.extend(["--limit", rate]);
        }
        drs.run(&args).map(drop)
    }
}

/// Seconds of one round of one column; zero is what the column has not.
#[derive(Debug, Clone, Copy, Default)]
struct Phases {
    backup: f64,
    transfer: f64,
    restore: f64,
    total: f64,
}

/// Prints the three columns of one VM; gives the total of the stream as part of the old one's.
fn one_vm(size_mib: u32, limit: Option<Limit>, rounds: usize) -> Result<f64> {
    let pair = pair(1, size_mib)?;
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let ours = |method| drs(&pair, method, limit);
        taken.push([old::run(&pair, limit)?, ours(Method::Staged)?, ours(Method::Stream)?]);
    }
    let line = |name: &str, cells: [String; 3]| {
        let [old, staged, stream] = cells;
        println!("  {name:<32} {old:>12} {staged:>12} {stream:>12}");
    };
    line(&format!("VM of {size_mib} MiB"), ["old", "drs staged", "drs stream"].map(str::to_owned));
    let row = |name: &str, part: fn(&Phases) -> f64| {
        let times = [0, 1, 2].map(|column| {
            let times = taken.iter().filter_map(|round| round.get(column)).map(part);
            median(&times.collect::<Vec<_>>())
        });
        line(
            name,
            times.map(|time| if time > 0.0 { format!("{time:.2}") } else { "-".to_owned() }),
        );
        times
    };
    row("backup", |phases| phases.backup);
    row("transfer", |phases| phases.transfer);
    row("restore and start", |phases| phases.restore);
    let [old, staged, stream] = row("total (drs: replicate --start)", |phases| phases.total);
    let part = |time: f64| format!("{:.2}", time / old);
    line("total, as part of the old one", [part(old), part(staged), part(stream)]);
    Ok(stream / old)
}

/// Without a limit, backup and restore as jobs of their own; then both as one job, with a vault of its
/// own.
fn drs(pair: &Pair, method: Method, limit: Option<Limit>) -> Result<Phases> {
    let mut phases = Phases::default();
    if limit.is_none() {
        let drs = pair.product()?;
        let restore = ["restore", "latest", "--pair", &pair.name, "--start"];
        phases.backup = timed(|| method.run(&drs, &["backup", &pair.name], None))?;
        phases.restore = timed(|| method.run(&drs, &restore, None))?;
        pair.remove_counterpart();
    }
    let drs = pair.product()?;
    phases.total = timed(|| method.run(&drs, &["replicate", &pair.name, "--start"], limit))?;
    pair.remove_counterpart();
    Ok(phases)
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(seconds(began.elapsed()))
}

/// One to four VMs on as many nodes: the old procedure takes one after the other, drs all at once.
fn together(table: &mut Table, pairs: &[Pair], limit: Option<Limit>) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    table.section(&match limit {
        Some(Limit { mib_per_second }) => format!(
            "proxmox: 1 to {VMS} VMs of {TOGETHER_MIB} MiB on as many nodes, every VM's line at {mib_per_second} MiB/s\n  \
             (rsync --bwlimit, drs --limit), for this one machine of {cores} cores plays all nodes"
        ),
        None => format!(
            "proxmox: the same without limits: {cores} cores do the work of all nodes and of this one"
        ),
    });
    let mut old = 0.0;
    for (n, pair) in (1..).zip(pairs) {
        old += old::run(pair, limit)?.total;
        table.note(format!("{n} VMs, old procedure, one after the other"), format!("{old:.1} s"));
    }
    let mut times = Vec::new();
    for n in 1..=pairs.len() {
        // The figures of the target get a median.
        let rounds = if limit.is_some() && (n == 1 || n == pairs.len()) { ROUNDS } else { 1 };
        let chosen = pairs.get(..n).context("as many pairs")?;
        let took = (0..rounds).map(|_| all_at_once(chosen, limit)).collect::<Result<Vec<_>>>()?;
        table.note(format!("{n} VMs, drs replicate, at once"), format!("{:.1} s", median(&took)));
        times.push(median(&took));
    }
    let (one, all) = (times.first().context("a time")?, times.last().context("a time")?);
    let name = format!("{VMS} VMs on {VMS} nodes to one VM, drs");
    match limit {
        Some(_) => table.at_most(name, all / one, 1.15, ""),
        None => table.note(name, format!("{:.2}", all / one)),
    }
    table.note(format!("{VMS} VMs, drs to the old procedure"), format!("{:.2}", all / old));
    Ok(())
}

/// Time from the submission of the first job to the end of the last.
fn all_at_once(pairs: &[Pair], limit: Option<Limit>) -> Result<f64> {
    let drs = Product::new()?;
    for pair in pairs {
        pair.add_to(&drs)?;
    }
    let rate = limit.map(Limit::rate);
    let serving = drs.serve()?;
    let began = Instant::now();
    let mut jobs = Vec::new();
    for pair in pairs {
        let mut args = vec!["replicate", &pair.name, "--start", "--detach"];
        if let Some(rate) = &rate {
            args.extend(["--limit", rate]);
        }
        jobs.push(drs.run(&args)?.trim().to_owned());
    }
    for job in jobs {
        memory::finish(&drs, &job)?;
    }
    let took = began.elapsed();
    drop(serving);
    pairs.iter().for_each(Pair::remove_counterpart);
    Ok(seconds(took))
}
