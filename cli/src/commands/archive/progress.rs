//! How far the work on an archive is, on a terminal.

use drs_vma::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// A bar on standard error, when that is a terminal; gone when it is dropped.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new(output: Output, what: &'static str) -> Self {
        let bar = output.is_live().then(|| {
            let bar = ProgressBar::new(0).with_message(what);
            let form = "{msg} [{bar:24}] {percent}% {binary_bytes}/{binary_total_bytes} \
                        {binary_bytes_per_sec} eta {eta}";
            // The template is a constant; if it were wrong, indicatif's own would show.
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self(bar)
    }

    /// Shows how much of the disks was passed, zeros included.
    pub(super) fn show(&self, progress: Progress) {
        const CLUSTER_BYTES: u64 = 64 * 1024;
        if let Some(bar) = &self.0 {
            bar.set_length(progress.clusters_total.saturating_mul(CLUSTER_BYTES));
            bar.set_position(progress.clusters.saturating_mul(CLUSTER_BYTES));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
