//! Moving archives between a host and the spool with rsync.
//!
//! A transfer that breaks goes on where it stopped, within the step: the archive on the host and what has
//! arrived are hours of work that the undo of the step would throw away. It is given up when several
//! tries in a row have brought nothing new.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drs_model::{Fault, FaultCode};
use drs_transport::rsync::{Moved, Progress};
use drs_transport::{Remote, RsyncError};
use tracing::Instrument;

use crate::saga::StepContext;
use crate::telemetry;

/// Tries in a row that may bring nothing.
const IDLE_TRIES_MAX: u32 = 6;
/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Fetches a host's file into the spool; tells its length.
pub(super) async fn fetch(
    ctx: &StepContext,
    remote: &Arc<dyn Remote>,
    from: &str,
    to: &Path,
) -> Result<u64, Fault> {
    let (rsync, rates) = (&ctx.spool.rsync, ctx.limits.reading());
    let watch = Watch::new(ctx, "fetch");
    let transfer = || rsync.fetch(remote, &rates, from, to, |progress| watch.see(progress));
    traced(&watch, insist(&watch, transfer)).await
}

/// Brings a file of the spool to a host; tells its length.
pub(super) async fn push(
    ctx: &StepContext,
    remote: &Arc<dyn Remote>,
    from: &Path,
    to: &str,
) -> Result<u64, Fault> {
    let (rsync, rates) = (&ctx.spool.rsync, ctx.limits.writing());
    let watch = Watch::new(ctx, "push");
    let transfer = || rsync.push(remote, &rates, from, to, |progress| watch.see(progress));
    traced(&watch, insist(&watch, transfer)).await
}

/// What has arrived so far.
struct Watch<'a> {
    ctx: &'a StepContext,
    step: &'static str,
    arrived: AtomicU64,
}

impl<'a> Watch<'a> {
    fn new(ctx: &'a StepContext, step: &'static str) -> Self {
        Self { ctx, step, arrived: AtomicU64::new(0) }
    }

    fn see(&self, seen: Progress) {
        let before = self.arrived.fetch_max(seen.present, Ordering::Relaxed);
        self.ctx.report.progress(|progress| {
            progress.done_bytes = seen.present;
            progress.total_bytes = seen.total;
            progress.moved_bytes += seen.present.saturating_sub(before);
        });
        if seen.present > before && seen.present < seen.total {
            self.ctx.crash_point(self.step, "midway");
        }
    }
}

async fn traced(
    watch: &Watch<'_>,
    transfer: impl Future<Output = Result<u64, Fault>>,
) -> Result<u64, Fault> {
    let span = telemetry::transfer_span(watch.step);
    let moved = transfer.instrument(span.clone()).await;
    span.record("bytes", watch.arrived.load(Ordering::Relaxed));
    moved
}

async fn insist<F>(watch: &Watch<'_>, transfer: impl Fn() -> F) -> Result<u64, Fault>
where
    F: Future<Output = Result<Moved, RsyncError>>,
{
    let (mut idle, mut pause) = (0, PAUSE.0);
    loop {
        let before = watch.arrived.load(Ordering::Relaxed);
        let fault = match transfer().await {
            Ok(moved) => return Ok(moved.file_bytes),
            Err(error) => error.fault(),
        };
        if watch.arrived.load(Ordering::Relaxed) > before {
            (idle, pause) = (0, PAUSE.0);
        }
        idle += 1;
        // What is gone does not come back by waiting: the next attempt makes it anew.
        let gone = matches!(fault.code, FaultCode::Vanished | FaultCode::SpoolFailed);
        if idle >= IDLE_TRIES_MAX || gone || !fault.is_retryable() {
            return Err(fault);
        }
        let text = format!("{fault}; going on in {} s where it stopped", pause.as_secs());
        watch.ctx.report.warn(text).await;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}
