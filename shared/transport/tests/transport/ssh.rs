use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use drs_transport::{Argv, Output, Remote, SshConfig, SshRemote, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sshd::{Sshd, eventually, fingerprint, kill, local, must, new_key};

fn sh(script: &str) -> Argv {
    Argv::new("sh").args(["-c", script])
}

async fn exec(remote: &SshRemote, argv: &Argv) -> Result<Output, TransportError> {
    remote.exec(argv, Bytes::new()).await
}

async fn refusal(config: SshConfig) -> TransportError {
    let remote = SshRemote::new(config).expect("an address");
    exec(&remote, &Argv::new("true")).await.expect_err("it is refused")
}

#[tokio::test]
async fn a_command_gets_its_arguments_input_and_tells_how_it_ended() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let hostile = [
        "two words",
        "it's",
        "\"double\"",
        ";reboot",
        "a\nb",
        "",
        "$HOME `id` $(id)",
        "*",
        "~",
        "!x",
        "\\",
        "-n",
        "üñí",
        "#",
        "&|<>",
    ];
    let argv = Argv::new("printf").arg("[%s]").args(hostile);
    let output = exec(&remote, &argv).await.expect("it runs");
    let expected: String = hostile.iter().map(|arg| format!("[{arg}]")).collect();
    assert_eq!(output.text(), expected);

    let input = Bytes::from(vec![7; 3_000_000]);
    let output = remote.exec(&Argv::new("cat"), input.clone()).await.expect("it runs");
    assert_eq!(output.stdout, input);

    let output = exec(&remote, &sh("echo out; echo err >&2; exit 7")).await.expect("it runs");
    assert_eq!(
        (output.code, output.text().as_str(), output.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(exec(&remote, &sh("kill -KILL $$")).await.expect("it runs").code, 137);
    // A command that ends without reading its input.
    let output = remote.exec(&sh("exit 3"), Bytes::from(vec![0; 40_000_000])).await;
    assert_eq!(output.expect("it runs").code, 3);
}

#[tokio::test]
async fn output_and_time_are_bounded() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let endless = Argv::new("cat").arg("/dev/zero");
    let error = exec(&remote, &endless).await.expect_err("too much");
    assert!(matches!(error, TransportError::Protocol { .. }), "{error}");
    let full = Argv::new("head").args(["-c", &Output::BYTES_MAX.to_string(), "/dev/zero"]);
    assert_eq!(exec(&remote, &full).await.expect("just enough").stdout.len(), Output::BYTES_MAX);

    let pid = sshd.path("pid");
    let sleeper = sh("echo $$ >\"$0\"; exec sleep 600").arg(pid.to_str().expect("text"));
    let limit = Duration::from_secs(1);
    let error = remote.exec_within(&sleeper, Bytes::new(), limit).await.expect_err("too long");
    assert!(matches!(error, TransportError::TimedOut { limit_s: 1, .. }), "{error}");
    // The SSH server ends it at our request, but not for root; here it may still run.
    kill("TERM", std::fs::read_to_string(pid).expect("it ran").trim());
    assert!(exec(&remote, &Argv::new("true")).await.expect("it still works").ok());
}

#[tokio::test]
async fn only_the_pinned_host_key_is_spoken_to() {
    let sshd = Sshd::start();
    match refusal(SshConfig { pinned: vec![], ..sshd.config() }).await {
        TransportError::KeyUnknown { fingerprint, .. } => {
            assert_eq!(fingerprint, sshd.fingerprint());
        }
        error => panic!("{error}"),
    }
    let other = fingerprint(&sshd.path("id.pub"));
    match refusal(SshConfig { pinned: vec![other.clone()], ..sshd.config() }).await {
        TransportError::KeyChanged { fingerprint, pinned, .. } => {
            assert_eq!((fingerprint, pinned), (sshd.fingerprint(), other));
        }
        error => panic!("{error}"),
    }
    assert!(!sshd.log().contains("Accepted publickey"), "no login was tried: {}", sshd.log());
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_with_the_reason() {
    let sshd = Sshd::start();
    let stranger = sshd.path("stranger");
    new_key(&stranger, "");
    let error = refusal(SshConfig { key_file: Some(stranger), ..sshd.config() }).await;
    assert!(
        matches!(&error, TransportError::AuthenticationFailed { user, key, .. }
            if user == "root" && key.ends_with("/stranger")),
        "{error}"
    );

    let locked = sshd.path("locked");
    new_key(&locked, "secret");
    let rsa = sshd.path("rsa");
    must(local("ssh-keygen").args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&rsa));
    let pem = sshd.path("pem");
    let mut keygen = local("ssh-keygen");
    must(keygen.args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"]).arg(&pem));
    for (path, reason) in [
        (sshd.path("missing"), "No such file"),
        (locked, "passphrase"),
        (rsa, "RSA"),
        (pem, "RSA"),
        (sshd.path("id.pub"), "read"),
    ] {
        match refusal(SshConfig { key_file: Some(path.clone()), ..sshd.config() }).await {
            TransportError::Key { path: named, reason: told } => {
                assert_eq!(named, path.display().to_string());
                assert!(told.contains(reason), "{path:?}: {told}");
            }
            error => panic!("{path:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_agent_logs_in_when_no_key_file_is_named() {
    let sshd = Sshd::start();
    let socket = sshd.path("agent.sock");
    let mut agent = local("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("an agent");
    eventually("the agent listens", async || socket.exists()).await;
    let config = SshConfig { key_file: None, agent_socket: Some(socket.clone()), ..sshd.config() };
    let empty = refusal(config.clone()).await;
    let stranger = sshd.path("stranger");
    new_key(&stranger, "");
    for key in [stranger, sshd.path("id")] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("modes");
        must(local("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket));
    }
    let remote = SshRemote::new(config.clone()).expect("an address");
    let output = exec(&remote, &Argv::new("true")).await;
    agent.kill().expect("the agent is ended");
    agent.wait().expect("the agent is gone");
    assert!(output.expect("logged in").ok());
    assert!(matches!(empty, TransportError::Key { .. }), "{empty}");
    let gone = refusal(config).await;
    assert!(matches!(gone, TransportError::Key { .. }), "{gone}");
    let none = refusal(SshConfig { key_file: None, ..sshd.config() }).await;
    assert!(matches!(none, TransportError::Key { .. }), "{none}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told_in_time() {
    let sshd = Sshd::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mute = free.local_addr().expect("its address");
    for address in ["root@nowhere.invalid".to_owned(), "127.0.0.1:1".into(), mute.to_string()] {
        let limit = Duration::from_millis(500);
        let config = SshConfig { address, connect_timeout: limit, ..sshd.config() };
        let error = refusal(config).await;
        assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    }
    let bad = SshRemote::new(SshConfig { address: "a b".into(), ..sshd.config() });
    assert!(matches!(bad, Err(TransportError::Address { .. })));
}

#[tokio::test]
async fn thirty_commands_at_once_share_few_connections() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let calls: Vec<_> = (0..30)
        .map(|i| {
            let remote = remote.clone();
            tokio::spawn(async move {
                exec(&remote, &sh("sleep 0.2; echo $0").arg(i.to_string())).await
            })
        })
        .collect();
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.expect("no panic").expect("it runs").text(), format!("{i}\n"));
    }
    let logins = sshd.log().matches("Accepted publickey").count();
    assert!((1..=4).contains(&logins), "{logins} connections");
}

#[tokio::test]
async fn streams_one_after_the_other_share_a_connection_that_is_made_anew_when_it_broke() {
    let mut sshd = Sshd::start();
    let remote = sshd.remote();
    let ends = async || {
        let spawned = remote.spawn(&Argv::new("true")).await.expect("it starts");
        assert_eq!(spawned.exit.await.expect("its end").0, 0);
    };
    for _ in 0..3 {
        ends().await;
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
    sshd.down();
    sshd.up();
    ends().await;
}

#[tokio::test]
async fn a_restarted_host_works_at_the_next_call() {
    let mut sshd = Sshd::start();
    let remote = sshd.remote();
    assert!(exec(&remote, &Argv::new("true")).await.expect("it runs").ok());
    let mut spawned = remote.spawn(&Argv::new("cat")).await.expect("it starts");
    let running = {
        let remote = remote.clone();
        let ready = sshd.path("ready");
        let script = sh("touch \"$0\"; while [ -e \"$0\" ]; do sleep 0.1; done")
            .arg(ready.to_str().expect("text"));
        let call = tokio::spawn(async move { exec(&remote, &script).await });
        eventually("the command runs", async || ready.exists()).await;
        call
    };
    sshd.down();
    let error = running.await.expect("no panic").expect_err("the connection broke");
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    let mut rest = Vec::new();
    assert_eq!(spawned.stream.read_to_end(&mut rest).await.expect("the stream ends"), 0);
    assert_ne!(spawned.exit.await.expect("its end is told").0, 0);
    let error = exec(&remote, &Argv::new("true")).await.expect_err("nobody is there");
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    sshd.up();
    assert!(exec(&remote, &Argv::new("true")).await.expect("it works again").ok());
}

#[tokio::test]
async fn a_spawned_command_streams_both_ways_and_ends_with_its_channel() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let script = "cat; echo problem >&2; exit 5";
    let mut spawned = remote.spawn(&sh(script)).await.expect("it starts");
    let data: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(spawned.stream);
    let sent = data.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.expect("it reads");
        writer.shutdown().await.expect("end of input");
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.expect("it writes");
    writing.await.expect("written");
    assert!(back == data, "{} bytes came back", back.len());
    assert_eq!(spawned.exit.await.expect("its end"), (5, "problem\n".into()));

    let done = sshd.path("done");
    let script = "echo up; cat; touch \"$0\"";
    spawned = remote.spawn(&sh(script).arg(done.to_str().expect("text"))).await.expect("starts");
    let mut up = [0; 3];
    spawned.stream.read_exact(&mut up).await.expect("it is up");
    assert!(!done.exists());
    drop(spawned);
    eventually("the command saw the end of its input", async || done.exists()).await;
}

#[tokio::test]
async fn a_stream_nobody_reads_holds_up_nobody_and_fills_no_memory() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let count = sshd.path("count");
    let script = "i=0; while head -c 1048576 /dev/zero; do i=$((i+1)); echo $i >\"$0\"; done";
    let script = sh(script).arg(count.to_str().expect("text"));
    let stalled = remote.spawn(&script).await.expect("it starts");
    let written = || -> u64 {
        let text = std::fs::read_to_string(&count).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    // It stands still once the same count is seen over several commands on the same host.
    let mut seen = (0, 0);
    eventually("the sender stopped", async || {
        assert!(exec(&remote, &Argv::new("true")).await.expect("commands go on").ok());
        seen =
            if written() == seen.0 && seen.0 > 0 { (seen.0, seen.1 + 1) } else { (written(), 0) };
        seen.1 > 20
    })
    .await;
    assert!(seen.0 < 64, "{} MiB were taken from the host", seen.0);

    // Two streams of one host piped into each other.
    let source = Argv::new("head").args(["-c", "100000000", "/dev/zero"]);
    let mut source = remote.spawn(&source).await.expect("it starts");
    let mut sink = remote.spawn(&Argv::new("wc").arg("-c")).await.expect("it starts");
    tokio::io::copy(&mut source.stream, &mut sink.stream).await.expect("it flows");
    sink.stream.shutdown().await.expect("end of input");
    let mut counted = String::new();
    sink.stream.read_to_string(&mut counted).await.expect("a count");
    assert_eq!(counted.trim(), "100000000");
    drop(stalled);
}

#[tokio::test]
async fn a_unix_socket_on_the_host_is_reached() {
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let path = sshd.path("echo.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.expect("an echo");
    });
    let mut stream =
        remote.connect_unix(path.to_str().expect("text")).await.expect("it is reached");
    stream.write_all(b"hello").await.expect("written");
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.expect("an echo");
    assert_eq!(&back, b"hello");
    stream.shutdown().await.expect("end of input");
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.expect("its end"), 0);
    server.await.expect("served");

    match remote.connect_unix("/nonexistent/socket").await {
        Err(TransportError::Unreachable { reason, .. }) => {
            assert!(reason.contains("/nonexistent/socket"), "{reason}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("nothing listens there"),
    }
}
