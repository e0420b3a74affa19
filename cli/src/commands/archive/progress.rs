//! How far the work on an archive is, on a terminal.

use drs_vma::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// A bar on standard error, when that is a terminal.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new(output: Output, what: &'static str) -> Self {
        let bar = output.is_live().then(|| {
            let bar = ProgressBar::new(0).with_message(what);
            let form = "{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style);
            }
            bar
        });
        Self(bar)
    }

    /// Shows the bytes of the disks that were passed.
    pub(super) fn show(&mut self, progress: Progress) {
        const CLUSTER_BYTES: u64 = 64 * 1024;
        if let Some(bar) = &self.0 {
            bar.set_length(progress.clusters_total.saturating_mul(CLUSTER_BYTES));
            bar.set_position(progress.clusters.saturating_mul(CLUSTER_BYTES));
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
