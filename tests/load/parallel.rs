//! VMs that are due at one time are backed up at one time.

use anyhow::Result;
use drs_tests::engine::{Installation, Interval, brisk};

/// Backs up four VMs that are due together, in lengths that stand in one series, and tells when
/// each was held.
async fn series(slots: usize, lengths_ms: [u32; 4]) -> Result<Vec<Interval>> {
    let lab = Installation::new()?;
    let mut description = "vms=4,disk_mib=4".to_owned();
    for (n, ms) in lengths_ms.iter().enumerate() {
        description.push_str(&format!(",backup_ms.vm-{:03}={ms}", n + 1));
    }
    lab.add_host("dc", &description, u32::try_from(slots)?).await?;
    let mut jobs = Vec::new();
    for n in 1..=4 {
        jobs.push(lab.submit_backup(&format!("vm {n}"), &format!("dc/vm-{n:03}")).await?);
    }
    let engine = lab.start(brisk("worker", slots))?;
    for job in lab.all_over(&jobs).await? {
        assert_eq!(job.state.phase().as_str(), "succeeded", "{job:?}");
    }
    engine.stop().await?;
    let mut intervals = Vec::new();
    for n in 1..=4 {
        intervals.extend(lab.journal(&format!("dc/vm-{n:03}")).await?);
    }
    assert_eq!(intervals.len(), 4);
    Ok(intervals)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_slots_run_four_vms_at_one_instant() -> Result<()> {
    let intervals = series(4, [2570, 2530, 2550, 2350]).await?;
    let last_begin = intervals.iter().map(|interval| interval.begin).max();
    let first_end = intervals.iter().map(|interval| interval.end).min();
    assert!(last_begin < first_end, "{intervals:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_runs_them_one_after_the_other() -> Result<()> {
    let mut intervals = series(1, [257, 253, 255, 235]).await?;
    intervals.sort_by_key(|interval| interval.begin);
    for pair in intervals.windows(2) {
        let [before, after] = pair else { continue };
        assert!(before.end <= after.begin, "{before:?} {after:?}");
    }
    Ok(())
}
