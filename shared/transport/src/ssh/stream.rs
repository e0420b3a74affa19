//! A channel as a byte stream both ways, with backpressure: when the reader stops, at most a few MiB
//! wait here and the host's sender stops too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::Span;

use super::exec::End;
use super::pool::StreamLease;
use super::{SshConfig, trace};
use crate::{Argv, BoxStream};

/// Packets between the connection and the reader.
const PACKETS: usize = 16;

/// Code of a command whose end was not told: the connection broke.
const CODE_UNKNOWN: i32 = 255;

/// Makes a stream of a channel. The connection is given back when it ends.
pub(super) fn open(
    config: SshConfig,
    lease: StreamLease,
    channel: Channel<Msg>,
    command: Option<(Argv, oneshot::Sender<(i32, String)>)>,
    span: Span,
) -> BoxStream {
    let (packets, incoming) = mpsc::channel(PACKETS);
    let closed = CancellationToken::new();
    let stream = ChannelStream {
        incoming,
        current: Bytes::new(),
        outgoing: Box::pin(channel.make_writer()),
        ended: false,
        closed: Box::pin(closed.clone().cancelled_owned()),
    };
    tokio::spawn(async move {
        let mut bytes = 0;
        let end = pump(channel, packets, &mut bytes).await;
        closed.cancel();
        span.record("bytes", bytes);
        lease.over(end.is_some()).await;
        if let (Some(end), Some((argv, exit))) = (end, command) {
            let told = end
                .finish(&config, &argv)
                .unwrap_or_else(|error| (CODE_UNKNOWN, error.to_string()));
            trace::ended(&span, told.0, bytes);
            // Nobody may be interested in how it ended.
            drop(exit.send(told));
        }
    });
    Box::new(stream)
}

/// Hands over packets until the channel ends (then tells how) or the stream is dropped.
async fn pump(
    mut channel: Channel<Msg>,
    packets: mpsc::Sender<Bytes>,
    bytes: &mut u64,
) -> Option<End> {
    let mut end = End::default();
    let mut packets = Some(packets);
    loop {
        let message = match &packets {
            Some(open) => tokio::select! {
                message = channel.wait() => message,
                () = open.closed() => return None,
            },
            None => channel.wait().await,
        };
        match (message, &packets) {
            (Some(ChannelMsg::Data { data }), Some(open)) => {
                *bytes += data.len() as u64;
                open.send(data).await.ok()?;
            }
            // The reader sees the end of the stream; the exit status may still follow.
            (Some(ChannelMsg::Eof), _) => packets = None,
            (Some(ChannelMsg::Close) | None, _) => return Some(end),
            (Some(message), _) => end.note(&message),
        }
    }
}

struct ChannelStream {
    incoming: mpsc::Receiver<Bytes>,
    current: Bytes,
    outgoing: Pin<Box<dyn AsyncWrite + Send>>,
    ended: bool,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.incoming.poll_recv(cx)) {
                Some(packet) => self.current = packet,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.current.len().min(buf.remaining());
        self.current.copy_to_slice(buf.initialize_unfilled_to(n));
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl ChannelStream {
    /// Without this, a writer that waits for a dead channel's window would wait for ever.
    fn check_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::BrokenPipe.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.outgoing.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended && self.check_open(cx).is_ok() {
            ready!(self.outgoing.as_mut().poll_shutdown(cx))?;
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}
