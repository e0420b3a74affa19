//! Reading VMs.

use std::time::Duration;

use drs_model::{Consistency, PowerState, Timestamp};

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, eventually, refused};
use super::pass::Pass;
use crate::port::{DriverError, ExportEnd};

pub(super) async fn export_reads_every_byte_at_the_freeze_instant(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let before = Timestamp::now();
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let consistent_at = frozen.export.consistent_at;
    // A host reads its own clock: what is demanded is the order of magnitude.
    let near = Duration::from_secs(60);
    ensure(consistent_at.duration_since(before).unsigned_abs() < near, || {
        format!("the freeze instant is {consistent_at}, opened at {before}")
    })?;
    bench.fixture.guest_write().await;
    frozen.read().await?;
    let power = frozen.driver.describe(&frozen.grip.vm.name).await.during("describing")?.power;
    ensure_eq("the power state during an export", power, PowerState::Running)?;
    frozen.close().await
}

pub(super) async fn a_source_delivers_every_byte_once_whatever_its_order(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let (pieces, digests) = frozen.pieces().await?;
    ensure(!pieces.is_empty(), || "a VM that writes has no content".to_owned())?;
    let contents = frozen.export.description.spec.contents();
    ensure_eq("the number of contents", digests.len(), contents.len())?;
    frozen.close().await?;
    bench.ensure_nothing_left(&bench.fixture.running_vm()).await
}

pub(super) async fn reading_again_gives_the_same(bench: &Bench<'_>) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let first = frozen.read().await?;
    bench.fixture.guest_write().await;
    ensure_eq("the content read again", frozen.read().await?, first)?;
    frozen.close().await
}

pub(super) async fn a_later_export_sees_later_writes(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.running_vm();
    let earlier = bench.freeze(&vm).await?;
    let (content, at) = (earlier.read().await?, earlier.export.consistent_at);
    earlier.close().await?;
    bench.fixture.guest_write().await;
    let later = bench.freeze(&vm).await?;
    ensure(later.export.consistent_at > at, || "the later export is no later".to_owned())?;
    ensure(later.read().await? != content, || "the later export has the same content".to_owned())?;
    later.close().await
}

pub(super) async fn export_of_off_vm(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.off_vm();
    let mut contents = Vec::new();
    for _ in 0..2 {
        let frozen = bench.freeze(&vm).await?;
        ensure_eq("the consistency", frozen.export.consistency, Consistency::Off)?;
        contents.push(frozen.read().await?);
        frozen.close().await?;
    }
    ensure_eq("the content read twice", &contents[1], &contents[0])?;
    let power = bench.driver(&vm).describe(&vm.name).await.during("describing")?.power;
    ensure_eq("the power state after an export", power, PowerState::Off)?;
    bench.ensure_nothing_left(&vm).await
}

pub(super) async fn open_export_of_unknown_vm_says_not_found(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let vm = bench.fixture.fresh_target();
    let answer = bench.driver(&vm).open_export(&bench.grip(&vm)).await;
    let refusal = refused("an export of an unknown VM", answer)?;
    ensure(matches!(refusal, DriverError::VmNotFound { .. }), || format!("it said {refusal:?}"))
}

pub(super) async fn close_export_is_idempotent_and_works_without_open(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let vm = bench.fixture.running_vm();
    let (driver, grip) = (bench.driver(&vm), bench.grip(&vm));
    for end in [ExportEnd::Abandoned, ExportEnd::Complete, ExportEnd::Abandoned] {
        driver.close_export(&grip, end).await.during("closing what was never opened")?;
    }
    let frozen = bench.freeze(&vm).await?;
    for end in [ExportEnd::Complete, ExportEnd::Complete] {
        driver.close_export(&frozen.grip, end).await.during("closing")?;
    }
    frozen.close().await?;
    bench.ensure_nothing_left(&vm).await
}

pub(super) async fn close_export_leaves_nothing(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.running_vm();
    for end in [ExportEnd::Complete, ExportEnd::Abandoned] {
        let frozen = bench.freeze(&vm).await?;
        // Half a pass: the reader is still there when the export is closed.
        let mut reading = Pass::open(&frozen).await?;
        reading.next().await?;
        frozen.driver.close_export(&frozen.grip, end).await.during("closing")?;
        frozen.hold.release().await.during("releasing a hold")?;
        bench.ensure_nothing_left(&vm).await?;
        let power = bench.driver(&vm).describe(&vm.name).await.during("describing")?.power;
        ensure_eq("the power state after an export", power, PowerState::Running)?;
    }
    Ok(())
}

pub(super) async fn a_closed_export_cannot_be_read(bench: &Bench<'_>) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let closed = frozen.driver.close_export(&frozen.grip, ExportEnd::Abandoned).await;
    closed.during("closing")?;
    let read = frozen.read().await;
    ensure(read.is_err(), || "a closed export could be read".to_owned())?;
    frozen.close().await
}

pub(super) async fn an_export_in_order_is_in_no_danger(bench: &Bench<'_>) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let danger = frozen.driver.export_danger(&frozen.grip, &frozen.export).await;
    ensure_eq("the danger", danger.during("asking for danger")?, None)?;
    frozen.close().await
}

pub(super) async fn a_lost_hold_ends_the_export(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.running_vm();
    let frozen = bench.freeze(&vm).await?;
    drop(frozen.hold);
    let limit = Duration::from_secs(60);
    eventually("the export of a lost hold is gone", limit, || async {
        Ok(bench.fixture.leftovers(&vm).await.is_empty())
    })
    .await?;
    let power = bench.driver(&vm).describe(&vm.name).await.during("describing")?.power;
    ensure_eq("the power state after a loss", power, PowerState::Running)?;
    bench.freeze(&vm).await?.close().await
}
