//! Messages in workers' hands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drs_protocol::store::JobMessage;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, Channel};
use tokio::runtime::Handle;

use crate::session::Session;
use crate::trouble::Trouble;

/// How long a worker may have a message before it goes back. Workers acknowledge within seconds; the
/// server's own limit (30 minutes, set for the whole server before RabbitMQ 3.12) would close the channel.
pub(crate) const HELD_MAX: Duration = Duration::from_secs(60);

/// A message that left its queue. Dropped without an acknowledgement it goes back.
pub(crate) struct Held {
    pub(crate) message: JobMessage,
    acker: Acker,
    /// Closed, it would give the message back.
    _channel: Channel,
    session: Arc<Session>,
}

impl Held {
    pub(crate) fn new(
        message: JobMessage,
        acker: Acker,
        channel: Channel,
        session: Arc<Session>,
    ) -> Self {
        Self { message, acker, _channel: channel, session }
    }

    /// The message is dealt with. When its session is over the server hands it out again, which is no
    /// error: whoever gets it then finds its job taken or done.
    pub(crate) async fn acknowledge(self) -> Result<(), Trouble> {
        let job = self.message.id;
        let again = || tracing::debug!(%job, "its connection is lost: the message comes again");
        if self.session.is_over() {
            again();
            return Ok(());
        }
        let acknowledged = self.acker.ack(BasicAckOptions::default());
        match self.session.ask("basic.ack", acknowledged).await {
            Ok(true) => Ok(()),
            Ok(false) if self.session.is_over() => {
                again();
                Ok(())
            }
            Ok(false) => Err(Trouble::Away("not acknowledged: the message may come again".into())),
            Err(trouble) => Err(Trouble::Away(format!("{trouble}: the message may come again"))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.acker.usable() || self.session.is_over() {
            return;
        }
        let (acker, channel) = (self.acker.clone(), self._channel.clone());
        let session = Arc::clone(&self.session);
        // Without a runtime the process ends, and its connections with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let options = BasicNackOptions { requeue: true, multiple: false };
                if let Err(trouble) = session.ask("basic.nack", acker.nack(options)).await {
                    tracing::debug!("goes back with its connection: {trouble}");
                }
                drop(channel);
            });
        }
    }
}

/// What workers have in hand, by tags of our own.
pub(crate) struct Hands<H> {
    next: AtomicU64,
    held: Mutex<HashMap<u64, (Instant, H)>>,
}

impl<H> Default for Hands<H> {
    fn default() -> Self {
        Self { next: AtomicU64::new(1), held: Mutex::default() }
    }
}

impl<H> Hands<H> {
    /// Takes a message into hand; its tag.
    pub(crate) fn take(&self, now: Instant, held: H) -> u64 {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        self.held().insert(tag, (now, held));
        tag
    }

    /// Out of hand again; `None` when it went back already.
    pub(crate) fn release(&self, tag: u64) -> Option<H> {
        self.held().remove(&tag).map(|(_, held)| held)
    }

    /// Drops what was in hand for too long.
    pub(crate) fn drop_overdue(&self, now: Instant) {
        let is_overdue = |since: &Instant| now.duration_since(*since) >= HELD_MAX;
        let overdue: Vec<_> = self.held().extract_if(|_, (since, _)| is_overdue(since)).collect();
        if !overdue.is_empty() {
            tracing::warn!(
                messages = overdue.len(),
                "not acknowledged in {HELD_MAX:?}: given back"
            );
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, (Instant, H)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_goes_back_in_time() {
        let (hands, began) = (Hands::default(), Instant::now());
        let first = Arc::new(());
        let tag = hands.take(began, Arc::clone(&first));
        let later = hands.take(began + HELD_MAX / 2, Arc::new(()));
        hands.drop_overdue(began + HELD_MAX);
        assert_eq!(Arc::strong_count(&first), 1, "it was dropped");
        assert!(hands.release(tag).is_none());
        assert!(hands.release(later).is_some());
    }
}
