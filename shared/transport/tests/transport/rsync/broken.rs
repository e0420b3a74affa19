//! Transfers that break or are given up, and what is left of them.

use std::fs;
use std::path::{Path, PathBuf};

use drs_transport::RsyncError;
use drs_transport::rsync::Progress;
use tokio::sync::oneshot;

use super::{BOTH, Desk, MIB, Way, mib_per_second, noise, text};
use crate::sshd::{eventually, local};

/// A transfer is broken when so much is there. What lies in the buffers of a connection by then, some
/// 40 MiB at most, may still come.
const EARLY_BYTES: usize = 4 * MIB;
const FILE_BYTES: usize = 64 * MIB;

/// Tells once, when so many bytes are in place.
fn at(bytes: usize) -> (impl FnMut(Progress) + Send, oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let watch = move |progress: Progress| {
        if progress.present >= bytes as u64
            && let Some(tell) = tell.take()
        {
            tell.send(()).expect("somebody waits for it");
        }
    };
    (watch, told)
}

/// The command lines of processes that have to do with a file.
fn processes(path: &Path) -> Vec<String> {
    let found = local("pgrep").args(["-af", "--"]).arg(path).output().expect("pgrep runs");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

/// Moves `source` until a part of it is there, and kills the connection.
async fn break_early(desk: &mut Desk, way: Way) -> RsyncError {
    let rates = mib_per_second(16);
    let (source, target) = (desk.path("source"), desk.path("target"));
    let (progress, early) = at(EARLY_BYTES);
    let (rsync, remote) = (desk.rsync.clone(), desk.remote.clone());
    let moving = async {
        match way {
            Way::Fetch => rsync.fetch(&remote, &rates, text(&source), &target, progress).await,
            Way::Push => rsync.push(&remote, &rates, &source, text(&target), progress).await,
        }
    };
    let sshd = &mut desk.sshd;
    let killing = async {
        early.await.expect("it comes so far");
        sshd.down();
    };
    let (moved, ()) = tokio::join!(moving, killing);
    desk.sshd.up();
    eventually("the host's rsync has noticed", async || processes(&desk.path("target")).is_empty())
        .await;
    moved.expect_err("the connection was killed")
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stopped() {
    let mut desk = Desk::new();
    for way in BOTH {
        let content = noise(FILE_BYTES);
        fs::write(desk.path("source"), &content).expect("written");
        let error = break_early(&mut desk, way).await;
        assert!(matches!(&error, RsyncError::Broken { .. }), "{error:?}");
        assert!(error.fault().is_retryable(), "{error}");
        let leftover = fs::read(desk.path("target")).expect("a leftover");
        assert!(
            leftover.len() >= EARLY_BYTES && content.starts_with(&leftover),
            "{}",
            leftover.len()
        );

        let moved = desk.go(way).await.expect("moved");
        desk.same();
        let rest = (content.len() - leftover.len()) as u64;
        assert!(rest > 0, "the file is too small for what lies in buffers");
        assert!((rest..rest + 20_000).contains(&moved.wire_bytes), "{moved:?}, rest {rest}");
        fs::remove_file(desk.path("target")).expect("removed");
    }
}

#[tokio::test]
async fn a_leftover_that_is_something_else_is_repaired() {
    let desk = Desk::new();
    let content = noise(8 * MIB);
    fs::write(desk.path("source"), &content).expect("written");
    let changed = |length: usize| {
        let mut leftover = content.repeat(2);
        leftover.truncate(length);
        leftover[2 * MIB..2 * MIB + 4096].fill(0);
        leftover
    };
    for way in BOTH {
        // What is right in a leftover need not come again, with one exception: the rest of a
        // beginning that proves to be wrong has come by then.
        for (leftover, wire_max) in [
            (changed(6 * MIB), 3 * MIB),
            (changed(8 * MIB), MIB),
            (changed(11 * MIB), MIB),
            (noise(9 * MIB)[MIB..].to_vec(), 9 * MIB),
            (vec![0; 5 * MIB], 12 * MIB),
        ] {
            let (source, target) = (desk.path("source"), desk.path("target"));
            fs::write(&target, &leftover).expect("written");
            let modified = fs::metadata(source).and_then(|m| m.modified()).expect("a time");
            let file = fs::File::options().write(true).open(&target).expect("a file");
            file.set_modified(modified).expect("the same time");
            let moved = desk.go(way).await.expect("moved");
            desk.same();
            assert!(moved.wire_bytes < wire_max as u64, "{way:?} {}: {moved:?}", leftover.len());
        }
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_transfer_that_is_given_up() {
    let desk = Desk::new();
    fs::write(desk.path("source"), noise(FILE_BYTES)).expect("written");
    let (source, target) = (desk.path("source"), desk.path("target"));
    for way in BOTH {
        let rates = mib_per_second(16);
        let (progress, early) = at(EARLY_BYTES);
        let relay = tokio::select! {
            moved = desk.move_file(way, &source, &target, &rates, progress) => panic!("{moved:?}"),
            // The transfer is given up when this has looked at it.
            relay = async {
                early.await.expect("it comes so far");
                let running = [&source, &target].map(|path| processes(path)).concat();
                assert!(running.iter().any(|line| line.contains("rsync --server")), "{running:?}");
                running.iter().find_map(|line| socket(line))
            } => relay,
        };
        let relay = relay.expect("a socket on rsync's command line");
        assert!(!relay.parent().expect("a directory").exists());
        eventually("no process is left", async || {
            [&source, &target, &relay].iter().all(|path| processes(path).is_empty())
        })
        .await;
        let left = fs::metadata(&target).expect("what has arrived").len();
        assert!(left >= EARLY_BYTES as u64, "it is kept: {left}");
        let moved = desk.go(way).await.expect("moved");
        desk.same();
        assert!(
            moved.wire_bytes < (FILE_BYTES - EARLY_BYTES + MIB) as u64,
            "it goes on: {moved:?}"
        );
        fs::remove_file(&target).expect("removed");
    }
}

/// The relay's socket in a command line of rsync or its remote shell.
fn socket(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once("--socket ")?;
    rest.trim_start_matches('\'').split(['\'', ' ']).next().map(PathBuf::from)
}

#[tokio::test]
async fn a_host_that_is_down_is_no_failure_of_rsync() {
    let mut desk = Desk::new();
    fs::write(desk.path("source"), "content").expect("written");
    desk.sshd.down();
    for way in BOTH {
        let error = desk.go(way).await.expect_err("it is down");
        assert!(matches!(&error, RsyncError::Transport(_)), "{error:?}");
        assert!(error.fault().is_retryable());
    }
}
