//! Files from and to a host with the real rsync.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use drs_transport::{Rates, Remote, Rsync};

use crate::sshd::{Sshd, local};

/// The program that rsync starts as its remote shell. Cargo has built it with the tests, unless only
/// these were asked for.
fn rsh() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("this binary");
        let profile = test.ancestors().nth(2).expect("target/debug");
        let target = profile.parent().expect("target");
        let mut build = local(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "drs-transport", "--example", "rsh"]);
        build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("cargo runs").success(), "the example builds");
        profile.join("examples/rsh")
    })
}

/// Bytes that no compression or lucky match makes small.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes / 8).flat_map(|_| next().to_le_bytes()).collect()
}

#[tokio::test]
async fn a_file_is_fetched_and_brought_back() {
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = sshd.remote();
    let rsync = Rsync::new(rsh());
    let content = noise(5_000_000);
    let (there, here) = (sshd.path("there"), sshd.path("here"));
    fs::write(&there, &content).expect("written");
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).expect("allowed");
    let mut seen = Vec::new();
    let moved = rsync
        .fetch(&remote, &Rates::default(), there.to_str().expect("text"), &here, |p| seen.push(p))
        .await
        .expect("fetched");
    assert!(fs::read(&here).expect("it is there") == content);
    assert_eq!(moved.file_bytes, 5_000_000);
    assert_eq!(fs::metadata(&here).expect("it is there").permissions().mode() & 0o7777, 0o600);
    println!("{moved:?} {seen:?}");
}
