//! Numbers of the NBD protocol.

pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
pub(super) const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(super) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

pub(super) const FLAG_FIXED_NEWSTYLE: u16 = 1;
pub(super) const FLAG_NO_ZEROES: u16 = 2;

pub(super) const OPTION_GO: u32 = 7;
pub(super) const OPTION_STRUCTURED_REPLY: u32 = 8;
pub(super) const OPTION_SET_META_CONTEXT: u32 = 10;

pub(super) const REPLY_ACK: u32 = 1;
pub(super) const REPLY_INFO: u32 = 3;
pub(super) const REPLY_META_CONTEXT: u32 = 4;
pub(super) const REPLY_ERROR: u32 = 1 << 31;
pub(super) const REPLY_ERROR_UNSUPPORTED: u32 = REPLY_ERROR + 1;

pub(super) const INFO_EXPORT: u16 = 0;

pub(super) const EXPORT_READ_ONLY: u16 = 1 << 1;
pub(super) const EXPORT_FLUSH: u16 = 1 << 2;

pub(super) const CHUNK_DONE: u16 = 1;
pub(super) const CHUNK_NONE: u16 = 0;
pub(super) const CHUNK_DATA: u16 = 1;
pub(super) const CHUNK_HOLE: u16 = 2;
pub(super) const CHUNK_STATUS: u16 = 5;
pub(super) const CHUNK_ERROR: u16 = 1 << 15;

/// `base:allocation`: the range reads as zeros.
pub(super) const STATUS_ZERO: u32 = 1 << 1;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    BlockStatus,
}

impl Command {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::BlockStatus => 7,
        }
    }

    /// For messages.
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Disconnect => "disconnecting",
            Self::Flush => "flushing",
            Self::BlockStatus => "mapping",
        }
    }
}
