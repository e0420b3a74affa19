//! A host whose disk is full: the test runs itself once more in a mount namespace of its own, which
//! ends with it, where the guard's state lies on a file system of one MiB.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use drs_model::GuardAnswer;
use drs_model::guard::GuardExit;
use drs_transport::HostGuard;

use crate::guard::{Host, grip, grip_of, sh};
use crate::sshd::{eventually, local, must};

/// Tells the inner run that it is one.
const INNER: &str = "DRS_TRANSPORT_TEST_FULL_DISK";
/// What the inner run says at its end, so that a run of nothing does not pass.
const DONE: &str = "the full disk was met and left";
const NAME: &str = "full::what_filled_the_disk_can_be_ended";
const RESERVE_BYTES: u64 = 256 * 1024;

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test runs itself inside a mount namespace")]
async fn what_filled_the_disk_can_be_ended() {
    if std::env::var(INNER).is_ok() {
        meet_a_full_disk().await;
        println!("{DONE}");
        return;
    }
    let binary = std::env::current_exe().expect("this binary");
    let mut inner = local("unshare");
    inner.arg("--mount").arg(binary).args(["--exact", NAME, "--nocapture"]).env(INNER, "1");
    let said = must(&mut inner);
    assert!(said.contains(DONE), "{said}");
}

async fn meet_a_full_disk() {
    let host = Host::new();
    let state = host.path("state");
    fs::create_dir(&state).expect("a directory");
    must(local("mount").args(["-t", "tmpfs", "-o", "size=1m", "drs-test"]).arg(&state));

    // A hold whose command for its loss gives the space back, as ending a backup job does.
    let scratch = state.join("scratch");
    let at_loss = sh("rm \"$0\"").arg(scratch.to_str().expect("text"));
    let first = host.hold(&grip("a", 1), Some(&at_loss)).await.expect("the VM is free");
    assert_eq!(reserve_bytes(&host), RESERVE_BYTES);
    fill(&host);
    fs::remove_file(host.path("state/reserve")).expect("removed");
    fill(&host);
    let second = host.hold(&grip("a", 2), Some(&at_loss)).await.expect("the older one gives way");
    first.lost().await;
    assert!(!scratch.exists());
    assert_eq!(reserve_bytes(&host), RESERVE_BYTES, "it is laid in again");

    // A worker dies, and the space does not come back: another job takes the VM all the same.
    second.release().await.expect("given back");
    drop(host.hold(&grip("b", 3), None).await.expect("the VM is free"));
    eventually("the VM is free", async || holder(&host).ends_with(" ended\n")).await;
    fill(&host);
    let third = host.hold(&grip("c", 4), None).await.expect("its records have their place");
    assert!(holder(&host).starts_with(&grip("c", 4).job.to_string()));
    let fence = fs::read_to_string(host.path("state/vm/web1/fence")).expect("a fence");
    assert!(fence.starts_with("4 "), "{fence}");
    third.release().await.expect("given back");

    // What has no place yet takes the one of the reserve: the end of a command that was never there.
    assert_eq!(reserve_bytes(&host), RESERVE_BYTES);
    let answer = host.guard.cancel(&grip("d", 5), "step").await.expect("an answer");
    assert_eq!(answer, GuardAnswer::Exit(GuardExit::Cancelled));
    assert_eq!(reserve_bytes(&host), 0, "it was given up");

    // With the reserve used up, the host says what is wrong.
    fill(&host);
    let new = grip_of("web2", "e", 6);
    let refused = host.guard.hold(&new, None).await.err().expect("no space");
    assert!(refused.to_string().contains("is its disk full?"), "{refused}");
    fs::remove_file(&scratch).expect("removed");
    let fourth = host.hold(&new, None).await.expect("the VM is free");
    assert_eq!(reserve_bytes(&host), RESERVE_BYTES, "it is laid in again");
    fourth.release().await.expect("given back");
}

fn holder(host: &Host) -> String {
    fs::read_to_string(host.path("state/vm/web1/holder")).unwrap_or_default()
}

/// The space that the reserve takes on the disk.
fn reserve_bytes(host: &Host) -> u64 {
    fs::metadata(host.path("state/reserve")).map_or(0, |reserve| reserve.blocks() * 512)
}

/// Takes all the space there is.
fn fill(host: &Host) {
    let scratch = fs::File::options().create(true).append(true).open(host.path("state/scratch"));
    let mut scratch = scratch.expect("a file");
    while scratch.write(&[7; 4096]).is_ok_and(|count| count > 0) {}
    assert!(fs::write(host.path("state/probe"), "x").is_err(), "it is full");
    fs::remove_file(host.path("state/probe")).expect("removed");
}
