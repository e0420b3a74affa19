//! Dispatch on the file.
//!
//! A message that is taken is hidden for [`HIDDEN`]; one that is not acknowledged by then comes
//! again. A job has one message: published again while it waits, nothing changes; published again
//! while it is taken, it is available at once under a new tag, which the acknowledgement of the
//! older delivery does not touch. So a wake that comes while a worker still puts the job's last
//! message away is never lost, and a sweep brings back what a dead worker took.
//!
//! A caller that drops `next` half way may leave a message taken, which then comes back after
//! [`HIDDEN`]: give it a short `wait` and let it end.

use std::time::Duration;

use async_trait::async_trait;
use drs_backend::{BackendError, Delivery, Dispatch};
use drs_model::{JobClass, SignedDuration, Timestamp};
use drs_protocol::store::JobMessage;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::{Instant, sleep_until};

use crate::SqliteBackend;
use crate::failure::Failure;
use crate::rows::{json, nanoseconds, rank, to_json};
use crate::writer::Durability;

/// How long a message may be taken; workers acknowledge within seconds.
pub(crate) const HIDDEN: SignedDuration = SignedDuration::from_secs(60);
/// How often a waiting worker looks for what other processes published and for what came back. What
/// its own process publishes wakes it at once.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) const FORGET_TAKEN: &str = "DELETE FROM message WHERE job = ?1 AND taken_until > 0";
pub(crate) const PUBLISH: &str = "\
    INSERT INTO message (job, class, created_at, taken_until, body) VALUES (?1, ?2, ?3, 0, ?4) \
    ON CONFLICT (job) DO NOTHING";
pub(crate) const NEXT: &str = "\
    SELECT tag, body FROM message WHERE class = ?1 AND taken_until <= ?2 \
    ORDER BY created_at, tag LIMIT 1";
pub(crate) const TAKE: &str = "UPDATE message SET taken_until = ?2 WHERE tag = ?1";
pub(crate) const ACK: &str = "DELETE FROM message WHERE tag = ?1";

#[async_trait]
impl Dispatch for SqliteBackend {
    async fn publish(&self, message: &JobMessage) -> Result<(), BackendError> {
        let message = message.clone();
        self.database
            .write(Durability::Relaxed, move |connection| publish(connection, &message))
            .await?;
        self.published.notify_waiters();
        Ok(())
    }

    async fn next(
        &self,
        classes: &[JobClass],
        wait: Duration,
    ) -> Result<Option<Delivery>, BackendError> {
        let mut classes = classes.to_vec();
        classes.sort_unstable();
        let deadline = Instant::now() + wait;
        loop {
            let mut published = std::pin::pin!(self.published.notified());
            // From here on no publication goes unnoticed.
            published.as_mut().enable();
            // An idle worker only reads: a look that wrote would keep every other process waiting.
            if self.waits_at(Timestamp::now(), classes.clone()).await?
                && let Some(delivery) = self.take_at(Timestamp::now(), classes.clone()).await?
            {
                return Ok(Some(delivery));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            tokio::select! {
                () = published => {}
                () = sleep_until(deadline.min(now + LOOK_EVERY)) => {}
            }
        }
    }

    async fn ack(&self, delivery: Delivery) -> Result<(), BackendError> {
        self.database
            .write(Durability::Relaxed, move |connection| {
                connection.prepare_cached(ACK)?.execute([delivery.tag.cast_signed()])?;
                Ok(())
            })
            .await
    }

    async fn give_back(&self, delivery: Delivery) -> Result<(), BackendError> {
        self.database
            .write(Durability::Relaxed, move |connection| {
                connection.prepare_cached(TAKE)?.execute(params![delivery.tag.cast_signed(), 0])?;
                Ok(())
            })
            .await?;
        self.published.notify_waiters();
        Ok(())
    }
}

impl SqliteBackend {
    /// Whether a message of these classes is available at `now`.
    async fn waits_at(&self, now: Timestamp, classes: Vec<JobClass>) -> Result<bool, BackendError> {
        self.database
            .read(move |connection| {
                for class in classes {
                    let values = params![rank(class), nanoseconds(now)];
                    if connection.prepare_cached(NEXT)?.exists(values)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
            .await
    }

    /// Takes the best message of these classes (the most urgent first) that is available at `now`.
    pub(crate) async fn take_at(
        &self,
        now: Timestamp,
        classes: Vec<JobClass>,
    ) -> Result<Option<Delivery>, BackendError> {
        self.database
            .write(Durability::Relaxed, move |connection| take(connection, now, &classes))
            .await
    }
}

fn publish(connection: &Connection, message: &JobMessage) -> Result<(), Failure> {
    let job = message.id.to_string();
    connection.prepare_cached(FORGET_TAKEN)?.execute([&job])?;
    let body = to_json("message", message)?;
    let values = params![job, rank(message.class), nanoseconds(message.created_at), body];
    connection.prepare_cached(PUBLISH)?.execute(values)?;
    Ok(())
}

fn take(
    connection: &Connection,
    now: Timestamp,
    classes: &[JobClass],
) -> Result<Option<Delivery>, Failure> {
    for class in classes {
        let found: Option<(i64, String)> = connection
            .prepare_cached(NEXT)?
            .query_row(params![rank(*class), nanoseconds(now)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((tag, body)) = found {
            connection.prepare_cached(TAKE)?.execute([tag, nanoseconds(now + HIDDEN)])?;
            let message = json("message", &body)?;
            return Ok(Some(Delivery { message, tag: tag.cast_unsigned() }));
        }
    }
    Ok(None)
}
