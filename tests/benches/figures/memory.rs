//! How much memory `drs serve` takes while backups stream: by jobs at one time, by the size of
//! their disks, by how full these are.

use anyhow::{Context, Result, bail};

use crate::numbers::mib;
use crate::product::Product;
use crate::table::Table;

const DISKS_MIB: [u32; 3] = [256, 1024, 4096];
const JOBS: [usize; 2] = [1, 4];

/// What `drs serve` may have with so many jobs, in MiB.
pub(crate) fn limit(jobs: usize) -> f64 {
    64.0 + 16.0 * jobs as f64
}

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    table.section("memory: backups of simulated VMs at full speed, in drs serve");
    for jobs in JOBS {
        for disk_mib in DISKS_MIB {
            for (kind, data_percent) in [("sparse", 6), ("dense", 100)] {
                let peak = peak(jobs, disk_mib, data_percent)?;
                let name = format!("peak memory, {jobs} jobs, {kind} disks of {disk_mib} MiB");
                table.at_most(name, mib(peak), limit(jobs), "MiB");
            }
        }
    }
    Ok(())
}

/// The most memory that a fresh `drs serve` had while it backed up so many VMs at once.
fn peak(jobs: usize, disk_mib: u32, data_percent: u32) -> Result<u64> {
    let drs = Product::new()?;
    let address = format!("vms={jobs},disk_mib={disk_mib},data_percent={data_percent},backup_ms=0");
    drs.run(&[
        "host",
        "add",
        "sim",
        "--driver",
        "simulated",
        "--site",
        "dc",
        "--slots",
        "4",
        "--address",
        &address,
    ])?;
    let mut submitted = Vec::new();
    for n in 1..=jobs {
        let id = drs.run(&["backup", &format!("sim/vm-{n:03}"), "--detach"])?;
        submitted.push(id.trim().to_owned());
    }
    // All are due when it starts, so that they run at one time.
    let serving = drs.serve()?;
    for id in submitted {
        finish(&drs, &id)?;
    }
    serving.peak_bytes()
}

/// Waits for a job, which must succeed.
pub(crate) fn finish(drs: &Product, id: &str) -> Result<()> {
    loop {
        let job: serde_json::Value =
            serde_json::from_str(&drs.run(&["--json", "job", "show", id])?)?;
        match job["state"].as_str().context("a state")? {
            "succeeded" => return Ok(()),
            state @ ("failed" | "cancelled" | "needs_operator") => bail!("job {id} {state}: {job}"),
            _ => std::thread::park_timeout(std::time::Duration::from_millis(100)),
        }
    }
}
