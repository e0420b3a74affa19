//! A job can be cancelled wherever it is, and leaves nothing.

use anyhow::Result;
use drs_model::{Job, JobId, JobSpec, Phase, ReplacePolicy, RestoreTarget, Transfer};
use drs_protocol::store::CancelAnswer;
use drs_runtime::clock;
use drs_tests::engine::{Installation, brisk, until};

/// As `drs job cancel` does it.
async fn cancel(lab: &Installation, id: JobId) -> Result<()> {
    let backend = lab.backend();
    let publish = match backend.store.cancel(clock::now(), id).await? {
        CancelAnswer::Cancelled { woken } => woken,
        CancelAnswer::Asked { publish } => publish.into_iter().map(|job| *job).collect(),
        answer => anyhow::bail!("{answer:?}"),
    };
    for job in publish {
        backend.dispatch.publish(&(&job).into()).await?;
    }
    Ok(())
}

async fn cancelled(lab: &Installation, id: JobId) -> Result<Job> {
    let job = lab.over(id).await?;
    assert_eq!(job.state.phase(), Phase::Cancelled, "{job:?}");
    for vm in job.spec.vm().into_iter().chain(job.spec.counterpart()) {
        assert_eq!(lab.leftovers(&vm.to_string()).await?, Vec::<String>::new());
    }
    Ok(job)
}

