//! The tables of the system that DR Switch grew out of, on a lab of Proxmox nodes, in three columns of
//! one run: the old procedure (the same commands, one after the other), drs staged, drs in one pass.
//!
//! A backup of drs ends in the vault on this machine and a restore begins there, so that its transfer
//! is within them; the old procedure moves the archive to this machine and on in a step of its own. The
//! vault of drs is durable and new in every run; what rsync and the old commands write is not synced.

mod nodes;
mod old;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::nodes::{Pair, pair};
use self::old::Limit;
use crate::memory;
use crate::numbers::{median, seconds};
use crate::product::Product;
use crate::table::Table;

/// Sizes of the one VM, in MiB; the first has rounds enough for a median.
const SIZES_MIB: [u32; 3] = [128, 256, 512];
const ROUNDS: usize = 3;
/// The size of each VM when several are copied.
const TOGETHER_MIB: u32 = 128;
const VMS: usize = 4;
/// What every VM's line carries when several are copied.
const LINE: Limit = Limit { mib_per_second: 4 };

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    one_vm(table)?;
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
    fn args<'a>(self, args: &[&'a str]) -> Vec<&'a str> {
        let staged: &[&str] = match self {
            Self::Staged => &["--staged"],
            Self::Stream => &[],
        };
        [args, staged].concat()
    }
}

/// Seconds of one round of one column.
#[derive(Debug, Clone, Copy, Default)]
struct Phases {
    backup: f64,
    transfer: f64,
    restore: f64,
    total: f64,
}

fn one_vm(table: &mut Table) -> Result<()> {
    println!(
        "\nproxmox: one VM, 40 % data, from its backup at dc1 to its start at drc1; seconds, medians of {ROUNDS}"
    );
    let mut worst: f64 = 0.0;
    for size_mib in SIZES_MIB {
        let pair = pair(1, size_mib)?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let old = old::run(&pair, None)?;
            rounds.push([old, drs(&pair, Method::Staged)?, drs(&pair, Method::Stream)?]);
        }
        let column = |number: usize, part: fn(&Phases) -> f64| {
            let times = rounds.iter().filter_map(|round| round.get(number)).map(part);
            median(&times.collect::<Vec<_>>())
        };
        println!(
            "  {:<32} {:>12} {:>12} {:>12}",
            format!("VM of {size_mib} MiB"),
            "old",
            "drs staged",
            "drs stream"
        );
        let row = |name: &str, part: fn(&Phases) -> f64| {
            let cell = |number| match column(number, part) {
                0.0 => "-".to_owned(),
                time => format!("{time:.2}"),
            };
            println!("  {name:<32} {:>12} {:>12} {:>12}", cell(0), cell(1), cell(2));
        };
        row("backup", |phases| phases.backup);
        row("transfer", |phases| phases.transfer);
        row("restore and start", |phases| phases.restore);
        row("total (drs: replicate --start)", |phases| phases.total);
        worst = worst.max(column(2, |phases| phases.total) / column(0, |phases| phases.total));
    }
    table.section("proxmox: one VM");
    table.at_most("drs stream to the old procedure, worst of the sizes", worst, 0.6, "");
    Ok(())
}

/// Backup and restore as jobs of their own, then both as one job, each with a vault of its own.
fn drs(pair: &Pair, method: Method) -> Result<Phases> {
    let drs = pair.product()?;
    let backup = timed(|| drs.run(&method.args(&["backup", &pair.name])))?;
    let restore = ["restore", "latest", "--pair", &pair.name, "--start"];
    let restore = timed(|| drs.run(&method.args(&restore)))?;
    pair.remove_counterpart();
    let drs = pair.product()?;
    let total = timed(|| drs.run(&method.args(&["replicate", &pair.name, "--start"])))?;
    pair.remove_counterpart();
    Ok(Phases { backup, transfer: 0.0, restore, total })
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
            "proxmox: 1 to {VMS} VMs of {TOGETHER_MIB} MiB on as many nodes, every VM's line at {mib_per_second} MiB/s in all \
             columns\n  (vzdump and rsync --bwlimit, drs --limit), for this one machine of {cores} cores plays all nodes"
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
    let took: Duration = began.elapsed();
    drop(serving);
    pairs.iter().for_each(Pair::remove_counterpart);
    Ok(seconds(took))
}
