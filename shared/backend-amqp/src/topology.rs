//! What is there on the server: queues and exchanges, declared by whoever needs them first.
//!
//! | name | what |
//! |---|---|
//! | `drs.jobs.LANE.{critical,normal,bulk}` | quorum queues of job messages |
//! | `drs.dead` | fanout exchange and quorum queue: at most [`DEAD_MAX`] messages, the oldest go first |
//! | `drs.events` | topic exchange of announcements |
//! | `drs.events.log` | stream of all announcements: 30 days, at most [`LOG_BYTES_MAX`] |
//!
//! Every argument means the same on RabbitMQ 3.10 to 4.x, so that a declaration fits what an older
//! or newer server holds. Above all `x-delivery-limit`: left out it is 20 since 4.0, and -1 is
//! "unlimited" there and "delete at the first return" before.

use drs_model::{JobClass, Lane};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};

/// Exchange and queue of what nobody understands.
pub(crate) const DEAD: &str = "drs.dead";
/// Exchange of announcements.
pub(crate) const EVENTS: &str = "drs.events";
/// Stream of announcements.
const LOG: &str = "drs.events.log";

/// Deliveries of one message before the server puts it aside: attempts are counted in the job's record.
const DELIVERIES_MAX: i32 = 100_000;
/// Messages put aside that are kept.
pub(crate) const DEAD_MAX: i32 = 10_000;
/// Length of the stream of announcements.
const LOG_BYTES_MAX: i64 = 1 << 30;
/// Of its files; the oldest is dropped whole.
const LOG_FILE_BYTES: i64 = 64 << 20;

/// The classes, the most urgent first.
pub(crate) const CLASSES: [JobClass; 3] = [JobClass::Critical, JobClass::Normal, JobClass::Bulk];

/// The queue of a lane's messages of one class.
pub(crate) fn queue(lane: &Lane, class: JobClass) -> String {
    let class = match class {
        JobClass::Critical => "critical",
        JobClass::Normal => "normal",
        JobClass::Bulk => "bulk",
    };
    format!("drs.jobs.{lane}.{class}")
}

/// What does not depend on lanes.
pub(crate) async fn declare(channel: &Channel) -> lapin::Result<()> {
    exchange(channel, DEAD, ExchangeKind::Fanout).await?;
    let length = ("x-max-length", AMQPValue::LongInt(DEAD_MAX));
    quorum_queue(channel, DEAD, [length]).await?;
    bind(channel, DEAD, DEAD, "").await?;
    exchange(channel, EVENTS, ExchangeKind::Topic).await?;
    let log = arguments([
        ("x-queue-type", text("stream")),
        ("x-max-age", text("30D")),
        ("x-max-length-bytes", AMQPValue::LongLongInt(LOG_BYTES_MAX)),
        ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(LOG_FILE_BYTES)),
    ]);
    channel.queue_declare(LOG.into(), DURABLE, log).await?;
    bind(channel, LOG, EVENTS, "#").await
}

/// The queues of a lane.
pub(crate) async fn declare_lane(channel: &Channel, lane: &Lane) -> lapin::Result<()> {
    for class in CLASSES {
        let dead = ("x-dead-letter-exchange", text(DEAD));
        quorum_queue(channel, &queue(lane, class), [dead]).await?;
    }
    Ok(())
}

const DURABLE: QueueDeclareOptions = QueueDeclareOptions {
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

async fn quorum_queue(
    channel: &Channel,
    name: &str,
    further: [(&'static str, AMQPValue); 1],
) -> lapin::Result<()> {
    let mut arguments = arguments(further);
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERIES_MAX));
    channel.queue_declare(name.into(), DURABLE, arguments).await?;
    Ok(())
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
        .await
}

fn arguments<const N: usize>(pairs: [(&'static str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
