//! What every saga must stand: each call of it fails, before and after it was done, once, several
//! times and for good; each is done twice; each undo is done twice.

mod scene;
mod trial;

use anyhow::Result;
use drs_model::{Phase, ReplacePolicy, TransferMethod};
use drs_tests::engine::Moment;

use trial::{Kind, Trial};

async fn stands_everything(kind: Kind) -> Result<()> {
    let mut trial = Trial::new(kind).await?;
    let job = trial.run("undisturbed", |_| ()).await?;
    assert_eq!(job.state.phase(), Phase::Succeeded, "{job:?}");
    let calls = trial.lab.faults().calls();
    println!("{kind:?} makes {} calls: {}", calls.len(), calls.join(" "));

    let job = trial.run("every call twice", |lab| lab.faults().repeat()).await?;
    assert_eq!(job.state.phase(), Phase::Succeeded, "{job:?}");
    assert_eq!(job.attempt, 1, "{job:?}");

    for (n, call) in calls.iter().enumerate() {
        for moment in [Moment::Before, Moment::After] {
            for times in [1, 3] {
                let what = format!("{call} (call {n}) fails {moment:?} {times} times");
                let job = trial.run(&what, |lab| lab.faults().fail(n..n + times, moment)).await?;
                assert_eq!(job.state.phase(), Phase::Succeeded, "{what}: {job:?}");
                assert!(job.attempt > 1 || kind.does_without(call), "{what}: {job:?}");
            }
            let what = format!("{call} (call {n}) is refused {moment:?}, each undo is done twice");
            trial
                .run(&what, |lab| {
                    lab.faults().repeat();
                    lab.faults().refuse(n, moment);
                })
                .await?;
        }
    }
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_stands_everything() -> Result<()> {
    stands_everything(Kind::Inspect).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_stands_everything() -> Result<()> {
    stands_everything(Kind::Backup).await
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_stands_everything() -> Result<()> {
    stands_everything(Kind::Restore).await
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_stands_everything() -> Result<()> {
    stands_everything(Kind::Verify).await
}

#[tokio::test(flavor = "multi_thread")]
async fn power_stands_everything() -> Result<()> {
    stands_everything(Kind::Power).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_beside_another_vm_stands_everything() -> Result<()> {
    stands_everything(Kind::Replace(ReplacePolicy::Keep)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_stops_another_vm_stands_everything() -> Result<()> {
    stands_everything(Kind::Replace(ReplacePolicy::StopAndKeep)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_destroys_another_vm_stands_everything() -> Result<()> {
    stands_everything(Kind::Replace(ReplacePolicy::DestroyAfterProof)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_replication_stands_everything() -> Result<()> {
    stands_everything(Kind::Replicate(TransferMethod::Stream)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_in_one_pass_stands_everything() -> Result<()> {
    stands_everything(Kind::Refresh(TransferMethod::Stream)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_in_two_passes_stands_everything() -> Result<()> {
    stands_everything(Kind::Refresh(TransferMethod::Staged)).await
}
