//! The relay by itself: who may use it, for what, and for how long.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use drs_transport::{Rates, Relay};

use super::{Desk, mib_per_second, rsh};
use crate::sshd::{eventually, local};

/// Runs `drs rsh` with these arguments after the socket.
async fn run(relay: &Relay, argv: &[&str]) -> Output {
    let mut command = local(rsh().to_str().expect("text"));
    command.args(["rsh", "--socket"]).arg(relay.socket()).args(argv).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs")
}

#[tokio::test]
async fn only_rsync_on_its_own_host_is_run_and_only_for_us() {
    let desk = Desk::new();
    let relay = Relay::open(desk.remote.clone(), Rates::default()).expect("a relay");
    let directory = relay.socket().parent().expect("a directory").to_owned();
    assert_eq!(fs::metadata(&directory).expect("it").permissions().mode() & 0o7777, 0o700);
    let spoiled = desk.path("spoiled");
    let path = spoiled.to_str().expect("text");
    let long = "x".repeat(40_000);
    for argv in [
        &["dc1", "touch", path][..],
        &["dc1", "rsync", "--version"],
        &["dc1", "rsync --server", path],
        &["dc1", "sh", "-c", "rsync --server", path],
        &["dc1", "/tmp/rsync", "--server"],
        &["dc2", "rsync", "--server"],
        &["rsync", "--server"],
        &["dc1", "rsync", "--server", &long, &long],
        &["dc1"],
        &[],
    ] {
        let output = run(&relay, argv).await;
        assert_eq!(output.status.code(), Some(255), "{argv:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{argv:?}");
    }
    assert!(!spoiled.exists());
    assert_eq!(relay.bytes(), 0);

    // What is not in the options of the shell that quotes it comes back from rsync itself.
    let output = run(&relay, &["dc1", "rsync", "--server", "--no-such;touch", path]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--no-such;touch: unknown option"), "{said}");
    assert!(!spoiled.exists());
    drop(relay);
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_dropped_relay_ends_what_runs_through_it() {
    let desk = Desk::new();
    let relay = Relay::open(desk.remote.clone(), mib_per_second(1)).expect("a relay");
    let there = desk.path("there");
    let there = there.to_str().expect("text");
    let mut command = local(rsh().to_str().expect("text"));
    command.args(["rsh", "--socket"]).arg(relay.socket());
    command.args(["dc1", "rsync", "--server", "-e.LsfxCIvu", ".", there]);
    // Its input stays open: it waits for what a local rsync would send.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
    eventually("the host's rsync speaks", async || relay.bytes() > 0).await;
    drop(relay);
    let mut code = None;
    eventually("it ends", async || {
        code = child.try_wait().expect("a child").and_then(|status| status.code());
        code.is_some()
    })
    .await;
    assert_eq!(code, Some(255));
    eventually("nothing is left on the host", async || {
        !local("pgrep").args(["-f", "--", there]).output().expect("pgrep runs").status.success()
    })
    .await;
}
