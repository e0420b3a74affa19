//! A container's archive as it is read: a tar whose first members are the container's configuration.
//! Its files are not looked at; all its bytes travel, in order.

use std::io::{self, Cursor, Read};

use bytes::Bytes;
use drs_model::Extent;

/// Unit of a tar.
const BLOCK: usize = 512;
/// A tar ends with at least so many zeros.
const END: usize = 2 * BLOCK;
/// Longest configuration or extended header that is taken.
const MEMBER_MAX: usize = 1 << 20;

const CONFIG: &str = "./etc/vzdump/pct.conf";
const FIREWALL: &str = "./etc/vzdump/pct.fw";

/// Why a tar is not taken for a container's archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    /// It could not be read.
    #[error("the archive cannot be read further than byte {at}: {source}")]
    Read {
        /// How far it was read.
        at: u64,
        /// What the input said.
        source: io::Error,
    },
    /// It does not begin as vzdump writes them.
    #[error("this is no archive of a container: {0}")]
    Foreign(&'static str),
    /// It ends too early.
    #[error("the archive is cut off at byte {0}")]
    Truncated(u64),
}

/// What stands in front of the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TarHead {
    /// The container's configuration.
    pub(super) config: String,
    /// Its firewall rules; empty when it has none.
    pub(super) firewall: String,
}

/// A tar that is read from its first byte to its last.
pub(super) struct TarReader<R> {
    head: TarHead,
    input: io::Chain<Cursor<Vec<u8>>, R>,
    at: u64,
    /// The zeros that were last read, as far as they matter.
    zeros: usize,
}

impl<R: Read> TarReader<R> {
    /// Begins to read: the configuration is read.
    pub(super) fn open(mut input: R) -> Result<Self, TarError> {
        let mut taken = Taken { input: &mut input, bytes: Vec::new() };
        let head = taken.head()?;
        let bytes = taken.bytes;
        Ok(Self { head, input: Cursor::new(bytes).chain(input), at: 0, zeros: 0 })
    }

    pub(super) fn head(&self) -> &TarHead {
        &self.head
    }

    /// The next bytes. None means: the input is at its end, and it was the tar's end.
    pub(super) fn next(&mut self) -> Result<Option<Extent>, TarError> {
        let failed = |source| TarError::Read { at: self.at, source };
        let mut data = Vec::with_capacity(Extent::BYTES_MAX);
        let most = Extent::BYTES_MAX as u64;
        self.input.by_ref().take(most).read_to_end(&mut data).map_err(failed)?;
        if data.is_empty() {
            let complete = self.zeros >= END && self.at.is_multiple_of(BLOCK as u64);
            return if complete { Ok(None) } else { Err(TarError::Truncated(self.at)) };
        }
        let zeros = data.iter().rev().take(END).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == data.len() { self.zeros + zeros } else { zeros };
        let extent = Extent { offset: self.at, data: Bytes::from(data) };
        self.at = extent.end();
        Ok(Some(extent))
    }
}

/// What was read so far, to be handed out again.
struct Taken<'a, R> {
    input: &'a mut R,
    bytes: Vec<u8>,
}

/// A member's header, as far as it matters.
struct Member {
    name: String,
    kind: u8,
    size: usize,
}

impl<R: Read> Taken<'_, R> {
    fn head(&mut self) -> Result<TarHead, TarError> {
        let config = self.file(CONFIG)?;
        let config = config.ok_or(TarError::Foreign("its first file is no pct.conf"))?;
        let firewall = self.file(FIREWALL)?.unwrap_or_default();
        Ok(TarHead { config, firewall })
    }

    /// The content of the next file when it has that name.
    fn file(&mut self, name: &str) -> Result<Option<String>, TarError> {
        loop {
            let member = self.member()?;
            match member.kind {
                // Extended headers and long names belong to the member behind them.
                b'x' | b'g' | b'L' | b'K' => drop(self.data(member.size)?),
                b'0' | 0 if member.name == name => {
                    let data = self.data(member.size)?;
                    return Ok(Some(String::from_utf8_lossy(&data).into_owned()));
                }
                _ => return Ok(None),
            }
        }
    }

    fn member(&mut self) -> Result<Member, TarError> {
        let block = self.read(BLOCK)?;
        let field = |from: usize, to: usize| block.get(from..to).unwrap_or_default();
        let number = |from, to| {
            let text = std::str::from_utf8(field(from, to)).unwrap_or_default();
            usize::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
        };
        let checksum = block.iter().enumerate().map(|(index, byte)| match index {
            148..156 => usize::from(b' '),
            _ => usize::from(*byte),
        });
        if number(148, 156) != Some(checksum.sum()) {
            return Err(TarError::Foreign("the header of its first file is damaged"));
        }
        let name = field(0, 100).split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Member {
            name: String::from_utf8_lossy(name).into_owned(),
            kind: block.get(156).copied().unwrap_or_default(),
            size: number(124, 136).unwrap_or(usize::MAX),
        })
    }

    fn data(&mut self, size: usize) -> Result<Vec<u8>, TarError> {
        if size > MEMBER_MAX {
            return Err(TarError::Foreign("its configuration is longer than 1 MiB"));
        }
        let mut data = self.read(size.next_multiple_of(BLOCK))?;
        data.truncate(size);
        Ok(data)
    }

    fn read(&mut self, wanted: usize) -> Result<Vec<u8>, TarError> {
        let at = self.bytes.len();
        let failed = |source| TarError::Read { at: at as u64, source };
        self.input.by_ref().take(wanted as u64).read_to_end(&mut self.bytes).map_err(failed)?;
        let read = self.bytes.get(at..).unwrap_or_default().to_vec();
        match read.len() {
            0 if at == 0 => Err(TarError::Foreign("it is empty")),
            got if got < wanted => Err(TarError::Truncated(self.bytes.len() as u64)),
            _ => Ok(read),
        }
    }
}
