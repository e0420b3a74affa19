//! `drs rsh`, as rsync starts it: with its own arguments and next to no environment.
#![allow(clippy::disallowed_methods, reason = "the command is started as rsync starts it")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::Bench;

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short frame");
    [&[kind][..], &length.to_be_bytes(), content].concat()
}

fn next(stream: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a frame");
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut content = vec![0; length as usize];
    stream.read_exact(&mut content).expect("its content");
    (head[0], content)
}

fn rsh(bench: &Bench, socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drs"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir(bench.folder());
    command.args(["rsh", "--socket"]).arg(socket).arg("pve1");
    command.args(["rsync", "--server", "--sender", "-vlogDtprze.iLsfxC", "--json", ".", "/a b"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The words of the command that comes.
fn command_of(relay: &mut UnixStream) -> String {
    let mut words = Vec::new();
    while let (b'A', word) = next(relay) {
        words.push(String::from_utf8(word).expect("text"));
    }
    words.join("|")
}

fn answer(relay: &mut UnixStream, output: &[u8], code: u8) {
    for part in output.chunks(64 * 1024) {
        relay.write_all(&frame(b'O', part)).expect("it reads");
    }
    relay.write_all(&frame(b'E', b"err")).expect("it reads");
    relay.write_all(&frame(b'X', &[0, 0, 0, code])).expect("it reads");
}

#[test]
fn the_command_goes_through_the_socket_word_by_word_and_its_answer_comes_back() {
    let bench = Bench::bare();
    let socket = bench.folder().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut child = rsh(&bench, &socket).spawn().expect("drs starts");
    let (mut relay, _) = listener.accept().expect("it comes");
    let words = command_of(&mut relay);
    assert_eq!(words, "pve1|rsync|--server|--sender|-vlogDtprze.iLsfxC|--json|.|/a b");
    child.stdin.take().expect("a pipe").write_all(b"\0in").expect("it reads");
    assert_eq!(next(&mut relay), (b'I', b"\0in".to_vec()));
    assert_eq!(next(&mut relay), (b'I', Vec::new()));
    answer(&mut relay, b"\0out", 23);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(23));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"\0out"[..], &b"err"[..]));
    assert!(!bench.data_dir().exists());
}

#[test]
fn a_pipe_that_says_try_again_loses_nothing() {
    let bench = Bench::bare();
    let socket = bench.folder().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe like rsync's");
    let mut command = rsh(&bench, &socket);
    let mut child = command.stdout(writer).spawn().expect("drs starts");
    // It holds the other end of the pipe.
    drop(command);
    let (mut relay, _) = listener.accept().expect("it comes");
    // More than the pipe takes, and no more than pipe and socket take together.
    let output: Vec<u8> = (0..150_000_u32).map(|number| number as u8).collect();
    command_of(&mut relay);
    answer(&mut relay, &output, 0);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("the output");
    assert!(got == output, "{} of {} bytes", got.len(), output.len());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn without_its_socket_it_is_255_with_the_reason() {
    let bench = Bench::bare();
    let output = rsh(&bench, &bench.folder().join("gone")).output().expect("drs starts");
    assert_eq!(output.status.code(), Some(255));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("drs rsh: the connection broke"), "{told}");
}
