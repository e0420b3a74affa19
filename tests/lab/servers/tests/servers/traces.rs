//! What a server leaves: processes, sockets, directories.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::thread;
use std::time::{Duration, Instant};

/// What precedes a directory on the standard output of a test that runs as a process of its own.
const DIRECTORY: &str = "server directory: ";

/// Waits until something is so; fails the test after 60 s.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "still not: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The directory, while it is there, and the processes that name it in their command line, work in it or
/// have it in their environment.
pub(crate) fn of(dir: &Path) -> Vec<PathBuf> {
    let place = dir.exists().then(|| dir.to_owned());
    place.into_iter().chain(processes_of(dir)).collect()
}

pub(crate) fn assert_no_trace_of(dir: &Path) {
    let left = of(dir);
    assert!(left.is_empty(), "this is left: {left:?}");
}

/// The states of a server's processes, as `ps` gives them.
pub(crate) fn states(dir: &Path) -> Vec<String> {
    let keeper = |process: &PathBuf| {
        fs::read(process.join("cmdline")).is_ok_and(|line| line.starts_with(b"sh\0-c\0"))
    };
    processes_of(dir)
        .into_iter()
        .filter(|process| !keeper(process))
        .filter_map(|process| {
            let stat = fs::read_to_string(process.join("stat")).ok()?;
            Some(stat.rsplit_once(") ")?.1.split(' ').next()?.to_owned())
        })
        .collect()
}

fn processes_of(dir: &Path) -> Vec<PathBuf> {
    let name = dir.to_str().expect("a plain path");
    let names = |process: &PathBuf| {
        let holds = |file: &str| {
            fs::read(process.join(file))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(name))
        };
        let works = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        works || holds("environ") || holds("cmdline")
    };
    fs::read_dir("/proc")
        .expect("a list of processes")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes()[0].is_ascii_digit()))
        .filter(names)
        .collect()
}

/// Tells the test that runs this process where a server lives.
pub(crate) fn announce(dir: &Path) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{DIRECTORY}{}", dir.display()).expect("standard output is open");
    out.flush().expect("standard output is open");
}

/// The first `count` directories that another process announces.
pub(crate) fn announced(out: ChildStdout, count: usize) -> Vec<PathBuf> {
    BufReader::new(out)
        .lines()
        .filter_map(|line| Some(PathBuf::from(line.ok()?.strip_prefix(DIRECTORY)?)))
        .take(count)
        .collect()
}
