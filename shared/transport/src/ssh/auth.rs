//! Logging in: a private key from a file, or the keys of the SSH agent.

use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use tokio::net::UnixStream;

use super::SshConfig;
use crate::TransportError;

/// What the agent is called in errors.
const AGENT: &str = "the SSH agent";
/// Most keys of the agent that are offered: sshd ends the connection after 6 by default.
const AGENT_KEYS_MAX: usize = 5;

/// What we log in with.
pub(super) enum Credential {
    /// A key from a file: its path and the key.
    File(String, Arc<PrivateKey>),
    /// The SSH agent and the keys it holds.
    Agent(Box<AgentClient<UnixStream>>, Vec<AgentIdentity>),
}

impl Credential {
    /// Reads the configured key file or, without one, asks the agent for its keys.
    pub(super) async fn load(config: &SshConfig) -> Result<Self, TransportError> {
        match (&config.key_file, &config.agent_socket) {
            (Some(path), _) => read_key(path).await,
            (None, Some(socket)) => ask_agent(socket).await,
            (None, None) => Err(unusable(AGENT, "no key is named and no agent runs")),
        }
    }

    /// Logs in with it.
    pub(super) async fn login<H: Handler>(
        self,
        config: &SshConfig,
        user: &str,
        handle: &mut Handle<H>,
    ) -> Result<(), TransportError> {
        let (key, accepted) = match self {
            Self::File(path, key) => {
                let key = PrivateKeyWithHashAlg::new(key, None);
                let answer = handle.authenticate_publickey(user, key).await;
                (path, accepted(config, answer)?)
            }
            Self::Agent(agent, keys) => {
                (AGENT.to_owned(), offer(config, user, handle, *agent, keys).await?)
            }
        };
        if accepted {
            return Ok(());
        }
        let (host, user) = (config.host.clone(), user.to_owned());
        Err(TransportError::AuthenticationFailed { host, user, key })
    }
}

/// Offers one key of the agent after the other.
async fn offer<H: Handler>(
    config: &SshConfig,
    user: &str,
    handle: &mut Handle<H>,
    mut agent: AgentClient<UnixStream>,
    keys: Vec<AgentIdentity>,
) -> Result<bool, TransportError> {
    for key in keys.iter().take(AGENT_KEYS_MAX) {
        let AgentIdentity::PublicKey { key, .. } = key else { continue };
        let answer = handle.authenticate_publickey_with(user, key.clone(), None, &mut agent).await;
        match answer {
            Ok(answer) if answer.success() => return Ok(true),
            Ok(_) => {}
            Err(error) if handle.is_closed() => return Err(config.unreachable(error.to_string())),
            Err(error) => tracing::debug!(%error, "the SSH agent did not sign"),
        }
    }
    Ok(false)
}

fn accepted(
    config: &SshConfig,
    answer: Result<AuthResult, russh::Error>,
) -> Result<bool, TransportError> {
    match answer {
        Ok(answer) => Ok(answer.success()),
        Err(error) => Err(config.unreachable(format!("during the login: {error}"))),
    }
}

async fn read_key(path: &Path) -> Result<Credential, TransportError> {
    let name = path.display().to_string();
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| unusable(&name, error.to_string()))?;
    let key = russh::keys::decode_secret_key(&text, None).map_err(|error| {
        unusable(
            &name,
            match error {
                russh::keys::Error::KeyIsEncrypted => "it is protected by a passphrase".into(),
                _ if text.contains("BEGIN RSA PRIVATE KEY") => RSA_REFUSED.into(),
                error => error.to_string(),
            },
        )
    })?;
    match key.algorithm() {
        Algorithm::Rsa { .. } => Err(unusable(&name, RSA_REFUSED)),
        _ if key.is_encrypted() => Err(unusable(&name, "it is protected by a passphrase")),
        _ => Ok(Credential::File(name, Arc::new(key))),
    }
}

const RSA_REFUSED: &str = "it is an RSA key, these are not supported";

async fn ask_agent(socket: &Path) -> Result<Credential, TransportError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        unusable(AGENT, format!("{what} at {}: {error}", socket.display()))
    };
    let stream =
        UnixStream::connect(socket).await.map_err(|error| failed("it does not listen", &error))?;
    let mut agent = AgentClient::connect(stream);
    let mut keys = agent
        .request_identities()
        .await
        .map_err(|error| failed("it does not list its keys", &error))?;
    keys.retain(|key| match key {
        AgentIdentity::PublicKey { key, .. } => !matches!(key.algorithm(), Algorithm::Rsa { .. }),
        AgentIdentity::Certificate { .. } => false,
    });
    if keys.is_empty() {
        return Err(unusable(AGENT, "it holds no Ed25519 or ECDSA key"));
    }
    Ok(Credential::Agent(Box::new(agent), keys))
}

fn unusable(path: &str, reason: impl Into<String>) -> TransportError {
    TransportError::Key { path: path.to_owned(), reason: reason.into() }
}
