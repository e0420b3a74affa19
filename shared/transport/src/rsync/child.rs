//! rsync as a child process.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::RsyncError;
use super::progress::Lines;
use crate::tail::Tail;

/// rsync gives up after so many seconds without a byte: neither side can read or write its disk. A
/// connection that breaks is noticed sooner, by the transport.
const TIMEOUT_S: u64 = 300;
/// Nothing is said while the two sides compare a leftover; they read so much of it in a second at least.
const COMPARE_BYTES_PER_S: u64 = 10 * 1024 * 1024;
/// Where rsync is looked for.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The first rsync that knows every option used here.
const OLDEST: [u32; 3] = [3, 2, 3];

/// Whether an rsync that is new enough is in one of the directories of `path`.
pub(super) async fn installed(path: &str) -> Result<(), RsyncError> {
    let mut command = Command::new("rsync");
    command.arg("--version").env_clear().envs([("PATH", path), ("LC_ALL", "C")]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| not_started(error, path))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    match version(line) {
        Some(found) if found >= OLDEST => Ok(()),
        _ => Err(RsyncError::OldRsyncHere { found: line.chars().take(100).collect() }),
    }
}

/// The version in the first line of `rsync --version`: `rsync  version 3.2.7  protocol version 31`.
fn version(line: &str) -> Option<[u32; 3]> {
    let text = line.strip_prefix("rsync")?.trim_start().strip_prefix("version")?.trim_start();
    let mut numbers = text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

fn not_started(error: io::Error, path: &str) -> RsyncError {
    match error.kind() {
        io::ErrorKind::NotFound => RsyncError::NoRsyncHere { path: path.to_owned() },
        _ => RsyncError::Local(error),
    }
}

/// rsync's options. `beginning`: so many bytes are there, fewer than the file has.
pub(super) fn options(rsh: &Path, socket: &Path, beginning: Option<u64>) -> Vec<OsString> {
    let mut shell = OsString::from("--rsh=");
    shell.push(word(rsh));
    shell.push(" rsh --socket ");
    shell.push(word(socket));
    let timeout = TIMEOUT_S + beginning.unwrap_or(0) / COMPARE_BYTES_PER_S;
    let mut options = vec![shell, format!("--timeout={timeout}").into()];
    // Without --ignore-times a file of the right size and time is taken for the right one.
    options.extend(["--inplace", "--ignore-times", "--perms", "--chmod=F600"].map(Into::into));
    // Else the host's words come last, and rsync ends its remote shell before they are there.
    options.push("--stderr=client".into());
    options.extend(["--info=progress2", "--no-human-readable", "--outbuf=L"].map(Into::into));
    if beginning.is_some_and(|bytes| bytes > 0) {
        options.push("--append-verify".into());
    }
    options
}

/// A word of the remote shell's command line, as rsync reads it: in quotes, quotes within doubled.
fn word(path: &Path) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut word = vec![b'\''];
    for byte in path.as_os_str().as_bytes() {
        word.extend(std::iter::repeat_n(*byte, if *byte == b'\'' { 2 } else { 1 }));
    }
    word.push(b'\'');
    OsString::from_vec(word)
}

/// How rsync ended.
pub(super) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// The last 16 KiB of its standard error, which holds the host's words, too.
    pub(super) said: String,
}

/// A running rsync. Dropping it kills it and the processes that it started.
pub(super) struct Child(tokio::process::Child);

impl Child {
    pub(super) fn start(arguments: impl Iterator<Item = OsString>) -> Result<Self, RsyncError> {
        let mut command = Command::new("rsync");
        command
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C")])
            // The names of files are handed on as they are; the relay's SSH side quotes them.
            .envs([("RSYNC_OLD_ARGS", "1"), ("RSYNC_PROTECT_ARGS", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map(Self).map_err(|error| not_started(error, PATH))
    }

    /// Waits for its end and tells how many bytes are in place meanwhile.
    pub(super) async fn watch(&mut self, tell: impl FnMut(u64)) -> Result<Ended, RsyncError> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let ended = async {
            let ((), said, status) =
                tokio::try_join!(counts(stdout, tell), tail(stderr), self.0.wait())?;
            Ok(Ended { code: status.code(), said })
        };
        ended.await.map_err(RsyncError::Local)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has no id any more once it was waited for.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "rsync was gone already");
        }
    }
}

async fn counts(from: Option<impl AsyncRead + Unpin>, mut tell: impl FnMut(u64)) -> io::Result<()> {
    let mut lines = Lines::default();
    read(from, |text| {
        if let Some(count) = lines.read(text) {
            tell(count);
        }
    })
    .await
}

async fn tail(from: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut tail = Tail::default();
    read(from, |text| tail.push(text)).await?;
    Ok(tail.text())
}

async fn read(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 8 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => take(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_remote_shell() {
        assert_eq!(word(Path::new("/opt/a b/d'rs")), "'/opt/a b/d''rs'");
    }

    #[test]
    fn the_version_is_read_from_rsyncs_first_line() {
        assert_eq!(version("rsync  version 3.2.7  protocol version 31"), Some([3, 2, 7]));
        assert_eq!(version("rsync  version v3.4.0dev  protocol version 32"), Some([3, 4, 0]));
        for line in ["", "rsync  version x", "openrsync: protocol version 29"] {
            assert_eq!(version(line), None, "{line}");
        }
    }

    #[tokio::test]
    async fn an_rsync_that_is_missing_or_old_is_told_before_a_transfer() {
        use std::os::unix::fs::PermissionsExt;
        installed(PATH).await.expect("rsync of this machine");
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().to_str().expect("text");
        let told = installed(path).await.expect_err("no rsync there").fault();
        assert!(told.message.contains(&format!("{path}/rsync")), "{told:?}");
        let rsync = dir.path().join("rsync");
        let script = "#!/bin/sh\necho 'rsync  version 3.1.3  protocol version 31'\n";
        std::fs::write(&rsync, script).expect("script");
        std::fs::set_permissions(&rsync, PermissionsExt::from_mode(0o755)).expect("mode");
        let told = installed(path).await.expect_err("an old rsync").fault();
        assert!(told.message.contains("3.1.3") && told.remedy.contains("3.2.3"), "{told:?}");
    }

    #[test]
    fn only_a_beginning_is_gone_on_with_and_has_time_to_be_compared() {
        let options = |beginning| {
            let options = options(Path::new("/drs"), Path::new("/s"), beginning);
            options.iter().filter_map(|o| o.to_str()).collect::<Vec<_>>().join(" ")
        };
        for whole in [None, Some(0)] {
            assert!(!options(whole).contains("--append-verify"));
            assert!(options(whole).contains("--timeout=300 "));
        }
        let resumed = options(Some(100 * COMPARE_BYTES_PER_S));
        assert!(resumed.contains("--append-verify") && resumed.contains("--timeout=400 "));
    }
}
