//! The series that took 257, 510, 765 and 1000 s when one sequential worker ran it: 1, 2, 3 and 4 VMs
//! due at one time, here in hundredths of a second.

use std::time::{Duration, Instant};

use anyhow::Result;
use drs_tests::engine::{Installation, brisk};

use crate::numbers::seconds;
use crate::table::Table;

const LENGTHS: [Duration; 4] = [
    Duration::from_millis(2570),
    Duration::from_millis(2530),
    Duration::from_millis(2550),
    Duration::from_millis(2350),
];

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    table
        .section("series: VMs of 2.57, 2.53, 2.55 and 2.35 s due at one time, on a simulated host");
    let runtime = tokio::runtime::Runtime::new()?;
    for vms in 1..=LENGTHS.len() {
        let sequential = runtime.block_on(makespan(vms, 1))?;
        let parallel = runtime.block_on(makespan(vms, 4))?;
        let longest = LENGTHS.iter().take(vms).max().copied().unwrap_or_default();
        table.note(format!("{vms} VMs, one slot"), format!("{:.2} s", seconds(sequential)));
        let name = format!("{vms} VMs, four slots, as part of one slot");
        table.note(name, format!("{:.2}", seconds(parallel) / seconds(sequential)));
        let name = format!("{vms} VMs, four slots");
        table.at_most(name, seconds(parallel), seconds(longest) * 1.05, "s");
    }
    Ok(())
}

/// Time from the submission of the first job to the end of the last.
async fn makespan(vms: usize, slots: usize) -> Result<Duration> {
    let lab = Installation::new()?;
    let mut description = format!("vms={vms},disk_mib=16");
    for (n, length) in LENGTHS.iter().take(vms).enumerate() {
        description.push_str(&format!(",backup_ms.vm-{:03}={}", n + 1, length.as_millis()));
    }
    lab.add_host("dc", &description, 4).await?;
    let engine = lab.start(brisk("worker", slots))?;
    let began = Instant::now();
    let mut jobs = Vec::new();
    for n in 1..=vms {
        jobs.push(lab.submit_backup(&format!("vm {n}"), &format!("dc/vm-{n:03}")).await?);
    }
    lab.all_over(&jobs).await?;
    let took = began.elapsed();
    engine.stop().await?;
    Ok(took)
}
