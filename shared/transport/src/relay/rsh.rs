//! The other end of the socket: the process that rsync starts as its remote shell.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::frame::{self, CONTENT_BYTES_MAX, HEAD_BYTES, Kind};

/// What a remote shell answers when it could not run the command to its end.
const NO_CONNECTION: u8 = 255;

/// Runs a command through the [`super::Relay`] at this socket with the standard input, output and error of
/// this process, and answers its exit code. `argv` is the host's name and the command. Blocks.
///
/// The code is 255, and standard error says why, when the relay is gone or its connection broke.
/// A thread may still read standard input: the process is meant to end with this code.
#[must_use]
pub fn rsh(socket: &Path, argv: &[String]) -> u8 {
    match play(socket, argv) {
        Ok(code) => u8::try_from(code).unwrap_or(NO_CONNECTION),
        Err(error) => {
            // Nobody reads it when rsync is gone already.
            drop(writeln!(io::stderr(), "drs rsh: the connection broke: {error}"));
            NO_CONNECTION
        }
    }
}

fn play(socket: &Path, argv: &[String]) -> io::Result<i32> {
    let mut relay = UnixStream::connect(socket)?;
    for argument in argv {
        if argument.len() > CONTENT_BYTES_MAX {
            return Err(frame::broken("an argument is too long"));
        }
        relay.write_all(&frame::head(Kind::Argument, argument.len()))?;
        relay.write_all(argument.as_bytes())?;
    }
    relay.write_all(&frame::head(Kind::Go, 0))?;
    let stdin = blocking(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let input = relay.try_clone()?;
    // It ends with the process. When it cannot send any more, the answer tells why.
    std::thread::spawn(move || drop(send(stdin, input)));
    receive(relay)
}

/// The same file, waiting: rsync hands its remote shell pipes that answer "try again" when they are full
/// or empty.
fn blocking(file: File) -> io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// Sends standard input up to its end, and the end.
fn send(mut from: File, mut relay: UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; HEAD_BYTES + CONTENT_BYTES_MAX];
    loop {
        let (head, content) = buffer.split_at_mut(HEAD_BYTES);
        let length = from.read(content)?;
        head.copy_from_slice(&frame::head(Kind::Input, length));
        relay.write_all(&buffer[..HEAD_BYTES + length])?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Writes out what the command says, up to its exit code.
fn receive(mut relay: UnixStream) -> io::Result<i32> {
    let mut stdout = blocking(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    let mut content = vec![0; CONTENT_BYTES_MAX];
    loop {
        let mut head = [0; HEAD_BYTES];
        relay.read_exact(&mut head)?;
        let (kind, length) = frame::parse(head)?;
        let content = &mut content[..length];
        relay.read_exact(content)?;
        match kind {
            Kind::Output => stdout.write_all(content)?,
            Kind::Error => io::stderr().write_all(content)?,
            Kind::Exit => {
                let code = <[u8; 4]>::try_from(&*content);
                return Ok(i32::from_be_bytes(code.map_err(|_| frame::broken("no exit code"))?));
            }
            Kind::Argument | Kind::Go | Kind::Input => return Err(frame::broken("no answer")),
        }
    }
}
