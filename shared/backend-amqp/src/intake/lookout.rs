//! One queue at work: a look into it, or a bell on it.

use std::sync::Arc;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Input;
use crate::dead;
use crate::gate::{Event, Found};
use crate::hands::Held;
use crate::message::{self, Unfit};
use crate::session::Session;
use crate::trouble::Trouble;

/// A queue, and whom to tell what is found there. What fails ends the session, of which the intake
/// hears from the link.
pub(super) struct Lookout {
    pub(super) session: Arc<Session>,
    /// A channel that was used before.
    pub(super) spare: Option<Channel>,
    pub(super) queue: usize,
    pub(super) name: Arc<str>,
    pub(super) tell: mpsc::UnboundedSender<Input>,
}

impl Lookout {
    /// Looks once.
    pub(super) async fn look(mut self, look: u64) {
        if let Err(trouble) = self.looked(look).await {
            tracing::debug!(queue = &*self.name, "no look: {trouble}");
        }
    }

    async fn looked(&mut self, look: u64) -> Result<(), Trouble> {
        let channel = self.channel().await?;
        let get = channel.basic_get(self.queue_name(), BasicGetOptions::default());
        let found = match self.session.ask("basic.get", get).await? {
            None => Found::Nothing,
            Some(got) => match self.hold(&channel, got.delivery) {
                None => Found::Unfit,
                Some(message) => Found::Message { message, left: got.message_count as usize },
            },
        };
        self.tell(Event::Looked { queue: self.queue, look, found }, Some(channel));
        Ok(())
    }

    /// Waits for one message, or until it is taken off.
    pub(super) async fn hang(mut self, bell: u64, taken_off: CancellationToken) {
        if let Err(trouble) = self.hung(bell, taken_off).await {
            tracing::debug!(queue = &*self.name, "no bell: {trouble}");
        }
    }

    async fn hung(&mut self, bell: u64, taken_off: CancellationToken) -> Result<(), Trouble> {
        let channel = self.channel().await?;
        let tag = ShortString::from(format!("bell-{bell}"));
        let options = BasicConsumeOptions::default();
        let consume =
            channel.basic_consume(self.queue_name(), tag.clone(), options, FieldTable::default());
        let mut consumer = self.session.ask("basic.consume", consume).await?;
        let delivery = tokio::select! {
            biased;
            delivery = next(&mut consumer) => delivery,
            () = self.session.over() => return Ok(()),
            () = taken_off.cancelled() => {
                let cancel = channel.basic_cancel(tag, BasicCancelOptions::default());
                self.session.ask("basic.cancel", cancel).await?;
                // What came before the server heard of it.
                if let Some(Ok(late)) = next(&mut consumer).await {
                    let message = self.hold(&channel, late);
                    self.tell(Event::Rang { queue: self.queue, bell, message }, None);
                }
                return Ok(());
            }
        };
        match delivery {
            Some(Ok(delivery)) => {
                // Sent before the message is handed on, so before its acknowledgement.
                let cancel = channel.basic_cancel(tag, BasicCancelOptions { nowait: true });
                self.session.ask("basic.cancel", cancel).await?;
                let message = self.hold(&channel, delivery);
                self.tell(Event::Rang { queue: self.queue, bell, message }, Some(channel));
                Ok(())
            }
            Some(Err(error)) => Err(self.session.end(error.into())),
            None => Err(self.session.end(Trouble::Away(format!("it cancelled {}", self.name)))),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Trouble> {
        match self.spare.take() {
            Some(channel) => Ok(channel),
            None => open(&self.session).await,
        }
    }

    /// Takes a message into hand; one that nobody understands is put aside instead.
    fn hold(&self, channel: &Channel, delivery: Delivery) -> Option<Box<Held>> {
        match message::decode(&delivery.data, &delivery.properties) {
            Ok(message) => {
                let (channel, session) = (channel.clone(), Arc::clone(&self.session));
                Some(Box::new(Held::new(message, delivery.acker, channel, session)))
            }
            Err(Unfit(reason)) => {
                let (session, queue) = (Arc::clone(&self.session), Arc::clone(&self.name));
                let channel = channel.clone();
                tokio::spawn(async move {
                    dead::put_aside(&session, &queue, delivery, &reason).await;
                    // The channel had to stay open for the acknowledgement.
                    drop(channel);
                });
                None
            }
        }
    }

    fn tell(&self, event: Event<Box<Held>>, channel: Option<Channel>) {
        let session = self.session.number;
        if self.tell.send(Input::Heard { session, event, channel }).is_err() {
            tracing::trace!("the intake has ended");
        }
    }

    fn queue_name(&self) -> ShortString {
        ShortString::from(&*self.name)
    }
}

/// A channel whose consumers get one message at a time.
pub(super) async fn open(session: &Arc<Session>) -> Result<Channel, Trouble> {
    let channel = session.consuming().await?;
    session.ask("basic.qos", channel.basic_qos(1, BasicQosOptions::default())).await?;
    Ok(channel)
}

async fn next(consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
    consumer.next().await
}
