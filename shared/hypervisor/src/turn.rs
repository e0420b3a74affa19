//! The turns that a job's commands take on a host; `turn.sh` is the host's part.

use std::sync::atomic::{AtomicU64, Ordering};

use drs_model::Grip;

/// Where a command stands among those of its job: behind every one that was issued before it. A claim
/// has one worker process, so the number need not outlive it.
pub(crate) fn order(grip: &Grip) -> String {
    static ISSUED: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}", grip.fence, ISSUED.fetch_add(1, Ordering::Relaxed))
}
