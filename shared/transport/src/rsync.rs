//! One file from or to a host with rsync, over the worker's own SSH connection.
//!
//! rsync runs as a child of this process with `drs rsh` as its remote shell (see [`crate::relay`]). It
//! writes into the file itself, so that what has arrived stays when the transfer breaks, and the next one
//! goes on from there:
//! - A leftover shorter than the file is taken for its beginning, and the rest is sent. rsync compares
//!   the checksum of the whole; when the leftover was something else, it sends what differs.
//! - Any other leftover, also one of the right size and time, is compared block by block.
//!
//! A file is nobody's to use before its transfer has succeeded. Until then, too, it has mode 0600, and it
//! belongs to the login that wrote it. Symbolic links are not followed, sparse files arrive filled.
//!
//! # What proves a file
//! For what was sent rsync compares the checksum of the whole file on both sides; after it the size is
//! compared with the one before. No digest is known of an archive that a host has just made, so what it
//! holds is proven by whoever reads it next: the checksums of its packing (zstd, gzip and lzop have them),
//! the MD5 of a VMA's header and of each of its extents' headers, that no cluster of it is missing, and
//! for a container the length of the tar stream that its host told. A flipped bit in the data of an archive
//! that is not packed goes unseen.
//!
//! The names reach rsync and the host as they are: rsync's own escaping and the environment of this
//! process are kept out of it, and the relay's SSH side quotes every argument. The price: rsync does not
//! check whether a host sends the file that was asked for; the size does, and the archive's own identity
//! that its reader looks at.
//!
//! This machine needs rsync 3.2.3 or newer in `/usr/local/bin`, `/usr/bin` or `/bin`; a host one on its
//! login's path.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::{Argv, Rates, Relay, Remote, TransportError};

mod child;
mod error;
mod progress;

use child::{Child, Ended};
pub use error::{RsyncError, Side};
pub use progress::Progress;

/// What a transfer moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes that went over the connection, both ways together: less than the file when a part of it was
    /// there.
    pub wire_bytes: u64,
}

/// Moves single files between this machine and a host. Dropping a transfer's future ends it on both
/// sides; what has arrived stays for the next one.
#[derive(Debug, Clone)]
pub struct Rsync {
    rsh: PathBuf,
}

/// One transfer: where the file is and where it comes to.
struct Route<'a> {
    remote: &'a Arc<dyn Remote>,
    source: End<'a>,
    target: End<'a>,
}

/// An end of a transfer.
enum End<'a> {
    Here(PathBuf),
    Host(&'a str),
}