async fn copies(lab: &Installation, id: JobId) -> Result<()> {
    until("the job copies", async || {
        let progress = lab.backend().events.progress(id).await?;
        Ok(progress.filter(|progress| progress.moved_bytes > 0).map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_is_cancelled_at_once_and_never_runs() -> Result<()> {
    let lab = Installation::new()?;
    lab.add_host("dc", "vms=1", 1).await?;
    let id = lab.submit_backup("queued", "dc/vm-001").await?;
    cancel(&lab, id).await?;
    assert_eq!(lab.job(id).await?.state.phase(), Phase::Cancelled);
    let engine = lab.start(brisk("worker", 1))?;
    let next = lab.submit_backup("next", "dc/vm-001").await?;
    assert_eq!(lab.over(next).await?.state.phase(), Phase::Succeeded);
    engine.stop().await?;
    let began = lab.journal("dc/vm-001").await?;
    assert!(began.iter().all(|interval| interval.job == next.to_string()), "{began:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_job_and_a_copying_job_are_cancelled() -> Result<()> {
    let lab = Installation::new()?;
    lab.add_host("dc", "vms=1,disk_mib=8,backup_ms=600000", 2).await?;
    let copying = lab.submit_backup("copying", "dc/vm-001").await?;
    let engine = lab.start(brisk("worker", 2))?;
    copies(&lab, copying).await?;
    let parked = lab.submit_backup("parked", "dc/vm-001").await?;
    let waits = |job: &Job| job.state.phase() == Phase::Parked;
    lab.job_when(parked, "the second job is parked", waits).await?;

    cancel(&lab, parked).await?;
    assert_eq!(lab.job(parked).await?.state.phase(), Phase::Cancelled);
    cancel(&lab, copying).await?;
    cancelled(&lab, copying).await?;
    engine.stop().await?;
    assert_eq!(lab.points().await?, []);
    let began = lab.journal("dc/vm-001").await?;
    assert!(began.iter().all(|interval| interval.job == copying.to_string()), "{began:?}");
    assert!(began.iter().all(|interval| interval.end < u64::MAX), "{began:?}");
    Ok(())
}

/// A lab with a point, a running engine, and a restore of it to `dr/copy` that was just submitted.
async fn restoring(description: &str) -> Result<(Installation, JobId)> {
    let lab = Installation::new()?;
    lab.add_host("dc", "vms=1,disk_mib=8,backup_ms=0", 1).await?;
    lab.add_host("dr", description, 1).await?;
    let backup = lab.submit_backup("backup", "dc/vm-001").await?;
    let engine = lab.start(brisk("maker", 1))?;
    assert_eq!(lab.over(backup).await?.state.phase(), Phase::Succeeded);
    engine.stop().await?;
    let target = RestoreTarget {
        vm: "dr/copy".parse()?,
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: true,
        start: true,
        replace: None,
        pair: None,
    };
    let transfer = Transfer::default();
    let spec = JobSpec::Restore { point: backup.into(), target, transfer };
    let restore = lab.submit("restore", spec).await?;
    Ok((lab, restore))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_cancelled_while_it_copies() -> Result<()> {
    let (lab, id) = restoring("vms=0,restore_ms=600000").await?;
    let engine = lab.start(brisk("worker", 1))?;
    copies(&lab, id).await?;
    cancel(&lab, id).await?;
    cancelled(&lab, id).await?;
    engine.stop().await?;
    assert!(lab.driver("dr").await?.digest(&"copy".parse()?).await.is_err(), "no VM was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_cancelled_during_its_detached_check() -> Result<()> {
    let (lab, id) = restoring("vms=0,restore_ms=0").await?;
    lab.faults().check_ms(600_000);
    let engine = lab.start(brisk("worker", 1))?;
    until("the check runs on the host", async || {
        let began = lab.journal("dr/copy").await?;
        Ok(began.iter().any(|interval| interval.step == "check").then_some(()))
    })
    .await?;
    cancel(&lab, id).await?;
    cancelled(&lab, id).await?;
    engine.stop().await?;
    let began = lab.journal("dr/copy").await?;
    assert!(began.iter().all(|interval| interval.end < u64::MAX), "{began:?}");
    assert!(lab.driver("dr").await?.digest(&"copy".parse()?).await.is_err(), "no VM was made");
    Ok(())
}

/// A lab with a running engine and a replication of `dc/vm-001` to `dr/copy` that was just submitted.
async fn replicating(source: &str, target: &str) -> Result<(Installation, JobId)> {
    let lab = Installation::new()?;
    lab.add_host("dc", source, 1).await?;
    lab.add_host("dr", target, 1).await?;
    let target = RestoreTarget {
        vm: "dr/copy".parse()?,
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: true,
        start: false,
        replace: Some(ReplacePolicy::RefreshCopy),
        pair: None,
    };
    let (source, transfer) = ("dc/vm-001".parse()?, Transfer::default());
    let id = lab.submit("replicate", JobSpec::Replicate { source, target, transfer }).await?;
    Ok((lab, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_is_cancelled_while_it_copies() -> Result<()> {
    let (lab, id) = replicating("vms=1,disk_mib=8,backup_ms=600000", "vms=0,restore_ms=0").await?;
    let engine = lab.start(brisk("worker", 1))?;
    copies(&lab, id).await?;
    cancel(&lab, id).await?;
    cancelled(&lab, id).await?;
    engine.stop().await?;
    assert_eq!(lab.points().await?, [], "nothing was read in full");
    assert!(lab.driver("dr").await?.digest(&"copy".parse()?).await.is_err(), "no VM was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_that_is_cancelled_behind_its_commit_keeps_the_point() -> Result<()> {
    let (lab, id) = replicating("vms=1,disk_mib=8,backup_ms=0", "vms=0,restore_ms=0").await?;
    lab.faults().check_ms(600_000);
    let engine = lab.start(brisk("worker", 1))?;
    until("the check runs on the host", async || {
        let began = lab.journal("dr/copy").await?;
        Ok(began.iter().any(|interval| interval.step == "check").then_some(()))
    })
    .await?;
    cancel(&lab, id).await?;
    cancelled(&lab, id).await?;
    engine.stop().await?;
    assert_eq!(lab.points().await?, [id.into()]);
    assert!(lab.driver("dr").await?.digest(&"copy".parse()?).await.is_err(), "no VM was made");
    Ok(())
}
