//! The connections of one host.
//!
//! Short commands share connections: at most [`CHANNELS_MAX`] at a time on each, on at most
//! [`CONNECTIONS_MAX`] connections. A stream has a connection of its
//! own, because a connection waits for its slowest reader: a stream that nobody reads for a while
//! would stop every command beside it, and two streams piped into each other would stop for ever.
//! When a stream has come to its end, one such connection is kept for the next stream: logging in takes
//! longer than anything else that is done to start a job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::Msg;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::SshConfig;
use super::address::Address;
use super::connection::{Connection, channel_refused};
use crate::TransportError;

/// Commands at a time on one connection: half of sshd's `MaxSessions`, because sshd may see all of
/// them replaced before it counts the first one as ended.
const CHANNELS_MAX: usize = 5;
/// Connections that carry commands.
const CONNECTIONS_MAX: usize = 4;
/// Streams at a time, each with its connection.
const STREAMS_MAX: usize = 32;
/// How long a stream waits for another one to end.
const STREAM_WAIT: Duration = Duration::from_secs(60);

/// What a stream leads to.
#[derive(Clone, Copy)]
pub(super) enum Endpoint<'a> {
    /// A command.
    Command,
    /// A Unix socket on the host.
    Socket(&'a str),
}

/// The connections of one host.
pub(super) struct Pool {
    config: SshConfig,
    address: Address,
    commands: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    spare: Arc<Spare>,
    shared: Mutex<Vec<Arc<Shared>>>,
    /// Connections are made one at a time (sshd's `MaxStartups`). Holds the last failure, which
    /// answers everybody who was waiting meanwhile.
    connecting: tokio::sync::Mutex<Option<(Instant, TransportError)>>,
}

/// A connection that carries commands.
struct Shared {
    connection: Connection,
    channels: Arc<Semaphore>,
    /// No new command is put on it: a command was given up, and sshd counts it until it ends.
    retired: AtomicBool,
}

/// A place for one command. Given back when dropped; unless [`Lease::finished`] was called before,
/// the connection is retired.
pub(super) struct Lease {
    shared: Arc<Shared>,
    fresh: bool,
    finished: bool,
    _channel: OwnedSemaphorePermit,
    _command: OwnedSemaphorePermit,
}

impl Lease {
    /// The command ended and its channel is closed.
    pub(super) fn finished(mut self) {
        self.finished = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.retired.store(true, Ordering::Relaxed);
        }
    }
}

/// The connection of a stream that has ended.
#[derive(Default)]
struct Spare(Mutex<Option<Connection>>);

impl Spare {
    fn take(&self) -> Option<Connection> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|connection| !connection.is_closed())
    }

    /// Keeps a connection in place of the one that was kept.
    fn keep(&self, connection: Connection) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(connection)
    }
}

/// A connection that carries one stream, and its place among the streams.
pub(super) struct StreamLease {
    connection: Connection,
    spare: Arc<Spare>,
    _permit: OwnedSemaphorePermit,
}

impl StreamLease {
    /// The stream is over. `finished`: its channel is closed, so that another one can have the
    /// connection.
    pub(super) async fn over(self, finished: bool) {
        let surplus = if finished && !self.connection.is_closed() {
            self.spare.keep(self.connection)
        } else {
            Some(self.connection)
        };
        if let Some(connection) = surplus {
            connection.close().await;
        }
    }
}

