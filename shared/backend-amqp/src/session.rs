//! One life of the connections: from a successful login to the first trouble.
//!
//! There are two connections, because RabbitMQ stops reading from one that publishes while it is low
//! on memory or disk: acknowledgements must get through all the same.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::time::{error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;

use drs_model::Lane;

use crate::config::Target;
use crate::topology;
use crate::trouble::Trouble;

/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(4);
/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages that are published at one time, each on a channel of its own.
const LINES: usize = 16;

/// Two connections that work, until they do not.
pub(crate) struct Session {
    /// Sessions of one link are numbered from 1.
    pub(crate) number: u64,
    target: Arc<Target>,
    publishing: Connection,
    /// Opened when the first job is asked for.
    consuming: OnceCell<Connection>,
    /// Lanes whose queues are there.
    lanes: Mutex<BTreeSet<Lane>>,
    pub(crate) lines: Semaphore,
    pub(crate) idle: std::sync::Mutex<Vec<Channel>>,
    over: CancellationToken,
    why: OnceLock<Trouble>,
}

impl Session {
    /// Logs in and declares what is not there.
    pub(crate) async fn open(target: Arc<Target>, number: u64) -> Result<Arc<Self>, Trouble> {
        let over = CancellationToken::new();
        let publishing = connect(&target, "publishing").await?;
        let session = Arc::new(Self {
            number,
            target,
            publishing,
            consuming: OnceCell::new(),
            lanes: Mutex::default(),
            lines: Semaphore::new(LINES),
            idle: std::sync::Mutex::default(),
            over,
            why: OnceLock::new(),
        });
        session.listen(&session.publishing);
        let declared = session.declare().await;
        if let Err(trouble) = declared {
            session.close().await;
            return Err(trouble);
        }
        Ok(session)
    }

    async fn declare(&self) -> Result<(), Trouble> {
        let channel = self.channel().await?;
        self.ask("a declaration", topology::declare(&channel)).await?;
        for lane in &self.target.lanes {
            self.ensure(lane).await?;
        }
        Ok(())
    }

    /// Makes sure that the queues of a lane are there.
    pub(crate) async fn ensure(&self, lane: &Lane) -> Result<(), Trouble> {
        let mut lanes = self.lanes.lock().await;
        if !lanes.contains(lane) {
            let channel = self.channel().await?;
            self.ask("a declaration", topology::declare_lane(&channel, lane)).await?;
            lanes.insert(lane.clone());
        }
        Ok(())
    }

    /// The queues of a lane turned out to be gone.
    pub(crate) async fn forget(&self, lane: &Lane) {
        self.lanes.lock().await.remove(lane);
    }

    /// A channel for what is no job to be taken. There is none while the server does not read: it would not
    /// answer, and each question holds a channel until there are no more.
    async fn channel(&self) -> Result<Channel, Trouble> {
        if self.is_blocked() {
            return Err(Trouble::full());
        }
        self.ask("channel.open", self.publishing.create_channel()).await
    }

    /// A channel that confirms what is published on it.
    pub(crate) async fn publishing(&self) -> Result<Channel, Trouble> {
        let channel = self.channel().await?;
        let options = ConfirmSelectOptions::default();
        self.ask("confirm.select", channel.confirm_select(options)).await?;
        Ok(channel)
    }

    /// A channel to take messages from.
    pub(crate) async fn consuming(self: &Arc<Self>) -> Result<Channel, Trouble> {
        let connecting = async || {
            let connection = connect(&self.target, "consuming").await?;
            self.listen(&connection);
            Ok::<_, Trouble>(connection)
        };
        let connection = match self.consuming.get_or_try_init(connecting).await {
            Ok(connection) => connection,
            Err(trouble) => return Err(self.end(trouble)),
        };
        self.ask("channel.open", connection.create_channel()).await
    }

    /// Whether the server takes no messages now: it is low on memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.publishing.status().blocked()
    }

    /// One request to the server. Trouble with it is the end of the session: a client that goes on with
    /// half of its channels hides what is broken.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Trouble> {
        tokio::select! {
            biased;
            answer = timeout(ANSWER, answer) => match answer {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(self.end(error.into())),
                Err(Elapsed { .. }) => Err(self.end(Trouble::silent(what, ANSWER))),
            },
            () = self.over.cancelled() => Err(self.why()),
        }
    }

    /// Ends the session, if nobody did before; why it ended.
    pub(crate) fn end(&self, trouble: Trouble) -> Trouble {
        let why = self.why.get_or_init(|| trouble).clone();
        self.over.cancel();
        why
    }

    /// Returns when the session has ended.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Why it ended.
    pub(crate) fn why(&self) -> Trouble {
        let unknown = || Trouble::Away("the connection is lost".to_owned());
        self.why.get().cloned().unwrap_or_else(unknown)
    }

    /// Says goodbye, briefly; the server then hands out again what was not acknowledged.
    pub(crate) async fn close(&self) {
        self.end(Trouble::Away("this process is closing it".to_owned()));
        for connection in [self.consuming.get(), Some(&self.publishing)].into_iter().flatten() {
            let farewell = connection.close(200, "goodbye".into());
            if !matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
                tracing::debug!(server = self.target.server, "closed without an answer");
            }
        }
    }

    /// Asks the server for as little as can be asked.
    pub(crate) async fn greet(&self) -> Result<(), Trouble> {
        let channel = self.channel().await?;
        self.ask("channel.close", channel.close(200, "greeted".into())).await
    }

    /// Waits in the background for what the server says beside its answers.
    fn listen(self: &Arc<Self>, connection: &Connection) {
        let mut events = connection.events_listener();
        let session = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = session.over.cancelled() => return,
                };
                let server = &session.target.server;
                match event {
                    Some(Event::ConnectionBlocked(why)) => {
                        tracing::warn!(why, "{server} takes no messages now");
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("{server} takes messages again");
                    }
                    Some(Event::Error(error)) => {
                        session.end(error.into());
                    }
                    Some(_) => {}
                    None => {
                        session.end(Trouble::Away("the connection is lost".to_owned()));
                    }
                }
            }
        });
    }
}

async fn connect(target: &Target, purpose: &str) -> Result<Connection, Trouble> {
    let verifier = target.verifier()?;
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} ({purpose})", target.name).into());
    let runtime = lapin::runtime::default_runtime()?;
    // The library's own way trusts the authorities of the machine beside those of a file.
    let dial = async move |uri: AMQPUri, runtime| {
        let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri };
        let stream = plain.connect_async(&runtime).await?;
        match &verifier {
            Some(verifier) => Ok(stream.into_rustls(verifier, &plain.authority.host).await?),
            None => Ok(stream),
        }
    };
    let connecting = Connection::connector(target.uri(), runtime, dial, properties);
    match timeout(CONNECT, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(Elapsed { .. }) => Err(Trouble::silent("a new connection", CONNECT)),
    }
}