impl Rsync {
    /// With the program that is started as `PROGRAM rsh --socket PATH HOST COMMAND...` and calls
    /// [`crate::relay::rsh()`]: `drs` itself.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { rsh: program.into() }
    }

    /// Whether this machine has the rsync that transfers need; asked before a job, so that it does not
    /// fail after hours.
    ///
    /// # Errors
    /// [`RsyncError::NoRsyncHere`], [`RsyncError::OldRsyncHere`], [`RsyncError::Local`].
    pub async fn installed() -> Result<(), RsyncError> {
        child::installed(child::PATH).await
    }

    /// Fetches a file from a host. Both paths name the file itself; the host's is absolute.
    ///
    /// # Errors
    /// [`RsyncError`]; what has arrived stays.
    pub async fn fetch(
        &self,
        remote: &Arc<dyn Remote>,
        rates: &Rates,
        from: &str,
        to: &Path,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, RsyncError> {
        let (source, target) = (End::host(from)?, End::here(to)?);
        self.run(&Route { remote, source, target }, rates, progress).await
    }

    /// Brings a file to a host. Both paths name the file itself; the host's is absolute.
    ///
    /// # Errors
    /// [`RsyncError`]; what has arrived stays.
    pub async fn push(
        &self,
        remote: &Arc<dyn Remote>,
        rates: &Rates,
        from: &Path,
        to: &str,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, RsyncError> {
        let (source, target) = (End::here(from)?, End::host(to)?);
        self.run(&Route { remote, source, target }, rates, progress).await
    }

    async fn run(
        &self,
        route: &Route<'_>,
        rates: &Rates,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Moved, RsyncError> {
        let Some(total) = route.size(&route.source).await? else {
            return Err(route.missing(&route.source));
        };
        let present = route.size(&route.target).await?.unwrap_or(0);
        let relay = Relay::open(route.remote.clone(), rates.clone()).map_err(RsyncError::Local)?;
        let options =
            child::options(&self.rsh, relay.socket(), (present < total).then_some(present));
        let paths = [&route.source, &route.target].map(|end| end.argument(route.remote));
        let mut child = Child::start(options.into_iter().chain(paths))?;
        let mut last = None;
        let mut tell = |present| {
            if last.replace(present) != Some(present) {
                progress(Progress { present, total });
            }
        };
        let ended = child.watch(&mut tell).await?;
        let Ended { code: Some(0), .. } = ended else {
            return Err(error::classify(route, ended, relay.ended()));
        };
        match route.size(&route.target).await? {
            Some(found) if found == total => {
                tell(total);
                Ok(Moved { file_bytes: total, wire_bytes: relay.bytes() })
            }
            found => Err(route.incomplete(total, found.unwrap_or(0))),
        }
    }
}

impl Route<'_> {
    /// How long the file is at this end, if it is there.
    async fn size(&self, end: &End<'_>) -> Result<Option<u64>, RsyncError> {
        match end {
            End::Here(path) => match tokio::fs::symlink_metadata(path).await {
                Ok(found) if found.is_file() => Ok(Some(Metadata::len(&found))),
                Ok(_) => Err(self.no_file(end)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(RsyncError::Local(error)),
            },
            End::Host(path) => self.size_on_host(path, end).await,
        }
    }

    async fn size_on_host(&self, path: &str, end: &End<'_>) -> Result<Option<u64>, RsyncError> {
        let stat = Argv::new("env").args(["LC_ALL=C", "stat", "-c", "%f %s", "--", path]);
        let answer = self.remote.exec(&stat, Bytes::new()).await?;
        if !answer.ok() && answer.stderr.contains("No such file or directory") {
            return Ok(None);
        }
        if !answer.ok() {
            return Err(error::refused_by_host(self, &answer));
        }
        let text = answer.text();
        let read = text.trim().split_once(' ').and_then(|(mode, size)| {
            Some((u32::from_str_radix(mode, 16).ok()?, size.parse::<u64>().ok()?))
        });
        match read {
            // The mode's upper bits say what it is: a regular file.
            Some((mode, size)) if mode & 0o170_000 == 0o100_000 => Ok(Some(size)),
            Some(_) => Err(self.no_file(end)),
            None => Err(RsyncError::Transport(TransportError::Protocol {
                host: self.remote.host().clone(),
                command: "stat".into(),
                answer: text.chars().take(500).collect(),
            })),
        }
    }

    fn side(&self, end: &End<'_>) -> Side {
        match end {
            End::Here(_) => Side::Here,
            End::Host(_) => Side::Host(self.remote.host().clone()),
        }
    }

    fn missing(&self, end: &End<'_>) -> RsyncError {
        RsyncError::Missing { side: self.side(end), path: end.path() }
    }

    /// The file should come into a directory that is not there.
    fn no_directory(&self) -> RsyncError {
        let path = self.target.path();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        RsyncError::Missing { side: self.side(&self.target), path: directory }
    }

    fn no_file(&self, end: &End<'_>) -> RsyncError {
        RsyncError::NoFile { side: self.side(end), path: end.path() }
    }

    fn incomplete(&self, expected: u64, found: u64) -> RsyncError {
        let (side, path) = (self.side(&self.target), self.target.path());
        RsyncError::Incomplete { side, path, expected, found }
    }
}

impl<'a> End<'a> {
    fn here(path: &Path) -> Result<Self, RsyncError> {
        std::path::absolute(path).map(Self::Here).map_err(RsyncError::Local)
    }

    fn host(path: &'a str) -> Result<Self, RsyncError> {
        let names_a_file = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
        if names_a_file {
            Ok(Self::Host(path))
        } else {
            Err(RsyncError::Path { path: path.into() })
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Here(path) => path.display().to_string(),
            Self::Host(path) => (*path).to_owned(),
        }
    }

    /// As rsync wants it. An absolute path is never taken for an option, nor for a host.
    fn argument(&self, remote: &Arc<dyn Remote>) -> std::ffi::OsString {
        match self {
            Self::Here(path) => path.into(),
            Self::Host(path) => format!("{}:{path}", remote.host()).into(),
        }
    }
}
