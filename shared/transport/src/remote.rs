//! The port to a host: run a command, keep one running, reach a socket.

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{Fault, FaultClass, FaultCode, HostName, JobId};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Argv;

/// A byte stream both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A byte stream both ways, boxed.
pub type BoxStream = Box<dyn ByteStream>;

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 + n when a signal n ended it.
    pub code: i32,
    /// Standard output, at most [`Output::BYTES_MAX`]; more is an error of the call.
    pub stdout: Vec<u8>,
    /// Standard error, its last 16 KiB, lossily decoded.
    pub stderr: String,
}

impl Output {
    /// Most bytes of standard output that one call keeps.
    pub const BYTES_MAX: usize = 16 * 1024 * 1024;

    /// Whether the exit code is 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output as text, lossily decoded.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A command that runs on a host with its standard input and output in our hands. Dropping it
/// closes the channel; a command that reads its input sees the end of it.
pub struct Spawned {
    /// Its standard output (read) and standard input (write).
    pub stream: BoxStream,
    /// Resolves to its exit code and the last 16 KiB of its standard error when it ends.
    pub exit: tokio::sync::oneshot::Receiver<(i32, String)>,
}

/// Why a host could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("host {host} ({address}) cannot be reached: {reason}")]
    Unreachable {
        /// The host's name.
        host: HostName,
        /// Its address.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// The host's key is not pinned.
    #[error("the key of host {host} is not known: {fingerprint}")]
    KeyUnknown {
        /// The host's name.
        host: HostName,
        /// The fingerprint it showed, `SHA256:...`.
        fingerprint: String,
    },
    /// The host shows another key than the pinned one.
    #[error("the key of host {host} has CHANGED: it shows {fingerprint}, pinned is {pinned}")]
    KeyChanged {
        /// The host's name.
        host: HostName,
        /// The fingerprint it showed.
        fingerprint: String,
        /// The pinned ones.
        pinned: String,
    },
    /// The host refused our key.
    #[error("host {host} refused the login of {user} with {key}")]
    AuthenticationFailed {
        /// The host's name.
        host: HostName,
        /// The login name.
        user: String,
        /// Which key was tried: its path, or "the SSH agent".
        key: String,
    },
    /// Our private key cannot be used.
    #[error("no usable SSH key from {path}: {reason}")]
    Key {
        /// Its path, or "the SSH agent".
        path: String,
        /// Why.
        reason: String,
    },
    /// The host's address cannot be parsed.
    #[error("{address:?} is no SSH address: {reason}")]
    Address {
        /// The text.
        address: String,
        /// Why.
        reason: String,
    },
    /// A command took longer than its limit.
    #[error("`{command}` on host {host} did not end within {limit_s} s")]
    TimedOut {
        /// The host's name.
        host: HostName,
        /// The command.
        command: String,
        /// The limit in seconds.
        limit_s: u64,
    },
    /// A command answered what cannot be understood.
    #[error("`{command}` on host {host} answered {answer:?}")]
    Protocol {
        /// The host's name.
        host: HostName,
        /// The command.
        command: String,
        /// What it answered, cut to 500 characters.
        answer: String,
    },
    /// The guard refused: a newer claim drives this VM.
    #[error("host {host} has seen the newer fencing token {seen}")]
    Stale {
        /// The host's name.
        host: HostName,
        /// The token it has seen.
        seen: u64,
    },
    /// The guard refused: another job has this VM.
    #[error("job {job} has the VM on host {host}")]
    Busy {
        /// The host's name.
        host: HostName,
        /// The job that has it.
        job: JobId,
    },
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        error.fault()
    }
}

impl TransportError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let text = self.to_string();
        match self {
            Self::Unreachable { host, .. } => Fault::transient(
                FaultCode::HostUnreachable,
                text,
                format!(
                    "Check that the host is up and the address is right (`drs host check {host}`)."
                ),
            ),
            Self::KeyUnknown { host, fingerprint } => Fault::permanent(
                FaultCode::HostKeyUnknown,
                text,
                format!(
                    "Compare the fingerprint with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` \
                     there); if it is the same, accept it: `drs host check {host} --accept-key {fingerprint}`."
                ),
            ),
            Self::KeyChanged { host, fingerprint, .. } => Fault::permanent(
                FaultCode::HostKeyChanged,
                text,
                format!(
                    "Somebody may be between you and the host. If the host was reinstalled and shows this \
                     fingerprint itself, accept it: `drs host check {host} --accept-key {fingerprint}`."
                ),
            ),
            Self::AuthenticationFailed { user, .. } => Fault::permanent(
                FaultCode::AuthenticationFailed,
                text,
                format!(
                    "Put the public key into ~{user}/.ssh/authorized_keys on the host, or name another key with `--key`."
                ),
            ),
            Self::Key { .. } => Fault::permanent(
                FaultCode::AuthenticationFailed,
                text,
                "Name a readable Ed25519 or ECDSA key without a passphrase with `--key`, or load it into the SSH agent.",
            ),
            Self::Address { .. } => Fault::permanent(
                FaultCode::InvalidInput,
                text,
                "Write it as user@address:port, for example root@10.0.0.5:22 or root@[fd00::5]:22.",
            ),
            Self::TimedOut { .. } => Fault::transient(
                FaultCode::HostUnreachable,
                text,
                "The host may be overloaded; look at it, the job tries again.",
            ),
            Self::Protocol { .. } => Fault::transient(
                FaultCode::HostUnreachable,
                text,
                "If it stays: something on the host writes to standard output at login (look at /root/.bashrc).",
            ),
            Self::Stale { .. } => Fault::new(
                FaultClass::Transient,
                FaultCode::Fenced,
                text,
                "Another worker has taken the job over; nothing to do.",
            ),
            Self::Busy { .. } => Fault::new(
                FaultClass::Busy,
                FaultCode::VmBusy,
                text,
                "The job waits and tries again; `drs job cancel` ends it.",
            ),
        }
    }
}

/// A host that runs commands.
///
/// Every call is bounded in time and output and never retried here.
#[async_trait]
pub trait Remote: Send + Sync {
    /// The host's name.
    fn host(&self) -> &HostName;

    /// Runs a command to its end. `stdin` is written to it and closed. The limit is 120 s unless
    /// [`Remote::exec_within`] says otherwise.
    ///
    /// # Errors
    /// The host cannot be used, the limit passed, or standard output exceeds
    /// [`Output::BYTES_MAX`]. A non-zero exit code is no error here.
    async fn exec(&self, argv: &Argv, stdin: Bytes) -> Result<Output, TransportError> {
        self.exec_within(argv, stdin, std::time::Duration::from_secs(120)).await
    }

    /// Runs a command to its end within a limit.
    ///
    /// # Errors
    /// As [`Remote::exec`].
    async fn exec_within(
        &self,
        argv: &Argv,
        stdin: Bytes,
        limit: std::time::Duration,
    ) -> Result<Output, TransportError>;

    /// Starts a command and hands over its streams.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn spawn(&self, argv: &Argv) -> Result<Spawned, TransportError>;

    /// Connects to a Unix socket on the host (OpenSSH `direct-streamlocal`).
    ///
    /// # Errors
    /// The host cannot be used, or nothing listens at that path.
    async fn connect_unix(&self, path: &str) -> Result<BoxStream, TransportError>;
}
