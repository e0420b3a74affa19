//! One authenticated SSH connection to a host whose key is pinned.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::cipher;
use russh::client::{self, Handle, Msg};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure, Disconnect, Preferred};
use tokio::time::timeout;

use super::SshConfig;
use super::address::Address;
use super::auth;
use super::pool::Endpoint;
use crate::TransportError;

/// AES-GCM first: with hardware support it moves half again as many bytes as ChaCha20.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Bytes in flight towards us on one channel: 16 MiB fill 1.3 Gbit/s at a round trip of 100 ms.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Packets of at most 32 KiB that a channel keeps for its reader; then the connection waits for it.
const CHANNEL_PACKETS: usize = 64;
/// A host that says nothing is asked after this time...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ...and given up when it leaves this many questions unanswered.
const KEEPALIVE_MISSES: usize = 3;

/// Accepts pinned host keys only, and remembers the key that was shown.
struct Pin {
    pinned: Vec<String>,
    shown: Arc<OnceLock<String>>,
}

impl client::Handler for Pin {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let known = self.pinned.contains(&fingerprint);
        // A second key exchange shows the same key again; the first one is the one to report.
        self.shown.get_or_init(|| fingerprint);
        Ok(known)
    }
}

/// A connection that is logged in. It ends when it is dropped.
pub(super) struct Connection {
    handle: Handle<Pin>,
}

impl Connection {
    /// Connects, checks the host's key and logs in, all within the configured time.
    pub(super) async fn open(
        config: &SshConfig,
        address: &Address,
    ) -> Result<Self, TransportError> {
        let credential = auth::Credential::load(config).await?;
        match timeout(config.connect_timeout, Self::establish(config, address, credential)).await {
            Ok(result) => result,
            Err(_) => Err(config.unreachable(format!(
                "no connection within {} s",
                config.connect_timeout.as_secs_f32()
            ))),
        }
    }

    async fn establish(
        config: &SshConfig,
        address: &Address,
        credential: auth::Credential,
    ) -> Result<Self, TransportError> {
        let shown = Arc::new(OnceLock::new());
        let pin = Pin { pinned: config.pinned.clone(), shown: shown.clone() };
        let target = (address.address.as_str(), address.port);
        let mut handle = client::connect(Arc::new(protocol()), target, pin)
            .await
            .map_err(|error| refused(config, shown.get(), &error))?;
        credential.login(config, &address.user, &mut handle).await?;
        tracing::debug!(host = %config.host, %address, "SSH connection opened");
        Ok(Self { handle })
    }

    /// Whether the connection is known to be broken.
    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a channel.
    pub(super) async fn open_channel(
        &self,
        endpoint: Endpoint<'_>,
    ) -> Result<Channel<Msg>, russh::Error> {
        match endpoint {
            Endpoint::Command => self.handle.channel_open_session().await,
            Endpoint::Socket(path) => self.handle.channel_open_direct_streamlocal(path).await,
        }
    }

    /// Says good-bye; what was sent before is delivered first.
    pub(super) async fn close(self) {
        if let Err(error) = self.handle.disconnect(Disconnect::ByApplication, "", "").await {
            tracing::trace!(%error, "the SSH connection was closed already");
        }
    }
}

fn protocol() -> client::Config {
    client::Config {
        window_size: WINDOW_BYTES,
        channel_buffer_size: CHANNEL_PACKETS,
        preferred: Preferred { cipher: Cow::Borrowed(CIPHERS), ..Preferred::DEFAULT },
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MISSES,
        nodelay: true,
        ..client::Config::default()
    }
}

/// Why no connection came about, from the error and the host key that was shown, if any.
fn refused(config: &SshConfig, shown: Option<&String>, error: &russh::Error) -> TransportError {
    match shown {
        Some(fingerprint) if !config.pinned.contains(fingerprint) => {
            let (host, fingerprint) = (config.host.clone(), fingerprint.clone());
            if config.pinned.is_empty() {
                TransportError::KeyUnknown { host, fingerprint }
            } else {
                TransportError::KeyChanged { host, fingerprint, pinned: config.pinned.join(", ") }
            }
        }
        _ => config.unreachable(error.to_string()),
    }
}

/// Why a channel could not be opened, in words for an operator.
pub(super) fn channel_refused(error: &russh::Error) -> String {
    match error {
        russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
            "it refused to open the channel (nothing listens there, or too many sessions)".into()
        }
        russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => {
            "its SSH server forbids this kind of channel (AllowStreamLocalForwarding, \
             DisableForwarding)"
                .into()
        }
        error => error.to_string(),
    }
}
