//! Moving contents: from a host or an archive to the vault, from the vault to a host or an archive, or
//! from a host to the vault and another host in one pass.
//!
//! Every way is an [`Inlet`] and an [`Outlet`] with [`pump`] between them, which keeps the limits, tells
//! how far it is and is ended by its crash point `KIND/STEP/midway`.
//!
//! # Memory
//! The inlet holds what its driver has in flight, the outlet what its writers hold. A vault writer is
//! opened when the first piece of its content comes and closed when the source is through, since only
//! the source's end tells that no content gets anything more. One that is at rest holds at most 3 MiB, one
//! that is busy 7 MiB: from a source that delivers disk after disk, 30 disks take less than 100 MiB.

mod inlet;
mod outlet;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use drs_hypervisor::Export;
use drs_model::{Content, Fault, FaultCode, Piece};
use drs_transport::Rates;
use tokio::time::MissedTickBehavior;
use tracing::Instrument;

pub(super) use inlet::{HostInlet, VaultInlet};
pub(super) use outlet::{Fork, SinkOutlet, VaultOutlet, discard};

use crate::saga::{Place, StepContext};
use crate::telemetry;

/// How often a VM is looked at while its contents are read.
const DANGER_LOOK: Duration = Duration::from_secs(3);
/// Longest time in which a piece must be taken. Who is read may wait for that: a guest whose backup is
/// not read on cannot write.
const WRITE_STALL: Duration = Duration::from_secs(300);
/// Longest time in which the next piece must come. Long, since holes are passed over in silence.
const READ_STALL: Duration = Duration::from_secs(3600);

/// Where pieces come from.
#[async_trait]
pub(super) trait Inlet: Send {
    /// The next piece; `None` behind the last one, when the source has confirmed that this was all.
    async fn next(&mut self) -> Result<Option<Piece>, Fault>;

    /// Bytes that are dealt with, holes included.
    fn done_bytes(&self) -> u64;
}

/// Where pieces go.
#[async_trait]
pub(super) trait Outlet: Send {
    /// Takes a piece.
    async fn write(&mut self, piece: Piece) -> Result<(), Fault>;
}

/// Moves every piece. What the outlet holds is not durable before it is finished.
pub(super) async fn pump(
    ctx: &StepContext,
    step: &str,
    rates: &Rates,
    from: &mut dyn Inlet,
    to: &mut dyn Outlet,
) -> Result<(), Fault> {
    let span = telemetry::transfer_span(step);
    let moved = moving_all(ctx, step, rates, from, to).instrument(span.clone()).await?;
    span.record("bytes", moved);
    Ok(())
}

/// Moves every piece; tells how many bytes there were.
async fn moving_all(
    ctx: &StepContext,
    step: &str,
    rates: &Rates,
    from: &mut dyn Inlet,
    to: &mut dyn Outlet,
) -> Result<u64, Fault> {
    let mut moved = 0;
    while let Some(piece) = moving("read", READ_STALL, from.next()).await? {
        let bytes = piece.extent.data.len() as u64;
        moved += bytes;
        rates.pass(bytes).await;
        moving("written", WRITE_STALL, to.write(piece)).await?;
        let done_bytes = from.done_bytes();
        ctx.report.progress(|progress| {
            progress.done_bytes = done_bytes;
            progress.moved_bytes += bytes;
        });
        ctx.crash_point(step, "midway");
    }
    let done_bytes = from.done_bytes();
    ctx.report.progress(|progress| progress.done_bytes = done_bytes);
    Ok(moved)
}

/// Ends what stands still, so that a hung storage keeps neither the VM nor the job for ever.
async fn moving<T>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        Err(Fault::transient(
            FaultCode::HostUnreachable,
            format!("the transfer stood still: nothing could be {what} for {} s", limit.as_secs()),
            "Check the vault's storage and the hosts; the job starts this attempt again by itself.",
        ))
    })
}

/// Reads an open export while looking after its VM: a danger ends the transfer.
pub(super) async fn watched<T>(
    place: &Place,
    export: &Export,
    transfer: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let watching = telemetry::watch_span();
    let mut look = tokio::time::interval(DANGER_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.tick().await;
    tokio::pin!(transfer);
    loop {
        tokio::select! {
            biased;
            end = &mut transfer => return end,
            _ = look.tick() => {
                let danger = place.driver.export_danger(&place.grip, export);
                if let Some(fault) = danger.instrument(watching.clone()).await? {
                    return Err(fault);
                }
            }
        }
    }
}

/// Length of all contents together; 0 when one of them has no length before its end.
pub(super) fn total_bytes(contents: &[Content]) -> u64 {
    contents.iter().map(|content| content.size_bytes).sum::<Option<u64>>().unwrap_or(0)
}
