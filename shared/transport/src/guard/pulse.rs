//! The worker's sign of life to a host.
//!
//! A worker's machine that loses power closes nothing: the host's SSH server keeps the channel until
//! TCP gives up, hours later. So the worker says something every so often, and the host ends what
//! lives by the channel when it has heard nothing for long enough.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::BoxStream;

/// How often a worker beats on a channel, and how long a host bears its silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Time between two beats. Default 15 s.
    pub beat: Duration,
    /// After so long without a beat the host ends the hold or the served command; whole seconds, at
    /// least one. Default 90 s: five beats may be late or lost with no harm.
    pub silence: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { beat: Duration::from_secs(15), silence: Duration::from_secs(90) }
    }
}

impl Pulse {
    /// The silence as the host's script takes it.
    pub(super) fn silence_seconds(self) -> String {
        self.silence.as_secs().max(1).to_string()
    }

    /// The beats of one channel, beginning now.
    pub(super) fn beats(self) -> Beats {
        let mut ticks = interval(self.beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Beats { ticks, limit: self.beat }
    }
}

/// The beats of one channel.
pub(super) struct Beats {
    ticks: Interval,
    limit: Duration,
}

impl Beats {
    /// Resolves when the next beat is due; may be dropped before.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Sends a beat. A channel that takes five bytes no more within a beat's time is dead.
    pub(super) async fn send(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let sending = async {
            writer.write_all(b"beat\n").await?;
            writer.flush().await
        };
        timeout(self.limit, sending).await.map_err(io::Error::from).flatten()
    }
}

/// The stream of a served command: its output to read, while beats have the way to it for
/// themselves. Both end when this is dropped.
pub(super) struct Served {
    output: ReadHalf<BoxStream>,
    _beating: AbortOnDropHandle<()>,
}

impl Served {
    pub(super) fn new(stream: BoxStream, mut beats: Beats) -> Self {
        let (output, mut writer) = tokio::io::split(stream);
        let beating = tokio::spawn(async move {
            loop {
                beats.due().await;
                if beats.send(&mut writer).await.is_err() {
                    break;
                }
            }
        });
        Self { output, _beating: AbortOnDropHandle::new(beating) }
    }
}

impl AsyncRead for Served {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

/// A served command's standard input is empty.
impl AsyncWrite for Served {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
