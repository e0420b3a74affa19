//! Files from and to a host with the real rsync.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use drs_model::{Fault, FaultCode};
use drs_transport::rsync::{Moved, Progress, Side};
use drs_transport::{RateLimit, Rates, Remote, Rsync, RsyncError};

use crate::sshd::{Sshd, local, must};

mod broken;
mod full;
mod relay;

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
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes / 8).flat_map(|_| next().to_le_bytes()).collect()
}

const MIB: usize = 1024 * 1024;

/// Whereto a file goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Fetch,
    Push,
}

const BOTH: [Way; 2] = [Way::Fetch, Way::Push];

/// A host and what brings files to it and from it. Both ends lie in the host's directory.
struct Desk {
    sshd: Sshd,
    remote: Arc<dyn Remote>,
    rsync: Rsync,
}

impl Desk {
    fn new() -> Self {
        Self::on(Sshd::start())
    }

    fn on(sshd: Sshd) -> Self {
        let remote = sshd.remote();
        Self { sshd, remote, rsync: Rsync::new(rsh()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sshd.path(name)
    }

    /// Moves `source` to `target`.
    async fn go(&self, way: Way) -> Result<Moved, RsyncError> {
        let (source, target) = (self.path("source"), self.path("target"));
        sendable(self.move_file(way, &source, &target, &Rates::default(), |_| {})).await
    }

    async fn move_file(
        &self,
        way: Way,
        from: &Path,
        to: &Path,
        rates: &Rates,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, RsyncError> {
        match way {
            Way::Fetch => self.rsync.fetch(&self.remote, rates, text(from), to, progress).await,
            Way::Push => self.rsync.push(&self.remote, rates, from, text(to), progress).await,
        }
    }

    /// Asserts that the target is the source, and that nobody else may read it.
    fn same(&self) {
        let (source, target) = (self.path("source"), self.path("target"));
        assert!(fs::read(source).expect("a source") == fs::read(&target).expect("a target"));
        assert_eq!(fs::metadata(&target).expect("a file").permissions().mode() & 0o7777, 0o600);
    }
}

/// A worker's tasks move files on any thread.
fn sendable<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn mib_per_second(mib: usize) -> Rates {
    let limit = NonZeroU64::new((mib * MIB) as u64).expect("not zero");
    Rates::default().and(Arc::new(RateLimit::new(limit)))
}

#[tokio::test]
async fn a_file_comes_whole_for_us_alone_and_tells_how_far_it_is() {
    let desk = Desk::new();
    for way in BOTH {
        let content = noise(5 * MIB);
        fs::write(desk.path("source"), &content).expect("written");
        fs::set_permissions(desk.path("source"), fs::Permissions::from_mode(0o6755)).expect("set");
        let (source, target) = (desk.path("source"), desk.path("target"));
        let mut seen = Vec::new();
        let rates = mib_per_second(2);
        let moved = desk.move_file(way, &source, &target, &rates, |p| seen.push(p)).await;
        let moved = moved.expect("moved");
        desk.same();
        let total = content.len() as u64;
        assert_eq!(moved.file_bytes, total);
        assert!((total..total + 10_000).contains(&moved.wire_bytes), "{moved:?}");
        assert!(seen.len() > 1 && seen.is_sorted_by_key(|p| p.present), "{seen:?}");
        assert!(seen.iter().all(|p| p.total == total));
        assert_eq!(seen.last().expect("progress").present, total);
        fs::remove_file(target).expect("removed");
    }
}

#[tokio::test]
async fn a_limit_holds() {
    let desk = Desk::new();
    fs::write(desk.path("source"), noise(6 * MIB)).expect("written");
    for way in BOTH {
        let rates = mib_per_second(2);
        let start = Instant::now();
        let target = desk.path(&format!("{way:?}"));
        let moved = desk.move_file(way, &desk.path("source"), &target, &rates, |_| {}).await;
        moved.expect("moved");
        // Of 6 MiB, 2 may have come at once.
        assert!(start.elapsed().as_secs_f64() > 1.99, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_empty_file_and_one_that_is_there_already() {
    let desk = Desk::new();
    for way in BOTH {
        fs::write(desk.path("source"), "").expect("written");
        assert_eq!(desk.go(way).await.expect("moved").file_bytes, 0);
        desk.same();
        fs::write(desk.path("source"), noise(3 * MIB)).expect("written");
        desk.go(way).await.expect("moved");
        desk.same();
        let again = desk.go(way).await.expect("moved");
        assert!(again.wire_bytes < 100_000, "{again:?}");
        desk.same();
        fs::remove_file(desk.path("target")).expect("removed");
    }
}

/// Names that a shell, rsync's wildcards or its options would take for something else.
const HOSTILE: [&str; 17] = [
    "two  words ",
    "it's \"quoted\"",
    "$(touch spoiled)",
    "`touch spoiled`;touch spoiled",
    "back\\slash\\",
    "new\nline",
    "üñí 虚拟机",
    "-dash",
    "--delete",
    "dc1:colon",
    "st*r",
    "on?",
    "[1]",
    "~",
    "{a,b}",
    "#%&|<>!",
    ".hidden",
];

#[tokio::test]
async fn a_name_means_that_file_and_no_other() {
    let mut desk = Desk::new();
    let program = desk.path("it's a \"place\"");
    symlink(rsh(), &program).expect("linked");
    desk.rsync = Rsync::new(&program);
    for way in BOTH {
        let (from, to) = (desk.path(&format!("from {way:?}")), desk.path(&format!("to {way:?}")));
        fs::create_dir(&from).expect("a directory");
        fs::create_dir(&to).expect("a directory");
        // What the wildcards among the names would stand for.
        for decoy in ["star", "one", "1", "a", "b"] {
            fs::write(from.join(decoy), "a decoy").expect("written");
            fs::write(to.join(decoy), "a decoy").expect("written");
        }
        for name in HOSTILE {
            fs::write(from.join(name), format!("this is {name}")).expect("written");
            let (from, to) = (from.join(name), to.join(name));
            let moved = desk.move_file(way, &from, &to, &Rates::default(), |_| {}).await;
            moved.unwrap_or_else(|error| panic!("{way:?} {name}: {error}"));
        }
        for name in HOSTILE {
            let found = fs::read_to_string(to.join(name)).expect("it is there");
            assert_eq!(found, format!("this is {name}"));
        }
        assert_eq!(fs::read_dir(&to).expect("a directory").count(), HOSTILE.len() + 5);
        assert_eq!(fs::read_to_string(to.join("star")).expect("a decoy"), "a decoy");
    }
    let home = must(local("sh").args(["-c", "cd && pwd"]));
    assert!(!Path::new(home.trim()).join("spoiled").exists());
}

#[tokio::test]
async fn what_cannot_be_moved_is_told_with_its_side() {
    let desk = Desk::new();
    fs::write(desk.path("file"), "content").expect("written");
    fs::create_dir(desk.path("directory")).expect("a directory");
    symlink(desk.path("file"), desk.path("link")).expect("linked");
    let host = || Side::Host("dc1".parse().expect("a name"));
    let gone = |side: &Side| match side {
        Side::Host(_) => FaultCode::Vanished,
        Side::Here => FaultCode::SpoolFailed,
    };
    for way in BOTH {
        let (source_side, target_side) =
            if way == Way::Fetch { (host(), Side::Here) } else { (Side::Here, host()) };
        let refused = async |from: &str, to: &str| {
            let (from, to) = (desk.path(from), desk.path(to));
            let moved = desk.move_file(way, &from, &to, &Rates::default(), |_| {}).await;
            moved.expect_err("it cannot be moved")
        };
        let error = refused("none", "target").await;
        let named = matches!(&error, RsyncError::Missing { side, path }
            if *side == source_side && path.ends_with("/none"));
        assert!(named && error.fault().code == gone(&source_side), "{error}");
        let error = refused("file", "nowhere/target").await;
        let named = matches!(&error, RsyncError::Missing { side, path }
            if *side == target_side && path.ends_with("/nowhere"));
        let fault = Fault::from(error);
        assert!(named && fault.is_retryable() && fault.code == gone(&target_side), "{fault:?}");
        for (from, to, at) in [
            ("directory", "target", &source_side),
            ("link", "target", &source_side),
            ("file", "directory", &target_side),
        ] {
            let error = refused(from, to).await;
            assert!(matches!(&error, RsyncError::NoFile { side, .. } if side == at), "{error}");
        }
        assert!(!desk.path("target").exists());
    }
    for path in ["file", "", "/", "/tmp/", "../x", "/a\0b"] {
        let (rates, here) = (Rates::default(), desk.path("target"));
        let refused = desk.rsync.fetch(&desk.remote, &rates, path, &here, |_| {});
        assert!(matches!(refused.await, Err(RsyncError::Path { .. })), "{path:?}");
    }
}

#[tokio::test]
async fn a_host_without_rsync_is_named() {
    let tools = tempfile::tempdir().expect("a directory");
    for tool in ["env", "stat"] {
        symlink(format!("/usr/bin/{tool}"), tools.path().join(tool)).expect("linked");
    }
    let desk = Desk::on(Sshd::with(&format!("PATH={}", tools.path().display())));
    fs::write(desk.path("source"), "content").expect("written");
    for way in BOTH {
        let error = desk.go(way).await.expect_err("there is no rsync");
        assert!(matches!(&error, RsyncError::NoRsyncOnHost { host } if host.as_str() == "dc1"));
        let fault = error.fault();
        assert!(!fault.is_retryable() && fault.remedy.contains("on the host"), "{fault:?}");
    }
}
