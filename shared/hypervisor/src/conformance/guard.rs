//! The guard as a driver's callers meet it.

use std::time::Duration;

use bytes::Bytes;
use drs_model::guard::GuardExit;
use drs_model::{GuardAnswer, PowerAction};
use drs_transport::{Argv, TransportError};

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, eventually, refused};
use crate::port::DriverError;

/// How long a host may take to notice that a hold is over.
const NOTICE_LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn second_job_is_busy_at_the_guard(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.off_vm();
    let guard = bench.driver(&vm).guard();
    let (first, second) = (bench.grip(&vm), bench.grip(&vm));
    let hold = bench.hold(&first, None).await?;
    let (answer, none) = guard.hold(&second, None).await.during("a second hold")?;
    ensure_eq("the answer to a second hold", answer, GuardAnswer::Busy(first.job))?;
    ensure(none.is_none(), || "a busy VM was held twice".to_owned())?;
    let answer = guard.start(&second, "other", &Argv::new("true")).await.during("a start")?;
    ensure_eq("the answer to a start", answer, GuardAnswer::Busy(first.job))?;
    let second_long = Duration::from_secs(1);
    let ran = guard.run(&second, &Argv::new("true"), Bytes::new(), second_long).await;
    let busy = matches!(&ran, Err(TransportError::Busy { job, .. }) if *job == first.job);
    ensure(busy, || format!("run beside a hold said {ran:?}"))?;
    hold.release().await.during("releasing a hold")?;
    bench.hold(&second, None).await?.release().await.during("releasing a hold")
}

pub(super) async fn stale_token_is_refused(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.off_vm();
    let driver = bench.driver(&vm);
    let (old, new) = (bench.grip(&vm), bench.grip(&vm));
    bench.hold(&new, None).await?.release().await.during("releasing a hold")?;

    let (answer, _) = driver.guard().hold(&old, None).await.during("a stale hold")?;
    ensure_eq("the answer to a stale hold", answer, GuardAnswer::Stale(new.fence))?;
    let second = Duration::from_secs(1);
    let ran = driver.guard().run(&old, &Argv::new("true"), Bytes::new(), second).await;
    ensure(matches!(ran, Err(TransportError::Stale { .. })), || format!("run said {ran:?}"))?;
    let refusal = refused("stale power", driver.power(&old, &vm.name, PowerAction::Start).await)?;
    ensure(matches!(refusal, DriverError::Transport(TransportError::Stale { .. })), || {
        format!("stale power was answered {refusal:?}")
    })
}

pub(super) async fn a_newer_claim_of_the_job_ends_its_older_hold(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let grip = bench.grip(&bench.fixture.off_vm());
    let older = bench.hold(&grip, None).await?;
    let newer = bench.hold(&bench.taken_over(&grip), None).await?;
    tokio::time::timeout(NOTICE_LIMIT, older.lost())
        .await
        .during("the older hold was not told of its end")?;
    drop(older);
    let other = bench.grip(&grip.vm);
    let (answer, _) = bench.driver(&grip.vm).guard().hold(&other, None).await.during("a hold")?;
    ensure_eq("the answer to another job", answer, GuardAnswer::Busy(grip.job))?;
    newer.release().await.during("releasing a hold")
}

pub(super) async fn a_dropped_hold_frees_the_vm(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.off_vm();
    drop(bench.hold(&bench.grip(&vm), None).await?);
    let guard = bench.driver(&vm).guard();
    let next = bench.grip(&vm);
    eventually("the VM of a dropped hold is free", NOTICE_LIMIT, || async {
        match guard.hold(&next, None).await.during("a hold")? {
            (_, Some(hold)) => hold.release().await.during("releasing a hold").map(|()| true),
            (_, None) => Ok(false),
        }
    })
    .await
}

pub(super) async fn a_cancelled_step_cannot_start(bench: &Bench<'_>) -> Result<(), Finding> {
    let grip = bench.grip(&bench.fixture.off_vm());
    let guard = bench.driver(&grip.vm).guard();
    let cancelled = GuardAnswer::Exit(GuardExit::Cancelled);
    let answer = guard.cancel(&grip, "late").await.during("cancelling")?;
    ensure_eq("the answer to a cancel", answer, cancelled.clone())?;
    let answer = guard.start(&grip, "late", &Argv::new("true")).await.during("a late start")?;
    ensure_eq("the answer to a late start", answer, cancelled)
}
