//! From a fresh stream to an export that takes requests.

use drs_transport::BoxStream;

use super::NbdError;
use super::connection::Connection;
use super::wire;

/// Most informational replies that are read before an acknowledgement.
const REPLIES_MAX: usize = 64;

/// An export that takes requests.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) size_bytes: u64,
    pub(super) read_only: bool,
    /// Whether the server knows [`Command::Flush`](wire::Command::Flush).
    pub(super) flush: bool,
    /// The server's number for the map `base:allocation`, when it has one.
    pub(super) allocation: Option<u32>,
}

struct OptionReply {
    kind: u32,
    payload: Vec<u8>,
}

/// Opens the export `name`.
pub(super) async fn open(stream: BoxStream, name: &str) -> Result<Opened, NbdError> {
    let mut connection = Connection::new(stream);
    if connection.u64().await? != wire::MAGIC || connection.u64().await? != wire::OPTION_MAGIC {
        return Err(NbdError::protocol("this is no newstyle NBD server"));
    }
    let offered = connection.u16().await?;
    if offered & wire::FLAG_FIXED_NEWSTYLE == 0 {
        return Err(NbdError::protocol("the server does not speak the fixed newstyle"));
    }
    let flags = u32::from(wire::FLAG_FIXED_NEWSTYLE | offered & wire::FLAG_NO_ZEROES);
    connection.send(&flags.to_be_bytes()).await?;
    let allocation = match structured_replies(&mut connection).await? {
        true => allocation_map(&mut connection, name).await?,
        false => None,
    };
    let (size_bytes, flags) = go(&mut connection, name).await?;
    Ok(Opened {
        connection,
        size_bytes,
        read_only: flags & wire::EXPORT_READ_ONLY != 0,
        flush: flags & wire::EXPORT_FLUSH != 0,
        allocation,
    })
}

async fn option(connection: &mut Connection, number: u32, data: &[u8]) -> Result<(), NbdError> {
    let mut bytes = wire::OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend(length(data)?);
    bytes.extend(data);
    connection.send(&bytes).await
}

async fn reply(connection: &mut Connection, number: u32) -> Result<OptionReply, NbdError> {
    if connection.u64().await? != wire::OPTION_REPLY_MAGIC {
        return Err(NbdError::protocol("an option's answer has the wrong magic number"));
    }
    let answered = connection.u32().await?;
    let kind = connection.u32().await?;
    let length = connection.u32().await?;
    let payload = connection.payload(length).await?;
    if answered != number {
        return Err(NbdError::protocol(format!("asked option {number}, it answered {answered}")));
    }
    Ok(OptionReply { kind, payload })
}

async fn structured_replies(connection: &mut Connection) -> Result<bool, NbdError> {
    option(connection, wire::OPTION_STRUCTURED_REPLY, &[]).await?;
    let answer = reply(connection, wire::OPTION_STRUCTURED_REPLY).await?;
    match answer.kind {
        wire::REPLY_ACK => Ok(true),
        wire::REPLY_ERROR_UNSUPPORTED => Ok(false),
        _ => Err(refusal(&answer)),
    }
}

async fn allocation_map(connection: &mut Connection, name: &str) -> Result<Option<u32>, NbdError> {
    let context = b"base:allocation";
    let mut data = prefixed(name.as_bytes())?;
    data.extend(1_u32.to_be_bytes());
    data.extend(prefixed(context)?);
    option(connection, wire::OPTION_SET_META_CONTEXT, &data).await?;
    let mut id = None;
    for _ in 0..REPLIES_MAX {
        let answer = reply(connection, wire::OPTION_SET_META_CONTEXT).await?;
        match answer.kind {
            wire::REPLY_ACK => return Ok(id),
            wire::REPLY_ERROR_UNSUPPORTED => return Ok(None),
            wire::REPLY_META_CONTEXT => match answer.payload.split_first_chunk::<4>() {
                Some((number, text)) if text == context => id = Some(u32::from_be_bytes(*number)),
                _ => return Err(NbdError::protocol("it answered with a map nobody asked for")),
            },
            _ => return Err(refusal(&answer)),
        }
    }
    Err(NbdError::protocol("endless answers to one option"))
}

async fn go(connection: &mut Connection, name: &str) -> Result<(u64, u16), NbdError> {
    let mut data = prefixed(name.as_bytes())?;
    data.extend(0_u16.to_be_bytes());
    option(connection, wire::OPTION_GO, &data).await?;
    let mut export = None;
    for _ in 0..REPLIES_MAX {
        let answer = reply(connection, wire::OPTION_GO).await?;
        match answer.kind {
            wire::REPLY_ACK => {
                return export.ok_or_else(|| NbdError::protocol("it did not tell the size"));
            }
            wire::REPLY_INFO => export = export_info(&answer.payload)?.or(export),
            _ => return Err(refusal(&answer)),
        }
    }
    Err(NbdError::protocol("endless answers to one option"))
}

/// Size and flags, when this is the information about the export.
fn export_info(payload: &[u8]) -> Result<Option<(u64, u16)>, NbdError> {
    let short = || NbdError::protocol("the information about the export is cut short");
    let (kind, rest) = payload.split_first_chunk::<2>().ok_or_else(short)?;
    if u16::from_be_bytes(*kind) != wire::INFO_EXPORT {
        return Ok(None);
    }
    let (size, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let flags = rest.first_chunk::<2>().ok_or_else(short)?;
    let size = u64::from_be_bytes(*size);
    if size > i64::MAX.unsigned_abs() {
        return Err(NbdError::protocol(format!("a disk of {size} bytes")));
    }
    Ok(Some((size, u16::from_be_bytes(*flags))))
}

fn refusal(answer: &OptionReply) -> NbdError {
    let text = String::from_utf8_lossy(&answer.payload).trim().to_owned();
    let reason = match answer.kind.checked_sub(wire::REPLY_ERROR) {
        None => return NbdError::protocol(format!("unexpected answer of kind {}", answer.kind)),
        Some(2) => "not allowed",
        Some(5) => "TLS is required",
        Some(6) => "there is no such export",
        Some(7) => "the server is shutting down",
        Some(_) => "the request was not accepted",
    };
    match text.is_empty() {
        true => NbdError::Refused(reason.into()),
        false => NbdError::Refused(format!("{reason} ({text})")),
    }
}

fn length(data: &[u8]) -> Result<[u8; 4], NbdError> {
    u32::try_from(data.len())
        .map(u32::to_be_bytes)
        .map_err(|_| NbdError::protocol("an option is too long"))
}

fn prefixed(text: &[u8]) -> Result<Vec<u8>, NbdError> {
    let mut bytes = length(text)?.to_vec();
    bytes.extend(text);
    Ok(bytes)
}
