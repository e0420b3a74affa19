//! One command through the relay, from its arguments to its exit code.

use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frame::{self, CONTENT_BYTES_MAX, HEAD_BYTES, Kind};
use super::{Ended, Ledger};
use crate::{Argv, Rates, Remote};

/// Most bytes of a command's arguments together.
const ARGUMENT_BYTES_MAX: usize = 64 * 1024;
/// Code and words for a command that was not started.
const NOT_STARTED: i32 = 255;

/// Runs the command that is asked for; it has ended, or was ended, when this returns.
pub(super) async fn play(
    socket: &mut UnixStream,
    remote: &dyn Remote,
    rates: &Rates,
    ledger: &Ledger,
) -> io::Result<()> {
    *ledger.ended() = None;
    let argv = match allowed(asked(socket).await?, remote) {
        Ok(argv) => argv,
        Err(refusal) => return tell(socket, NOT_STARTED, refusal).await,
    };
    let command = match remote.spawn(&argv).await {
        Ok(command) => command,
        Err(error) => {
            let text = error.to_string();
            *ledger.ended() = Some(Ended::Unreachable(error));
            return tell(socket, NOT_STARTED, &text).await;
        }
    };
    let toll = Toll { rates, ledger };
    let (from_rsync, mut to_rsync) = socket.split();
    let (from_host, to_host) = tokio::io::split(command.stream);
    let output = async {
        copy_output(from_host, &mut to_rsync, toll).await?;
        io::Result::Ok(command.exit.await.unwrap_or((NOT_STARTED, String::new())))
    };
    let (code, said) = tokio::select! {
        ended = output => ended?,
        gone = copy_input(from_rsync, to_host, toll) => return Err(gone),
    };
    *ledger.ended() = Some(Ended::Code(code));
    tell(socket, code, &said).await
}

/// What bytes meet on their way.
#[derive(Clone, Copy)]
struct Toll<'a> {
    rates: &'a Rates,
    ledger: &'a Ledger,
}

impl Toll<'_> {
    async fn pay(self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.rates.pass(bytes).await;
        self.ledger.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The arguments that rsh sends: the host's name and the command.
async fn asked(socket: &mut UnixStream) -> io::Result<Vec<String>> {
    let mut arguments = Vec::new();
    let mut content = Vec::new();
    let mut room = ARGUMENT_BYTES_MAX;
    loop {
        match next(socket, &mut content).await? {
            Kind::Go => return Ok(arguments),
            Kind::Argument => {
                let cost = content.len() + HEAD_BYTES;
                room = room.checked_sub(cost).ok_or_else(|| frame::broken("too long a command"))?;
                let text = String::from_utf8(content.clone());
                arguments.push(text.map_err(|_| frame::broken("an argument is not UTF-8"))?);
            }
            _ => return Err(frame::broken("no command")),
        }
    }
}

/// The command, if it is one that a relay runs: rsync's other half on the relay's host.
fn allowed(asked: Vec<String>, remote: &dyn Remote) -> Result<Argv, &'static str> {
    let mut parts = asked.into_iter();
    if parts.next().as_deref() != Some(remote.host().as_str()) {
        return Err("this relay leads to another host");
    }
    match (parts.next().as_deref(), parts.next().as_deref()) {
        (Some("rsync"), Some("--server")) => Ok(Argv::new("rsync").arg("--server").args(parts)),
        _ => Err("a relay runs `rsync --server` and nothing else"),
    }
}

/// Sends what the command puts out, up to its end.
async fn copy_output(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    toll: Toll<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; HEAD_BYTES + CONTENT_BYTES_MAX];
    loop {
        let length = from.read(&mut buffer[HEAD_BYTES..]).await?;
        if length == 0 {
            return Ok(());
        }
        toll.pay(length).await;
        buffer[..HEAD_BYTES].copy_from_slice(&frame::head(Kind::Output, length));
        to.write_all(&buffer[..HEAD_BYTES + length]).await?;
    }
}

/// Feeds the command, and returns when rsh is gone.
async fn copy_input(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    toll: Toll<'_>,
) -> io::Error {
    let mut to = Some(to);
    let mut content = Vec::new();
    loop {
        match next(&mut from, &mut content).await {
            Ok(Kind::Input) => {}
            Ok(_) => return frame::broken("no input"),
            Err(error) => return error,
        }
        let Some(open) = &mut to else { continue };
        toll.pay(content.len()).await;
        let written = match content.len() {
            0 => open.shutdown().await,
            _ => open.write_all(&content).await,
        };
        // A command may end without having read its input: its exit code tells, not this write.
        if written.is_err() || content.is_empty() {
            to = None;
        }
    }
}

async fn next(from: &mut (impl AsyncRead + Unpin), content: &mut Vec<u8>) -> io::Result<Kind> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await?;
    let (kind, length) = frame::parse(head)?;
    content.resize(length, 0);
    from.read_exact(content).await?;
    Ok(kind)
}

/// Tells how the command ended and what it said.
async fn tell(socket: &mut UnixStream, code: i32, said: &str) -> io::Result<()> {
    let mut said = said.trim_end().to_owned();
    if !said.is_empty() {
        said.push('\n');
    }
    for part in said.as_bytes().chunks(CONTENT_BYTES_MAX) {
        socket.write_all(&frame::head(Kind::Error, part.len())).await?;
        socket.write_all(part).await?;
    }
    socket.write_all(&frame::head(Kind::Exit, 4)).await?;
    socket.write_all(&code.to_be_bytes()).await
}
