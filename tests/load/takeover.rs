//! Workers that die and workers that are told to stop: the next one finishes every job.

use std::time::Duration;

use anyhow::Result;
use drs_model::{JobId, Phase, PointId};
use drs_runtime::clock;
use drs_tests::engine::{Installation, brisk, overlapping, until};

const JOBS: usize = 12;

async fn due(lab: &Installation, backup_ms: u32) -> Result<Vec<JobId>> {
    let description = format!("vms={JOBS},disk_mib=4,backup_ms={backup_ms}");
    lab.add_host("dc", &description, 8).await?;
    let mut jobs = Vec::new();
    for n in 1..=JOBS {
        jobs.push(lab.submit_backup(&format!("vm {n}"), &format!("dc/vm-{n:03}")).await?);
    }
    Ok(jobs)
}

/// The jobs that have copied something and go on.
async fn copying(lab: &Installation, jobs: &[JobId]) -> Result<Vec<JobId>> {
    let mut found = Vec::new();
    for id in jobs {
        let progress = lab.backend().events.progress(*id).await?;
        let copies = progress.is_some_and(|progress| progress.moved_bytes > 0);
        if copies && lab.job(*id).await?.state.phase() == Phase::Running {
            found.push(*id);
        }
    }
    Ok(found)
}

async fn eight_copy(lab: &Installation, jobs: &[JobId]) -> Result<Vec<JobId>> {
    until("eight jobs copy", async || {
        let copying = copying(lab, jobs).await?;
        Ok((copying.len() == 8).then_some(copying))
    })
    .await
}

async fn all_is_well(lab: &Installation, jobs: &[JobId]) -> Result<()> {
    for job in lab.all_over(jobs).await? {
        assert_eq!(job.state.phase(), Phase::Succeeded, "{job:?}");
    }
    let mut expected: Vec<PointId> = jobs.iter().map(|id| PointId::from(*id)).collect();
    expected.sort_unstable();
    assert_eq!(lab.points().await?, expected, "each VM has one point");
    for n in 1..=JOBS {
        let vm = format!("dc/vm-{n:03}");
        assert_eq!(overlapping(&lab.journal(&vm).await?), None, "on {vm}");
        assert_eq!(lab.leftovers(&vm).await?, Vec::<String>::new(), "on {vm}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_left_the_next_one_finishes() -> Result<()> {
    let lab = Installation::new()?;
    let jobs = due(&lab, 1500).await?;
    let first = lab.start(brisk("first", 8))?;
    let running = eight_copy(&lab, &jobs).await?;
    first.kill().await?;
    assert_eq!(lab.points().await?, [], "no half point is listed");

    assert_eq!(lab.backend().store.bury(clock::now(), "first").await?, running.len());
    let second = lab.start(brisk("second", 8))?;
    all_is_well(&lab, &jobs).await?;
    for id in running {
        assert_eq!(lab.job(id).await?.attempt, 2, "a death counts as an attempt");
    }
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_runs_out_needs_no_burial() -> Result<()> {
    let lab = Installation::new()?;
    let jobs = due(&lab, 1500).await?;
    let first = lab.start(brisk("first", 8))?;
    eight_copy(&lab, &jobs).await?;
    first.kill().await?;
    let second = lab.start(brisk("second", 8))?;
    all_is_well(&lab, &jobs).await?;
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_hands_every_job_over_within_seconds() -> Result<()> {
    let lab = Installation::new()?;
    let jobs = due(&lab, 3000).await?;
    let first = lab.start(brisk("first", 8))?;
    eight_copy(&lab, &jobs).await?;
    let took = first.stop().await?;
    println!("8 running jobs were handed over in {} ms", took.as_millis());
    assert!(took < Duration::from_secs(10), "{took:?}");
    for id in &jobs {
        let job = lab.job(*id).await?;
        assert_eq!(job.state.phase(), Phase::Queued, "{job:?}");
    }

    let second = lab.start(brisk("second", 8))?;
    all_is_well(&lab, &jobs).await?;
    for id in &jobs {
        assert_eq!(lab.job(*id).await?.attempt, 1, "a shutdown is not a failure");
    }
    second.stop().await?;
    Ok(())
}
