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

#[test]
fn the_command_goes_through_the_socket_word_by_word_and_its_answer_comes_back() {
    let bench = Bench::bare();
    let socket = bench.folder().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut child = rsh(&bench, &socket).spawn().expect("drs starts");
    let (mut relay, _) = listener.accept().expect("it comes");
    let mut words = Vec::new();
    loop {
        match next(&mut relay) {
            (b'A', word) => words.push(String::from_utf8(word).expect("text")),
            (kind, _) => {
                assert_eq!(kind, b'G');
                break;
            }
        }
    }
    let wanted = "pve1|rsync|--server|--sender|-vlogDtprze.iLsfxC|--json|.|/a b";
    assert_eq!(words.join("|"), wanted);
    child.stdin.take().expect("a pipe").write_all(b"\0in").expect("it reads");
    assert_eq!(next(&mut relay), (b'I', b"\0in".to_vec()));
    assert_eq!(next(&mut relay), (b'I', Vec::new()));
    for (kind, content) in [(b'O', &b"\0out"[..]), (b'E', b"err"), (b'X', &[0, 0, 0, 23])] {
        relay.write_all(&frame(kind, content)).expect("it reads");
    }
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(23));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"\0out"[..], &b"err"[..]));
    assert!(!bench.data_dir().exists());
}

#[test]
fn without_its_socket_it_is_255_with_the_reason() {
    let bench = Bench::bare();
    let output = rsh(&bench, &bench.folder().join("gone")).output().expect("drs starts");
    assert_eq!(output.status.code(), Some(255));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("drs rsh: the connection broke"), "{told}");
}
