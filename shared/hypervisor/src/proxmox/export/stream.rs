//! A `vzdump --stdout` that runs, and how it is known that it did all.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::Host;
use drs_transport::{Argv, BoxStream, Remote, Spawned};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::{Log, refused};
use crate::DriverError;
use crate::proxmox::failure;
use crate::proxmox::guest::Guest;
use crate::proxmox::log::Account;
use crate::proxmox::unpack::{ArchiveError, Ending, broken};

/// Longest that vzdump may take behind the last byte of the archive: hooks, stopping a KVM.
const END_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Longest that vzdump may take to end when its archive has ended early or cannot be read.
const FAILURE_LIMIT: Duration = Duration::from_secs(20);

/// A `vzdump --stdout`. It ends when this is dropped.
pub(super) struct Run {
    host: Host,
    guest: Guest,
    remote: Arc<dyn Remote>,
    /// Tells the log.
    watch: Argv,
    exit: oneshot::Receiver<(i32, String)>,
    _stop: DropGuard,
}

impl Run {
    /// The run behind a channel, and its archive for a thread to read.
    pub(super) fn of(
        host: Host,
        guest: Guest,
        remote: Arc<dyn Remote>,
        watch: Argv,
        spawned: Spawned,
    ) -> (Self, impl Read + Send + 'static) {
        let stop = CancellationToken::new();
        let stopped = Box::pin(stop.clone().cancelled_owned());
        let archive = SyncIoBridge::new(Interruptible { stream: spawned.stream, stopped });
        let stop = stop.drop_guard();
        (Self { host, guest, remote, watch, exit: spawned.exit, _stop: stop }, archive)
    }

    /// The log so far; it has told what became of the freeze.
    pub(super) async fn log(&self) -> Result<Log, DriverError> {
        let failed = |reason| DriverError::Failed {
            host: self.host.name.to_string(),
            what: "reading the log of vzdump".into(),
            reason,
        };
        let output = self.remote.exec(&self.watch, Bytes::new()).await?;
        match Log::parse(&output.text()) {
            Some(log) if output.ok() => Ok(log),
            _ => Err(failed(failure::reason(&output.stderr))),
        }
    }

    /// Why the archive broke off or never came: the log tells more than the archive.
    pub(super) async fn why(&mut self, error: ArchiveError) -> DriverError {
        let exit = timeout(FAILURE_LIMIT, &mut self.exit).await;
        let log = self.log().await.map(|log| log.text).unwrap_or_default();
        match exit {
            _ if log.contains("ERROR:") => self.complaint(&log),
            Ok(Ok((0, _))) if log.trim().is_empty() => self.silent(),
            Ok(Ok((code, stderr))) if log.trim().is_empty() && !stderr.trim().is_empty() => {
                refused(&self.host, &self.guest, code, stderr)
            }
            // What is wrong with a call is said without a prefix.
            Ok(Ok(_)) if !log.trim().is_empty() && !log.contains("INFO:") => self.complaint(&log),
            _ => broken(&self.guest.vm.to_string(), error),
        }
    }

    fn complaint(&self, log: &str) -> DriverError {
        failure::classify(&self.host, Some(&self.guest.vm), "vzdump", log)
    }

    /// vzdump ended well without a word: it does that when the guest is not on its node.
    fn silent(&self) -> DriverError {
        DriverError::Failed {
            host: self.host.name.to_string(),
            what: "vzdump".into(),
            reason: "it ended without a backup and without a word, as it does when the guest has moved to another node".into(),
        }
    }
}

#[async_trait]
impl Ending for Run {
    async fn confirm(&mut self, covered: u64) -> Result<(), DriverError> {
        let vm = self.guest.vm.to_string();
        let code = match timeout(END_LIMIT, &mut self.exit).await {
            Ok(Ok((code, _))) => code,
            Ok(Err(_)) => return Err(broken(&vm, "the connection broke before vzdump had ended")),
            Err(_) => return Err(broken(&vm, "vzdump does not end behind its archive")),
        };
        let log = self.log().await?.text;
        let account = Account::read(self.guest.vmid, &log);
        if let Some(told) = account.tar_bytes.filter(|told| *told != covered) {
            let reason = format!("{covered} bytes came of an archive of {told}");
            return Err(broken(&vm, reason));
        }
        match (account.finished, account.data_complete) {
            (true, true) if code == 0 => Ok(()),
            (_, true) => {
                let reason = failure::reason(&log);
                tracing::warn!(%vm, reason, "vzdump failed behind the data: the backup is complete");
                Ok(())
            }
            _ if log.trim().is_empty() => Err(self.silent()),
            _ if log.contains("ERROR:") => Err(self.complaint(&log)),
            _ => Err(broken(&vm, "vzdump was ended before it had confirmed its backup")),
        }
    }

    async fn explain(&mut self, error: ArchiveError) -> DriverError {
        self.why(error).await
    }
}

/// A stream that fails for its reader as soon as nobody wants it any more.
struct Interruptible {
    stream: BoxStream,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Interruptible {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}
