//! The container of `lzop`: a header, then blocks of LZO1X with checksums, then four zero bytes.
//!
//! All numbers are big-endian. Flags say which checksums there are:
//!
//! ```text
//! magic 9 | version u16 | library u16 | version needed u16 | method u8 | level u8 | flags u32
//!   | mode u32 | mtime u32 u32 | name u8 + bytes | checksum of the header u32
//! block: size u32 | packed size u32 | adler32? | crc32? | of the packed: adler32? | crc32? | bytes
//! ```
//!
//! A block whose two sizes are equal is stored as it is and has no checksums of the packed form.

use std::io::{self, BufRead, Read};

use flate2::Crc;
use simd_adler32::Adler32;

use super::at_end;

const MAGIC: [u8; 9] = *b"\x89LZO\0\r\n\x1a\n";
/// Since this version the header has a level, a needed version and a long mtime.
const VERSION_LONG_HEADER: u16 = 0x0940;
const FLAG_ADLER32: u32 = 0x1;
const FLAG_ADLER32_PACKED: u32 = 0x2;
const FLAG_CRC32: u32 = 0x100;
const FLAG_CRC32_PACKED: u32 = 0x200;
const FLAG_HEADER_CRC32: u32 = 0x1000;
/// More volumes, a filter, or an extra field: `lzop` does not make them.
const FLAGS_UNKNOWN: u32 = 0x40 | 0x400 | 0x800;
/// The largest block that is unpacked. `lzop` makes them of 256 KiB.
const BLOCK_MAX: usize = 4 << 20;

/// Unpacks a stream of `lzop`.
pub(super) struct Decoder<R> {
    input: R,
    flags: u32,
    packed: Vec<u8>,
    block: Vec<u8>,
    /// Bytes of the block that were handed out.
    taken: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        if take::<9>(&mut input, &mut Vec::new())? != MAGIC {
            return Err(damaged("the header of lzop does not begin as it should"));
        }
        let flags = header(&mut input)?;
        let (packed, block, state) = (Vec::new(), Vec::new(), State::Reading);
        Ok(Self { input, flags, packed, block, taken: 0, state })
    }

    /// Reads and unpacks the next block; at the end there is none.
    fn next_block(&mut self) -> io::Result<State> {
        let size = self.number()? as usize;
        if size == 0 {
            if at_end(&mut self.input)? {
                return Ok(State::Ended);
            }
            return Err(damaged("something follows the end of the lzop stream"));
        }
        let packed = self.number()? as usize;
        if size > BLOCK_MAX || packed > size {
            return Err(damaged("a block of lzop has sizes that cannot be"));
        }
        let plain = self.checks(FLAG_ADLER32, FLAG_CRC32)?;
        let of_packed = if packed < size {
            self.checks(FLAG_ADLER32_PACKED, FLAG_CRC32_PACKED)?
        } else {
            Checks::default()
        };
        self.packed.resize(packed, 0);
        self.input.read_exact(&mut self.packed)?;
        of_packed.compare(&self.packed)?;
        if packed == size {
            std::mem::swap(&mut self.block, &mut self.packed);
        } else {
            self.block.resize(size, 0);
            let unpacked = lzallright::decompress(&self.packed, &mut self.block);
            if unpacked.map_err(|_| damaged("a block of lzop does not unpack"))? != size {
                return Err(damaged("a block of lzop unpacks to another size than it states"));
            }
        }
        plain.compare(&self.block)?;
        Ok(State::Reading)
    }

    fn number(&mut self) -> io::Result<u32> {
        take(&mut self.input, &mut Vec::new()).map(u32::from_be_bytes)
    }

    fn checks(&mut self, adler32: u32, crc32: u32) -> io::Result<Checks> {
        let mut check = |flag| (self.flags & flag != 0).then(|| self.number()).transpose();
        Ok(Checks { adler32: check(adler32)?, crc32: check(crc32)? })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() && self.state == State::Reading {
            self.taken = 0;
            self.block.clear();
            let next = self.next_block();
            self.state = *next.as_ref().unwrap_or(&State::Failed);
            next?;
        }
        if self.state == State::Failed {
            return Err(damaged("the lzop stream failed before"));
        }
        let got = self.block.get(self.taken..).unwrap_or_default().read(buffer)?;
        self.taken += got;
        Ok(got)
    }
}

/// Reads the header behind the magic and gives its flags.
fn header(input: &mut impl Read) -> io::Result<u32> {
    let mut seen = Vec::new();
    let version = u16::from_be_bytes(take(input, &mut seen)?);
    let long = version >= VERSION_LONG_HEADER;
    take::<2>(input, &mut seen)?;
    if long {
        take::<2>(input, &mut seen)?;
    }
    let [method] = take(input, &mut seen)?;
    if !(1..=3).contains(&method) {
        return Err(damaged("this lzop stream is not packed by LZO1X"));
    }
    if long {
        take::<1>(input, &mut seen)?;
    }
    let flags = u32::from_be_bytes(take(input, &mut seen)?);
    if flags & FLAGS_UNKNOWN != 0 {
        return Err(damaged("this lzop stream has parts that are not supported"));
    }
    take::<8>(input, &mut seen)?;
    if long {
        take::<4>(input, &mut seen)?;
    }
    let [name] = take(input, &mut seen)?;
    for _ in 0..name {
        take::<1>(input, &mut seen)?;
    }
    let stated = Some(u32::from_be_bytes(take(input, &mut Vec::new())?));
    let checks = if flags & FLAG_HEADER_CRC32 == 0 {
        Checks { adler32: stated, crc32: None }
    } else {
        Checks { adler32: None, crc32: stated }
    };
    checks.compare(&seen).map(|()| flags)
}

/// Checksums as the stream states them.
#[derive(Default)]
struct Checks {
    adler32: Option<u32>,
    crc32: Option<u32>,
}

impl Checks {
    fn compare(&self, bytes: &[u8]) -> io::Result<()> {
        let adler32 = self.adler32.is_none_or(|stated| {
            let mut sum = Adler32::new();
            sum.write(bytes);
            sum.finish() == stated
        });
        let crc32 = self.crc32.is_none_or(|stated| {
            let mut sum = Crc::new();
            sum.update(bytes);
            sum.sum() == stated
        });
        if adler32 && crc32 {
            return Ok(());
        }
        Err(damaged("a checksum of the lzop stream does not match"))
    }
}

/// Reads `N` bytes and appends them to `seen`.
fn take<const N: usize>(input: &mut impl Read, seen: &mut Vec<u8>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    seen.extend_from_slice(&bytes);
    Ok(bytes)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
