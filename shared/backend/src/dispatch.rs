//! The port that hands messages to workers, at least once.

use std::time::Duration;

use async_trait::async_trait;
use drs_model::JobClass;
use drs_protocol::store::JobMessage;

use crate::BackendError;

/// A message in a worker's hand. Not acknowledged, it is delivered again: at once when the adapter
/// notices that the worker is gone, else after the adapter's time-out (stated there).
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: JobMessage,
    /// What the adapter needs to acknowledge it.
    pub tag: u64,
}

/// Hands messages to workers. Duplicates are allowed, loss is repaired by the sweeper, order is by
/// class and then roughly by age.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Hands a message in; when it returns the adapter has it.
    ///
    /// # Errors
    /// The adapter failed; the message may or may not be in.
    async fn publish(&self, message: &JobMessage) -> Result<(), BackendError>;

    /// The next message of one of these classes, or `None` when none came within `wait`. A worker
    /// asks only while it has a free slot, so no message ever waits inside a busy worker.
    ///
    /// # Errors
    /// The adapter failed.
    async fn next(
        &self,
        classes: &[JobClass],
        wait: Duration,
    ) -> Result<Option<Delivery>, BackendError>;

    /// The message is dealt with.
    ///
    /// # Errors
    /// The adapter failed; the message may come again.
    async fn ack(&self, delivery: Delivery) -> Result<(), BackendError>;

    /// The worker cannot deal with the message: others may take it now.
    ///
    /// # Errors
    /// The adapter failed; the message comes again after its time-out.
    async fn give_back(&self, delivery: Delivery) -> Result<(), BackendError>;
}
