//! A host over SSH.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::HostName;
use russh::Sig;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::{Argv, BoxStream, Output, Remote, Spawned, TransportError};

mod address;
mod auth;
mod connection;
mod exec;
mod pool;
mod stream;
mod trace;

use address::Address;
use connection::channel_refused;
use pool::{Endpoint, Pool};

/// How a host is reached.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// What the operator calls the host.
    pub host: HostName,
    /// `[user@]address[:port]`; the user is `root` and the port 22 when not written, an IPv6 address
    /// with a port stands in brackets.
    pub address: String,
    /// The private key (Ed25519 or ECDSA, without a passphrase). Without one the agent is asked.
    pub key_file: Option<PathBuf>,
    /// The SSH agent's socket (`SSH_AUTH_SOCK`); used when no key file is named.
    pub agent_socket: Option<PathBuf>,
    /// Fingerprints of the host's key, `SHA256:...`; any other key is refused. Empty: every key is
    /// refused as [`TransportError::KeyUnknown`], which tells its fingerprint.
    pub pinned: Vec<String>,
    /// Limit for connecting and logging in; [`SshConfig::CONNECT_TIMEOUT`] is a good one.
    pub connect_timeout: Duration,
}

impl SshConfig {
    /// The default limit for connecting and logging in.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    fn unreachable(&self, reason: String) -> TransportError {
        let (host, address) = (self.host.clone(), self.address.clone());
        TransportError::Unreachable { host, address, reason }
    }

    fn protocol(&self, argv: &Argv, answer: &str) -> TransportError {
        let (host, command) = (self.host.clone(), shown(argv));
        TransportError::Protocol { host, command, answer: answer.to_owned() }
    }
}

/// The command for an error message, cut to 200 characters.
fn shown(argv: &Argv) -> String {
    argv.quoted().chars().take(200).collect()
}

/// A host over SSH. Connects at the first call; a connection that broke is made anew at the next
/// one. Cheap to share behind an `Arc`.
pub struct SshRemote {
    pool: Pool,
}

impl SshRemote {
    /// A host that is not connected yet.
    ///
    /// # Errors
    /// [`TransportError::Address`] when the address cannot be read.
    pub fn new(config: SshConfig) -> Result<Self, TransportError> {
        let address = Address::parse(&config.address)?;
        Ok(Self { pool: Pool::new(config, address) })
    }
}

#[async_trait]
impl Remote for SshRemote {
    fn host(&self) -> &HostName {
        &self.pool.config().host
    }

    async fn exec_within(
        &self,
        argv: &Argv,
        stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError> {
        let config = self.pool.config();
        let late = || TransportError::TimedOut {
            host: config.host.clone(),
            command: shown(argv),
            limit_s: limit.as_secs(),
        };
        let span = trace::exec(&config.host, argv);
        let deadline = Instant::now() + limit;
        let waiting = timeout_at(deadline, self.pool.command()).instrument(span.clone());
        let (lease, mut channel) = waiting.await.map_err(|_| late())??;
        let run = exec::run(config, &mut channel, argv, stdin).instrument(span.clone());
        let result = timeout_at(deadline, run).await;
        if let Ok(Ok(output)) = result {
            trace::ended(&span, output.code, output.stdout.len() as u64);
            lease.finished();
            return Ok(output);
        }
        // The server ends it if it can: OpenSSH does so for every login but root's.
        drop(channel.signal(Sig::TERM).await);
        drop(channel.close().await);
        result.map_err(|_| late())?
    }

    async fn spawn(&self, argv: &Argv) -> Result<Spawned, TransportError> {
        let config = self.pool.config();
        let (lease, opened) = self.pool.stream(Endpoint::Command).await?;
        let refused = |error| config.unreachable(channel_refused(&error));
        let channel = opened.map_err(refused)?;
        channel.exec(false, argv.quoted()).await.map_err(refused)?;
        let (tell, exit) = oneshot::channel();
        let command = Some((argv.clone(), tell));
        Ok(Spawned {
            stream: stream::open(
                config.clone(),
                lease,
                channel,
                command,
                trace::stream(&config.host, Some(argv)),
            ),
            exit,
        })
    }

    async fn connect_unix(&self, path: &str) -> Result<BoxStream, TransportError> {
        let config = self.pool.config();
        let (lease, opened) = self.pool.stream(Endpoint::Socket(path)).await?;
        let channel = opened.map_err(|error| {
            config.unreachable(format!("the socket {path}: {}", channel_refused(&error)))
        })?;
        let span = trace::stream(&config.host, None);
        Ok(stream::open(config.clone(), lease, channel, None, span))
    }
}
