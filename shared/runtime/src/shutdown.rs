//! How a process ends in order: first no new jobs, then none at all.

use tokio_util::sync::CancellationToken;

/// A cloneable signal with two levels; every clone sees both.
///
/// *Drain* means: take no new jobs, finish those that run. *Stop* means: hand every job over now and
/// be gone in seconds. Stop implies drain; neither is ever taken back.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// A signal at neither level.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to take no new jobs and to finish those that run.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks to hand every job over at once.
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// Whether no new jobs are to be taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether every job is to be handed over.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when no new jobs are to be taken.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when every job is to be handed over.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_implies_drain_and_every_clone_sees_both() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        clone.drain();
        shutdown.draining().await;
        assert!(shutdown.is_draining() && !shutdown.is_stopping());
        clone.stop();
        shutdown.stopping().await;
        assert!(shutdown.is_stopping());
    }
}
