//! Full disks on either side: the test runs itself once more in a mount namespace of its own, which
//! ends with it.

use std::fs;

use drs_model::FaultCode;
use drs_transport::RsyncError;
use drs_transport::rsync::Side;

use super::{BOTH, Desk, MIB, Way, noise};
use crate::sshd::{local, must};

/// Tells the inner run that it is one.
const INNER: &str = "DRS_TRANSPORT_TEST_RSYNC_FULL_DISK";
/// What the inner run says at its end, so that a run of nothing does not pass.
const DONE: &str = "the full disks were met and left";
const NAME: &str = "rsync::full::a_full_disk_is_told_with_its_side_and_the_rest_comes_later";

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test runs itself inside a mount namespace")]
async fn a_full_disk_is_told_with_its_side_and_the_rest_comes_later() {
    if std::env::var(INNER).is_ok() {
        for way in BOTH {
            meet_a_full_disk(way).await;
        }
        println!("{DONE}");
        return;
    }
    let binary = std::env::current_exe().expect("this binary");
    let mut inner = local("unshare");
    inner.arg("--mount").arg(binary).args(["--exact", NAME, "--nocapture"]).env(INNER, "1");
    let said = must(&mut inner);
    assert!(said.contains(DONE), "{said}");
}

async fn meet_a_full_disk(way: Way) {
    let desk = Desk::new();
    let (source, small) = (desk.path("source"), desk.path("small"));
    fs::write(&source, noise(4 * MIB)).expect("written");
    fs::create_dir(&small).expect("a directory");
    must(local("mount").args(["-t", "tmpfs", "-o", "size=5m", "drs-test"]).arg(&small));
    let ballast = small.join("ballast");
    fs::write(&ballast, noise(2 * MIB)).expect("written");

    let target = small.join("target");
    let rates = drs_transport::Rates::default();
    let error = desk.move_file(way, &source, &target, &rates, |_| {}).await.expect_err("no room");
    let RsyncError::Full { side, path } = &error else { panic!("{error:?}") };
    assert!(path.ends_with("/small/target"), "{path}");
    let (here, fault) = (matches!(side, Side::Here), error.fault());
    assert_eq!(here, way == Way::Fetch);
    assert_eq!(fault.code, if here { FaultCode::DiskFull } else { FaultCode::HostFull });
    assert!(!fault.is_retryable() && !fault.remedy.is_empty());

    fs::remove_file(&ballast).expect("removed");
    let moved = desk.move_file(way, &source, &target, &rates, |_| {}).await.expect("moved");
    assert!(fs::read(source).expect("a source") == fs::read(&target).expect("a target"));
    assert!(moved.wire_bytes < 2 * MIB as u64, "it went on: {moved:?}");
    // The host's rsync may end a moment later than ours.
    must(local("umount").arg("--lazy").arg(&small));
}
