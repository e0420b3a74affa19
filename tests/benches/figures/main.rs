//! Measures what the product promises and prints each figure beside its target: `make bench`.
//!
//! What is compared is run side by side, in turns, in this one run, on this one machine. Sections:
//! `engine series memory archive cluster latency scale stream proxmox`; an argument names those to run.
//! `stream` needs the lab of two libvirt hosts, `proxmox` that of Proxmox nodes (dc1 to dc4, drc1 to drc4);
//! `make bench` brings them up.
#![allow(clippy::disallowed_methods)] // a bench starts the product and the tools it is compared with

mod archive;
mod cluster;
mod engine;
mod latency;
mod memory;
mod numbers;
mod product;
mod proxmox;
mod scale;
mod series;
mod stream;
mod table;

use anyhow::Result;
use table::Table;

fn main() -> Result<()> {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |section: &str| chosen.is_empty() || chosen.iter().any(|name| name == section);
    let mut table = Table::default();
    if wanted("engine") {
        engine::measure(&mut table)?;
    }
    if wanted("series") {
        series::measure(&mut table)?;
    }
    if wanted("memory") {
        memory::measure(&mut table)?;
    }
    if wanted("archive") {
        archive::measure(&mut table)?;
    }
    if wanted("cluster") {
        cluster::measure(&mut table)?;
    }
    if wanted("latency") {
        latency::measure(&mut table)?;
    }
    if wanted("scale") {
        scale::measure(&mut table)?;
    }
    if wanted("stream") {
        stream::measure(&mut table)?;
    }
    if wanted("proxmox") {
        proxmox::measure(&mut table)?;
    }
    table.end();
    Ok(())
}
