//! What an archive is packed with, by its content and by its name.

mod lzop;
mod pack;

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

pub use pack::Packer;

/// The largest window of a zstd frame, as a power of two: 16 MiB. All levels of `zstd` up to 19
/// keep to it; `--ultra` above 20 and `--long` do not and are refused by their first frame.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;
/// Packed bytes read at once.
const BUFFER: usize = 256 << 10;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.lzo`, the container of `lzop`
    Lzo,
    /// `.zst`
    Zstd,
}

/// The name of a file says another packing than its content has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name '{name}' says {named}, but the content is {found}")]
pub struct Mismatch {
    /// The file's name.
    pub name: String,
    /// What its end says.
    pub named: Compression,
    /// What the first bytes say.
    pub found: Compression,
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Lzo => "lzop",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// What the first bytes of a file say. Eight are enough; what nobody knows is not packed.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x89, b'L', b'Z', b'O', ..] => Self::Lzo,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What the end of a file's name says, if anything.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "vma" | "tar" => Some(Self::None),
            "gz" | "tgz" => Some(Self::Gzip),
            "lzo" => Some(Self::Lzo),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Holds the end of a file's name against what was found in the file. Proxmox's own tools go
    /// by the name alone, so a file with a wrong one cannot be restored there.
    ///
    /// # Errors
    /// The name says something else; a name that says nothing is no error.
    pub fn check_name(self, name: &str) -> Result<(), Mismatch> {
        match Self::of_name(name).filter(|named| *named != self) {
            None => Ok(()),
            Some(named) => Err(Mismatch { name: name.to_owned(), named, found: self }),
        }
    }
}

/// Unpacks a stream according to its content, whatever it is called. Checksums of the container
/// are checked; reading fails where one does not match, or where the stream ends early.
pub struct Unpacked<R: Read>(Packing<R>);

type Packed<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

enum Packing<R: Read> {
    None(io::Chain<Cursor<Vec<u8>>, R>),
    Gzip(MultiGzDecoder<Packed<R>>),
    Lzo(lzop::Decoder<Packed<R>>),
    Zstd(zstd::Decoder<'static, Packed<R>>),
}

/// Begins to unpack: reads the first bytes of `input` and goes by them.
///
/// # Errors
/// Reading fails, or the container's header is damaged.
pub fn open<R: Read>(mut input: R) -> io::Result<Unpacked<R>> {
    let mut start = Vec::new();
    input.by_ref().take(8).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let whole = Cursor::new(start).chain(input);
    if compression == Compression::None {
        return Ok(Unpacked(Packing::None(whole)));
    }
    let packed = BufReader::with_capacity(BUFFER, whole);
    Ok(Unpacked(match compression {
        Compression::Gzip => Packing::Gzip(MultiGzDecoder::new(packed)),
        Compression::Lzo => Packing::Lzo(lzop::Decoder::new(packed)?),
        _ => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Packing::Zstd(decoder)
        }
    }))
}

impl<R: Read> Unpacked<R> {
    /// What the stream is packed with.
    pub fn compression(&self) -> Compression {
        match &self.0 {
            Packing::None(_) => Compression::None,
            Packing::Gzip(_) => Compression::Gzip,
            Packing::Lzo(_) => Compression::Lzo,
            Packing::Zstd(_) => Compression::Zstd,
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Packing::None(input) => input.read(buffer),
            Packing::Gzip(input) => input.read(buffer),
            Packing::Lzo(input) => input.read(buffer),
            Packing::Zstd(input) => input.read(buffer).map_err(name_window),
        }
    }
}

impl<R: Read> std::fmt::Debug for Unpacked<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unpacked").field(&self.compression()).finish()
    }
}

/// The library says only that the frame takes too much memory.
fn name_window(error: io::Error) -> io::Error {
    if !error.to_string().contains("too much memory") {
        return error;
    }
    let told = "its zstd window is larger than 16 MiB: unpack it with `zstd -d --long=31` first";
    io::Error::new(io::ErrorKind::Unsupported, told)
}

/// Whether `input` is at its end.
fn at_end(input: &mut impl BufRead) -> io::Result<bool> {
    input.fill_buf().map(<[u8]>::is_empty)
}
