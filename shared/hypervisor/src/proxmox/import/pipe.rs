//! The archive on its way into `qmrestore` or `pct restore`.
//!
//! ```text
//! restore (served by the guard)   pct|qmrestore <FOLDER/pipe     lives as long as its channel
//! feed (a channel of its own)     cat >FOLDER/pipe               our bytes; opened within a minute
//! ```
//! The tool lives and dies with the guarded channel; when the feed ends early, the tool sees a cut
//! archive and fails.

use std::io::{self, Write};
use std::time::Duration;

use async_trait::async_trait;
use drs_model::{Grip, Host, Piece, VmRef};
use drs_transport::{Argv, BoxStream, Output as Left, Spawned};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::io::SyncIoBridge;

use super::unwritten;
use crate::proxmox::vma_sink::{Feed, FeedError, Layout, Output};
use crate::proxmox::{ProxmoxDriver, failure, script};
use crate::{ContentSink, DriverError, ImportPlan};

/// How long the host may take to be ready: an earlier restore of the job may have to be taken back.
const READY_LIMIT: Duration = Duration::from_secs(900);
/// How long the tool may take after the last byte: it makes the configuration and looks at every
/// volume again.
const END_LIMIT: Duration = Duration::from_secs(1800);
/// How long it may take to tell why it reads no more.
const REASON_LIMIT: Duration = Duration::from_secs(120);

/// What is tried, for an error.
const RESTORE: &str = "the restore";

/// A restore that dies before it opens its pipe would be waited for without an end.
const FEED: &str = r#"
(sleep 60; kill -s TERM $$) </dev/null >/dev/null 2>&1 &
guard=$!
exec >"$1"
kill "$guard"
exec cat
"#;

/// The way into the pipe.
struct Inlet {
    stream: SyncIoBridge<BoxStream>,
    exit: oneshot::Receiver<(i32, String)>,
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Output for Inlet {
    /// The channel stays open until the host has passed on the last byte: closing it drops what is
    /// still on its way.
    fn complete(mut self) -> io::Result<()> {
        self.flush()?;
        self.stream.shutdown()?;
        match self.exit.blocking_recv() {
            Ok((0, _)) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A restore that reads what is written here.
pub(super) struct Restoring {
    /// Nobody, once it has failed.
    feed: Option<Feed>,
    /// Nobody, once it was asked why it failed.
    restore: Option<Spawned>,
    host: Host,
    vm: VmRef,
}

impl ProxmoxDriver {
    pub(super) async fn open_pipe(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        restore: &Argv,
        layout: Layout,
    ) -> Result<Restoring, DriverError> {
        let mut restore = self.guard.serve(grip, restore).await?;
        let what = "preparing the restore";
        let mut ready = String::new();
        let mut lines = BufReader::new(&mut restore.stream).take(100);
        match timeout(READY_LIMIT, lines.read_line(&mut ready)).await {
            Ok(Ok(_)) if ready.trim_end() == "READY" => {}
            Ok(_) => {
                let left = ended(restore, REASON_LIMIT).await;
                let left = left.ok_or_else(|| self.failed(what, "the host gave no answer"))?;
                return Err(failure::failure(&self.host, Some(&grip.vm), what, &left));
            }
            Err(_) => return Err(self.failed(what, "the host was not ready in time")),
        }
        let pipe = format!("{}/pipe", self.import_dir(grip));
        let Spawned { stream, exit } =
            self.remote.spawn(&script(FEED, "drs-feed").arg(pipe)).await?;
        let feed = Feed::start(layout, Inlet { stream: SyncIoBridge::new(stream), exit });
        let name = plan.made_as.clone();
        let vm = VmRef { host: grip.vm.host.clone(), name };
        Ok(Restoring { feed: Some(feed), restore: Some(restore), host: self.host.clone(), vm })
    }
}

/// What a command left, if it ends in time.
async fn ended(command: Spawned, limit: Duration) -> Option<Left> {
    let Spawned { stream, exit } = command;
    let end = timeout(limit, exit).await.ok()?.ok();
    drop(stream);
    end.map(|(code, stderr)| Left { code, stdout: Vec::new(), stderr })
}

impl Restoring {
    /// Why the archive was not taken: what the tool says, and only if it says nothing what we saw.
    async fn reason(&mut self, error: FeedError) -> DriverError {
        let Some(restore) = self.restore.take() else { return unwritten(error) };
        if matches!(error, FeedError::Misplaced(_)) {
            return unwritten(error);
        }
        match ended(restore, REASON_LIMIT).await {
            Some(left) if !left.ok() => {
                failure::failure(&self.host, Some(&self.vm), RESTORE, &left)
            }
            _ => unwritten(error),
        }
    }
}

#[async_trait]
impl ContentSink for Restoring {
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError> {
        let Some(feed) = &mut self.feed else { return Err(unwritten(FeedError::Abandoned)) };
        let Err(error) = feed.write(piece).await else { return Ok(()) };
        self.feed = None;
        Err(self.reason(error).await)
    }

    async fn finish(mut self: Box<Self>) -> Result<(), DriverError> {
        let Some(feed) = self.feed.take() else { return Err(unwritten(FeedError::Abandoned)) };
        if let Err(error) = feed.finish().await {
            return Err(self.reason(error).await);
        }
        let Some(restore) = self.restore.take() else {
            return Err(unwritten(FeedError::Abandoned));
        };
        match ended(restore, END_LIMIT).await {
            Some(left) if left.ok() => Ok(()),
            Some(left) => Err(failure::failure(&self.host, Some(&self.vm), RESTORE, &left)),
            None => Err(DriverError::Failed {
                host: self.host.name.to_string(),
                what: RESTORE.to_owned(),
                reason: format!("it did not end within {} s", END_LIMIT.as_secs()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::FEED;

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_is_not_waited_for_without_an_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().await.expect("mkfifo").success());
        let feed = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "drs-feed"]).arg(&pipe).stdin(Stdio::null());
            command.spawn().expect("a shell")
        };
        let unread = feed(&FEED.replace("sleep 60", "sleep 0.05")).wait().await.expect("its end");
        assert!(!unread.success());
        let mut read = feed(FEED);
        assert_eq!(tokio::fs::read(&pipe).await.expect("what came"), b"");
        assert!(read.wait().await.expect("its end").success());
    }
}
