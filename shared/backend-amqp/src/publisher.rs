//! Publishing: persistent, mandatory, confirmed.
//!
//! A channel carries one message at a time. With several on their way the client library may pin a
//! returned message to the confirmation of another one, since the server confirms many at once: the
//! one that nobody got would count as delivered.

use std::sync::PoisonError;
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use tokio::time::{error::Elapsed, timeout};

use crate::session::Session;
use crate::trouble::Trouble;

/// How long a confirmation may take.
const CONFIRM: Duration = Duration::from_secs(10);

/// What is published, and where to.
pub(crate) struct Letter<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) key: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) properties: BasicProperties,
}

/// What became of it.
pub(crate) enum Posted {
    /// The server has it.
    Taken,
    /// No queue is there for it; the server has nothing.
    Returned(String),
}

impl Session {
    /// Publishes; when it returns [`Posted::Taken`] the server has it.
    pub(crate) async fn publish(&self, letter: Letter<'_>) -> Result<Posted, Trouble> {
        match timeout(CONFIRM, self.post(letter)).await {
            Ok(posted) => posted,
            Err(Elapsed { .. }) if self.is_blocked() => Err(Trouble::full()),
            Err(Elapsed { .. }) => Err(Trouble::silent("a publication", CONFIRM)),
        }
    }

    /// A caller that gives up half way closes the channel with what is on it.
    async fn post(&self, letter: Letter<'_>) -> Result<Posted, Trouble> {
        let _line = self.lines.acquire().await.map_err(|_| self.why())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => self.publishing().await?,
        };
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = letter.properties.with_delivery_mode(2);
        let (exchange, key) = (letter.exchange.into(), letter.key.into());
        let sent = channel.basic_publish(exchange, key, options, letter.body, properties);
        let confirmation = async { sent.await?.await };
        let answer = tokio::select! {
            biased;
            answer = confirmation => answer.map_err(|error| self.end(error.into()))?,
            () = self.over() => return Err(self.why()),
        };
        let posted = match answer {
            Confirmation::Ack(None) => Posted::Taken,
            Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back)) => returned(&back),
            Confirmation::Nack(None) => {
                return Err(Trouble::Away("it refused to take the message".to_owned()));
            }
            Confirmation::NotRequested => {
                return Err(self.end(Trouble::Away("it does not confirm".to_owned())));
            }
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(posted)
    }
}

fn returned(back: &BasicReturnMessage) -> Posted {
    Posted::Returned(back.reply_text.to_string())
}