impl Pool {
    pub(super) fn new(config: SshConfig, address: Address) -> Self {
        Self {
            config,
            address,
            commands: Arc::new(Semaphore::new(CHANNELS_MAX * CONNECTIONS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            spare: Arc::default(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> &SshConfig {
        &self.config
    }

    /// A channel for a short command. A pooled connection that turns out to be broken is replaced:
    /// nothing was sent over it yet.
    pub(super) async fn command(&self) -> Result<(Lease, Channel<Msg>), TransportError> {
        loop {
            let lease = self.lease().await?;
            match lease.shared.connection.open_channel(Endpoint::Command).await {
                Ok(channel) => return Ok((lease, channel)),
                Err(error) if lease.fresh || !lease.shared.connection.is_closed() => {
                    return Err(self.config.unreachable(channel_refused(&error)));
                }
                Err(error) => tracing::debug!(%error, "a pooled SSH connection is broken"),
            }
        }
    }

    /// A connection for one stream, and what came of opening its channel there. A kept connection that
    /// turns out to be broken is replaced: nothing was sent over it yet.
    pub(super) async fn stream(
        &self,
        endpoint: Endpoint<'_>,
    ) -> Result<(StreamLease, Result<Channel<Msg>, russh::Error>), TransportError> {
        let Ok(Ok(permit)) = timeout(STREAM_WAIT, self.streams.clone().acquire_owned()).await
        else {
            return Err(self
                .config
                .unreachable(format!("{STREAMS_MAX} streams are open, no more are allowed")));
        };
        let lease = |connection| {
            let spare = Arc::clone(&self.spare);
            StreamLease { connection, spare, _permit: permit }
        };
        if let Some(connection) = self.spare.take() {
            let opened = connection.open_channel(endpoint).await;
            if opened.is_ok() || !connection.is_closed() {
                return Ok((lease(connection), opened));
            }
            tracing::debug!("a kept SSH connection is broken");
        }
        let asked = Instant::now();
        let mut last = self.connecting.lock().await;
        let connection = self.connect(asked, &mut last).await?;
        drop(last);
        let opened = connection.open_channel(endpoint).await;
        Ok((lease(connection), opened))
    }

    async fn lease(&self) -> Result<Lease, TransportError> {
        let Ok(command) = self.commands.clone().acquire_owned().await else {
            return Err(self.config.unreachable("the pool is closed".into()));
        };
        let asked = Instant::now();
        let (shared, channel, fresh) = match self.vacancy() {
            Some((shared, channel)) => (shared, channel, false),
            None => self.grow(asked).await?,
        };
        Ok(Lease { shared, fresh, finished: false, _channel: channel, _command: command })
    }

    /// Makes another shared connection, unless a place was given back meanwhile.
    async fn grow(
        &self,
        asked: Instant,
    ) -> Result<(Arc<Shared>, OwnedSemaphorePermit, bool), TransportError> {
        let mut last = self.connecting.lock().await;
        if let Some((shared, channel)) = self.vacancy() {
            return Ok((shared, channel, false));
        }
        let connection = self.connect(asked, &mut last).await?;
        let channels = Arc::new(Semaphore::new(CHANNELS_MAX));
        let shared = Arc::new(Shared {
            connection,
            channels: channels.clone(),
            retired: AtomicBool::new(false),
        });
        let Ok(channel) = channels.try_acquire_owned() else {
            return Err(self.config.unreachable("the connection has no place".into()));
        };
        self.shared().push(shared.clone());
        Ok((shared, channel, true))
    }

    /// A free place on a living connection; broken ones are dropped on the way.
    fn vacancy(&self) -> Option<(Arc<Shared>, OwnedSemaphorePermit)> {
        let mut list = self.shared();
        list.retain(|shared| {
            let retired = shared.retired.load(Ordering::Relaxed);
            if shared.connection.is_closed() && !retired {
                tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "ssh", value = 1);
            }
            !shared.connection.is_closed() && !retired
        });
        list.iter().find_map(|shared| {
            let channel = shared.channels.clone().try_acquire_owned().ok()?;
            Some((shared.clone(), channel))
        })
    }

    async fn connect(
        &self,
        asked: Instant,
        last: &mut Option<(Instant, TransportError)>,
    ) -> Result<Connection, TransportError> {
        if let Some((at, error)) = last.as_ref()
            && *at >= asked
        {
            return Err(error.clone());
        }
        let result = Connection::open(&self.config, &self.address).await;
        *last = result.as_ref().err().map(|error| (Instant::now(), error.clone()));
        result
    }

    fn shared(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
