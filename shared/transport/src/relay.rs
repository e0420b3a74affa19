//! A way for a local rsync onto the worker's own SSH connection.
//!
//! rsync wants a remote shell, a program that it starts itself. That program must use the worker's key,
//! pinned host keys and connections, none of which may be handed over on a command line or in the
//! environment. So the worker opens a [`Relay`], a Unix socket for one host and one transfer; rsync starts
//! `drs rsh --socket PATH HOST rsync --server ...`; that process is [`rsh()`], which passes the command
//! and the bytes through the socket. The worker runs the command with [`crate::Remote::spawn`].
//!
//! # Who may use it
//! The socket lies in a new directory of mode 0700, so the kernel lets in this process's own user and
//! root, who could as well read the worker's key. What they can run is `rsync --server` on the one host,
//! and nothing once the relay is dropped.
//!
//! # Protocol
//! Frames both ways: one byte that says what it is, four bytes with the length of what follows (big
//! endian, at most 64 KiB), and the content.
//!
//! | frame | from | content |
//! |---|---|---|
//! | `A` | rsh | the next argument, UTF-8: first the host's name, then the command; together 64 KiB at most |
//! | `G` | rsh | nothing: that was the command, run it |
//! | `I` | rsh | bytes for its standard input; empty: its standard input ends |
//! | `O` | relay | bytes of its standard output |
//! | `E` | relay | its standard error, the last 16 KiB, once it has ended |
//! | `X` | relay | its exit code, four bytes; nothing follows |
//!
//! A socket that closes before `X` means that the other side is gone: the relay ends the command, and
//! rsh ends with code 255. An input that ended and a process that ended are thereby two things. Each
//! direction has one frame in memory; who reads slowly holds up the sender.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Rates, Remote, TransportError};

mod frame;
mod rsh;
mod session;

pub use rsh::rsh;

/// A socket through which a local rsync reaches one host.
///
/// Commands run one after the other. Dropping it ends the one that runs, closes the socket and removes
/// its directory.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    ledger: Arc<Ledger>,
    _stop: DropGuard,
    _directory: TempDir,
}

impl Relay {
    /// Opens a socket for commands on this host, whose bytes (both ways) keep these limits.
    ///
    /// # Errors
    /// The socket cannot be made in the directory for temporary files.
    pub fn open(remote: Arc<dyn Remote>, rates: Rates) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("drs-relay-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket)?;
        let ledger = Arc::<Ledger>::default();
        let stop = CancellationToken::new();
        let serving = serve(listener, remote, rates, ledger.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { socket, ledger, _stop: stop.drop_guard(), _directory: directory })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Bytes of input and output that went through so far, both ways together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ledger.bytes.load(Ordering::Relaxed)
    }

    /// How the last command ended; none while it runs.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ledger.ended().clone()
    }
}

/// How a command ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// It was not started, for this reason.
    Unreachable(TransportError),
    /// With this exit code.
    Code(i32),
}

/// What a relay remembers.
#[derive(Debug, Default)]
struct Ledger {
    bytes: AtomicU64,
    ended: Mutex<Option<Ended>>,
}

impl Ledger {
    fn ended(&self) -> std::sync::MutexGuard<'_, Option<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: UnixListener, remote: Arc<dyn Remote>, rates: Rates, ledger: Arc<Ledger>) {
    loop {
        let ended = match listener.accept().await {
            Ok((mut socket, _)) => session::play(&mut socket, &*remote, &rates, &ledger).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(host = %remote.host(), %error, "a relayed command was given up");
        }
    }
}
