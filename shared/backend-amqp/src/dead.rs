//! Dead letters: what nobody understands, and what was delivered too often.
//!
//! The first sort is put aside here: a copy in `drs.dead` with headers that tell why, confirmed, and
//! only then is the original acknowledged. A crash between the two leaves both, and the original is
//! put aside once more. The second sort is put there by the server.
//!
//! Reading them takes them out of the queue for a moment: who reads at the same time may miss some. All are
//! read each time: the server puts what is given back behind what was given back before, so that to give back
//! some of them would change their order.

use std::time::Duration;

use async_trait::async_trait;
use drs_backend::{BackendError, DeadLetter, DeadLetters, Named};
use drs_model::{JobId, Timestamp};
use drs_protocol::store::JobMessage;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use uuid::Uuid;

use crate::AmqpDispatch;
use crate::message::{self, BYTES_MAX, header, text, words};
use crate::publisher::{Letter, Posted};
use crate::session::Session;
use crate::topology::{DEAD, DEAD_MAX};
use crate::trouble::Trouble;

const REASON: &str = "x-drs-reason";
const QUEUE: &str = "x-drs-queue";
const AT: &str = "x-drs-at";
/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Puts a message aside, and tries that for as long as the session lasts: the original waits meanwhile.
pub(crate) async fn put_aside(session: &Session, queue: &str, original: Delivery, reason: &str) {
    tracing::warn!(queue, reason, "put aside among the dead letters");
    loop {
        match set_aside(session, queue, &original, reason).await {
            Ok(()) => {
                return tracing::info!(target: "drs::metric", name = "drs_dead_letters_total", value = 1);
            }
            Err(trouble) => tracing::warn!(queue, "cannot put a message aside: {trouble}"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = session.over() => return,
        }
    }
}

async fn set_aside(
    session: &Session,
    queue: &str,
    original: &Delivery,
    reason: &str,
) -> Result<(), Trouble> {
    let mut headers = original.properties.headers().clone().unwrap_or_default();
    headers.insert(REASON.into(), text(reason));
    headers.insert(QUEUE.into(), text(queue));
    headers.insert(AT.into(), text(&Timestamp::now().to_string()));
    let mut properties = BasicProperties::default()
        .with_message_id(Uuid::now_v7().to_string().into())
        .with_headers(headers);
    if let Some(content_type) = original.properties.content_type() {
        properties = properties.with_content_type(content_type.clone());
    }
    // Of what is too large the beginning is kept.
    let body = &original.data[..original.data.len().min(BYTES_MAX)];
    match session.publish(Letter { exchange: DEAD, key: "", body, properties }).await? {
        Posted::Taken => {}
        Posted::Returned(why) => return Err(Trouble::Away(format!("{DEAD} is not there ({why})"))),
    }
    let acknowledged = original.acker.ack(BasicAckOptions::default());
    session.ask("basic.ack", acknowledged).await.map(|_| ())
}

#[async_trait]
impl DeadLetters for AmqpDispatch {
    async fn dead(&self, limit: usize) -> Result<Vec<DeadLetter>, BackendError> {
        let session = self.session().await?;
        let reading = async {
            let channel = session.consuming().await?;
            let mut letters = Vec::new();
            read_all(&session, &channel, |delivery| {
                if letters.len() < limit {
                    letters.push(letter(&delivery));
                }
            })
            .await?;
            put_back(&session, &channel).await?;
            Ok(letters)
        };
        reading.await.map_err(|trouble| self.told(trouble))
    }

    async fn replay(&self, id: &str) -> Result<JobId, BackendError> {
        self.with_one(id, async |session, delivery| {
            let damaged = |reason| BackendError::LetterDamaged { id: id.to_owned(), reason };
            let message: JobMessage = message::decode(&delivery.data, &delivery.properties)
                .map_err(|unfit| damaged(unfit.0))?;
            self.post(session, &message).await?;
            Ok(message.id)
        })
        .await
    }

    async fn remove(&self, id: &str) -> Result<(), BackendError> {
        self.with_one(id, async |_, _| Ok(())).await
    }
}

impl AmqpDispatch {
    /// Does something about one of them, and then takes it away.
    async fn with_one<T>(
        &self,
        id: &str,
        act: impl AsyncFnOnce(&Session, &Delivery) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let session = self.session().await?;
        let channel = session.consuming().await.map_err(|trouble| self.told(trouble))?;
        let acted = match find(&session, &channel, id).await {
            Ok(Some(delivery)) => self.settle(&session, &delivery, act).await,
            Ok(None) => Err(BackendError::NotFound(Named::DeadLetter(id.to_owned()))),
            Err(trouble) => Err(self.told(trouble)),
        };
        let put_back = put_back(&session, &channel).await;
        let answer = acted?;
        put_back.map_err(|trouble| self.told(trouble))?;
        Ok(answer)
    }

    async fn settle<T>(
        &self,
        session: &Session,
        delivery: &Delivery,
        act: impl AsyncFnOnce(&Session, &Delivery) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let answer = act(session, delivery).await?;
        let acknowledged = delivery.acker.ack(BasicAckOptions::default());
        session.ask("basic.ack", acknowledged).await.map_err(|trouble| self.told(trouble))?;
        Ok(answer)
    }
}

/// The one of that id, in hand.
async fn find(session: &Session, channel: &Channel, id: &str) -> Result<Option<Delivery>, Trouble> {
    let mut found = None;
    read_all(session, channel, |delivery| {
        if found.is_none() && id_of(&delivery) == id {
            found = Some(delivery);
        }
    })
    .await?;
    Ok(found)
}

/// Takes them all in hand, the oldest first.
async fn read_all(
    session: &Session,
    channel: &Channel,
    mut see: impl FnMut(Delivery),
) -> Result<(), Trouble> {
    for _ in 0..DEAD_MAX {
        let got = channel.basic_get(DEAD.into(), BasicGetOptions::default());
        match session.ask("basic.get", got).await? {
            Some(got) => see(got.delivery),
            None => break,
        }
    }
    Ok(())
}

/// Gives back whatever was read on a channel, and closes it.
async fn put_back(session: &Session, channel: &Channel) -> Result<(), Trouble> {
    let all = BasicNackOptions { multiple: true, requeue: true };
    session.ask("basic.nack", channel.basic_nack(0, all)).await?;
    session.ask("channel.close", channel.close(200, "read".into())).await
}

/// The id that it got when it was put aside, or the job's when the server did that.
fn id_of(delivery: &Delivery) -> String {
    delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default()
}

fn letter(delivery: &Delivery) -> DeadLetter {
    let said = |name| header(&delivery.properties, name).and_then(words);
    let death = death(&delivery.properties);
    let of_death = |name| death.and_then(|death| death.inner().get(name));
    let reason = said(REASON).unwrap_or_else(|| match of_death("reason").and_then(words) {
        Some(reason) if reason == "delivery_limit" => {
            "delivered too often without being dealt with".to_owned()
        }
        Some(reason) => format!("put aside by the server: {reason}"),
        None => "not known".to_owned(),
    });
    let at = match said(AT) {
        Some(at) => at.parse().ok(),
        None => of_death("time").and_then(|time| match time {
            AMQPValue::Timestamp(seconds) => i64::try_from(*seconds)
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok()),
            _ => None,
        }),
    };
    let queue = said(QUEUE).or_else(|| of_death("queue").and_then(words)).unwrap_or_default();
    let job = serde_json::from_slice::<OfJob>(&delivery.data).ok().map(|body| body.id);
    let body = shown(&delivery.data);
    DeadLetter { id: id_of(delivery), reason, at, queue, job, body }
}

/// What of a message is needed to tell its job.
#[derive(serde::Deserialize)]
struct OfJob {
    id: JobId,
}

/// The server's own note on why it put a message aside: the latest one.
fn death(properties: &BasicProperties) -> Option<&FieldTable> {
    match header(properties, "x-death")? {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

/// A body for people's eyes: control characters are escaped.
fn shown(body: &[u8]) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    let text: String = body.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.extend(chunk.valid().chars().map(visible));
        text.push_str(&chunk.invalid().escape_ascii().to_string());
        text
    });
    text.chars().take(DeadLetter::CHARS_MAX).collect()
}
