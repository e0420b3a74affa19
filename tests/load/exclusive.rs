//! Nobody ever runs two jobs on one VM, and who waits can see for whom.

use std::collections::HashSet;

use anyhow::Result;
use drs_backend::Wait;
use drs_model::{JobId, PointId, Resource};
use drs_tests::engine::{Installation, brisk, overlapping, until};

const ON_ONE: usize = 50;
const OTHERS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_on_one_vm_and_fifty_on_others_never_overlap() -> Result<()> {
    let lab = Installation::new()?;
    let description = format!("vms={},disk_mib=1,backup_ms=40", OTHERS + 1);
    lab.add_host("dc", &description, 6).await?;
    let mut on_one = Vec::new();
    let mut others = Vec::new();
    for n in 0..ON_ONE {
        on_one.push(lab.submit_backup(&format!("one {n}"), "dc/vm-001").await?);
        let vm = format!("dc/vm-{:03}", n + 2);
        others.push(lab.submit_backup(&format!("other {n}"), &vm).await?);
    }
    let engine = lab.start(brisk("worker", 8))?;

    let (holder, waits) =
        until("the jobs of one VM stand in one queue", async || queue(&lab, &on_one).await).await?;
    assert!(on_one.contains(&holder), "{holder} holds the VM");
    assert!(waits.len() > 10, "{waits:?}");

    let all: Vec<JobId> = on_one.iter().chain(&others).copied().collect();
    for job in lab.all_over(&all).await? {
        assert_eq!(job.state.phase().as_str(), "succeeded", "{job:?}");
        assert_eq!(job.attempt, 1, "{job:?}");
    }
    engine.stop().await?;

    let mut expected: Vec<PointId> = all.iter().map(|id| PointId::from(*id)).collect();
    expected.sort_unstable();
    assert_eq!(lab.points().await?, expected);
    let mut began = Vec::new();
    for n in 1..=OTHERS + 1 {
        let vm = format!("dc/vm-{n:03}");
        let intervals = lab.journal(&vm).await?;
        assert_eq!(overlapping(&intervals), None, "on {vm}");
        began.extend(intervals.into_iter().map(|interval| interval.job));
        assert_eq!(lab.leftovers(&vm).await?, Vec::<String>::new(), "on {vm}");
    }
    let distinct: HashSet<&String> = began.iter().collect();
    assert_eq!(began.len(), all.len(), "every job had its VM once");
    assert_eq!(distinct.len(), all.len(), "every job had its VM");
    Ok(())
}

/// The job that has the VM and what the others wait for, when all of it was seen under one holder:
/// the waiting jobs then stand at 1, 2, 3 and so on.
async fn queue(lab: &Installation, jobs: &[JobId]) -> Result<Option<(JobId, Vec<Wait>)>> {
    let vm = Resource::Vm("dc/vm-001".parse()?);
    let mut waits = Vec::new();
    for id in jobs {
        let wait = lab.backend().store.wait_of(*id).await?;
        waits.extend(wait.filter(|wait| wait.resource == vm));
    }
    waits.sort_by_key(|wait| wait.position);
    let Some(&[holder]) = waits.first().map(|wait| wait.holders.as_slice()) else {
        return Ok(None);
    };
    let orderly = waits.len() > 10
        && waits.iter().enumerate().all(|(n, wait)| {
            wait.holders == [holder] && wait.position == n + 1 && wait.waiters == waits.len()
        });
    Ok(orderly.then_some((holder, waits)))
}
