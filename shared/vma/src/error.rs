//! Why an archive is not read or not written, and where in the file that was seen.

use std::io;
use std::path::PathBuf;

/// Why work with an archive ended. Places are byte offsets in the uncompressed archive.
#[derive(Debug, thiserror::Error)]
pub enum VmaError {
    /// The input failed; a stream that does not decompress counts as one.
    #[error("the archive cannot be read further than byte {at}")]
    Read {
        /// How far it was read.
        at: u64,
        /// What the input said.
        source: io::Error,
    },
    /// The output failed.
    #[error("the archive cannot be written further than byte {at}")]
    Write {
        /// How far it was written.
        at: u64,
        /// What the output said.
        source: io::Error,
    },
    /// The archive breaks the format, or a header that is to be written would.
    #[error("byte {at}: {damage}")]
    Damaged {
        /// Where the damage was seen.
        at: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// The archive may be sound but asks for more than this reader or writer grants.
    #[error("byte {at}: {limit}")]
    Limit {
        /// Where that was seen.
        at: u64,
        /// Which limit it is.
        limit: Limit,
    },
    /// The caller handed the writer something that has no place in the archive.
    #[error("device {device}, offset {offset}: {misuse}")]
    Misused {
        /// The device that was named.
        device: u8,
        /// The offset that was named, in bytes.
        offset: u64,
        /// What is wrong with it.
        misuse: Misuse,
    },
    /// A file beside the archive failed: a disk or a configuration to extract or to read.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How an archive breaks the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first bytes are not those of an archive.
    #[error("this is not a VMA archive")]
    NotVma,
    /// Written by a version that nobody knows.
    #[error("version {0} of the format is unknown, only version 1 is")]
    Version(u32),
    /// The file ends inside something.
    #[error("the file ends within {part}: {got} of {wanted} bytes")]
    Truncated {
        /// What was being read.
        part: &'static str,
        /// Bytes there were.
        got: u64,
        /// Bytes there should be.
        wanted: u64,
    },
    /// The header states a length that cannot be.
    #[error("the header cannot be {0} bytes long")]
    HeaderSize(u32),
    /// The header's MD5 is another one.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// The blobs are not within the header.
    #[error("the table of texts ({offset} + {size} bytes) does not lie within the header")]
    BlobTable {
        /// Where it should begin.
        offset: u32,
        /// How long it should be.
        size: u32,
    },
    /// A pointer leads out of the table of texts, or texts lie upon each other.
    #[error("{part} does not lie within the table of texts, or lies upon another one")]
    Blob {
        /// What was looked up.
        part: &'static str,
    },
    /// A configuration has a name without content, or the other way round.
    #[error("configuration {0} has a name without content, or content without a name")]
    HalfConfig(usize),
    /// A name that cannot be one.
    #[error("{part}: {fault}")]
    Name {
        /// Whose name it is.
        part: &'static str,
        /// Why it cannot be one.
        fault: NameFault,
    },
    /// Two configurations or two devices have one name.
    #[error("the name '{0}' occurs twice")]
    NameTwice(String),
    /// A device with an id that is reserved, or ids that do not rise.
    #[error("a device cannot have id {0} here (1 to 254, rising)")]
    DeviceId(u8),
    /// A device has a size but no name.
    #[error("device {0} has a size but no name")]
    NamelessDevice(u8),
    /// More bytes than cluster numbers reach.
    #[error("device '{name}' cannot have {size} bytes: the format ends at 2^48")]
    DeviceSize {
        /// The device's name.
        name: String,
        /// Its stated size.
        size: u64,
    },
    /// Something else stands where an extent should begin.
    #[error("no extent begins here")]
    ExtentMagic,
    /// The extent belongs to another archive.
    #[error("this extent belongs to another archive (its uuid differs)")]
    ExtentUuid,
    /// The extent header's MD5 is another one.
    #[error("the checksum of the extent's header does not match")]
    ExtentChecksum,
    /// The extent's block count is not the number of bits of its masks.
    #[error("the extent states {stated} blocks, its slots hold {counted}")]
    BlockCount {
        /// As the header says.
        stated: u16,
        /// As the masks say.
        counted: u32,
    },
    /// An empty slot that says something.
    #[error("a slot without a device names cluster {0} or blocks of it")]
    EmptySlot(u32),
    /// A cluster of a device that the header does not know.
    #[error("device {0} is not in the header")]
    UnknownDevice(u8),
    /// A cluster behind the device's end.
    #[error("device {device} has {clusters} clusters, there is no cluster {cluster}")]
    ClusterBeyondEnd {
        /// The device.
        device: u8,
        /// The cluster's number.
        cluster: u32,
        /// How many the device has.
        clusters: u64,
    },
    /// A block that lies wholly behind the device's end.
    #[error("cluster {cluster} of device {device} holds a block behind the device's end")]
    BlockBeyondEnd {
        /// The device.
        device: u8,
        /// The cluster's number.
        cluster: u32,
    },
    /// The same cluster again.
    #[error("cluster {cluster} of device {device} occurs twice")]
    ClusterTwice {
        /// The device.
        device: u8,
        /// The cluster's number.
        cluster: u32,
    },
    /// The archive ends and clusters were not in it.
    #[error(
        "the archive ends, {count} of {clusters} clusters of '{name}' are missing, first {first}"
    )]
    Missing {
        /// The device's name.
        name: String,
        /// The first cluster that is missing.
        first: u64,
        /// How many are.
        count: u64,
        /// How many the device has.
        clusters: u64,
    },
    /// The archive ends behind its header.
    #[error("the archive ends behind its header, at least one extent must follow")]
    NoExtent,
}

/// Why a name of a configuration or device is not taken: it may become a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing, `.` or `..`.
    #[error("the name is empty, '.' or '..'")]
    Dots,
    /// A `/`, or a character that is not printed.
    #[error("the name contains '/' or a control character")]
    Character,
    /// Too long, not UTF-8, or not ended as the format wants it.
    #[error("the name is not UTF-8 of 1 to 200 bytes with a NUL at its end")]
    Form,
}

/// What is granted to one archive, so that none takes more than a few tens of megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// The header is too long.
    #[error("the header is {0} bytes long, at most 1048576 are taken")]
    Header(u64),
    /// A configuration is too long.
    #[error("a configuration of {0} bytes does not fit, at most 65535 do")]
    Config(usize),
    /// There are too many configurations.
    #[error("{0} configurations do not fit, at most 256 do")]
    Configs(usize),
    /// There are too many devices.
    #[error("{0} disks do not fit, at most 254 do")]
    Devices(usize),
    /// Clusters jump over too wide a range.
    #[error(
        "clusters come in too wild an order: more than {0} ranges of 2 GiB are complete in part"
    )]
    Disorder(usize),
}

/// What a caller of the writer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The device is not in the header.
    #[error("the header has no such device")]
    Device,
    /// Not aligned, or the piece ends within a cluster before the device's end.
    #[error("a piece begins at a multiple of 64 KiB and ends at one or at the device's end")]
    Alignment,
    /// It was written before.
    #[error("written twice")]
    Twice,
}

impl VmaError {
    pub(crate) fn damaged(at: usize, damage: Damage) -> Self {
        Self::Damaged { at: at as u64, damage }
    }
}
