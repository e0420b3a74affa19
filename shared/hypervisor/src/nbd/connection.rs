//! Requests and replies on an open connection.

use drs_transport::BoxStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::wire::{self, Command};
use super::{NbdError, STALL};

/// Largest allocation map or error text taken from a server: what QEMU sends at most.
const CONTROL_BYTES_MAX: u32 = 1024 * 1024 + 64;

/// A connection, before or after the handshake.
pub(super) struct Connection {
    input: BufReader<ReadHalf<BoxStream>>,
    output: WriteHalf<BoxStream>,
    cookie: u64,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) cookie: u64,
    pub(super) command: Command,
    pub(super) offset: u64,
}

/// A piece of an answer.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) cookie: u64,
    /// No further piece follows.
    pub(super) done: bool,
    pub(super) body: Body,
}

/// What a piece of an answer says.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing more than that it went well.
    Nothing,
    /// A simple reply: to a read request, all of its data follows.
    Simple,
    /// Data of this range follows.
    Data { offset: u64, length: u32 },
    /// This range is zeros.
    Hole { offset: u64, length: u32 },
    /// Length and flags of runs of the allocation map.
    Map { context: u32, runs: Vec<(u32, u32)> },
    /// It failed.
    Error { errno: u32, message: String },
}

impl Connection {
    pub(super) fn new(stream: BoxStream) -> Self {
        let (input, output) = tokio::io::split(stream);
        Self { input: BufReader::with_capacity(16 * 1024, input), output, cookie: 0 }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), NbdError> {
        timeout(STALL, self.output.write_all(bytes)).await.map_err(|_| NbdError::Stalled)??;
        timeout(STALL, self.output.flush()).await.map_err(|_| NbdError::Stalled)??;
        Ok(())
    }

    pub(super) async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), NbdError> {
        timeout(STALL, self.input.read_exact(buffer)).await.map_err(|_| NbdError::Stalled)??;
        Ok(())
    }

    async fn take<const N: usize>(&mut self) -> Result<[u8; N], NbdError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    pub(super) async fn u16(&mut self) -> Result<u16, NbdError> {
        Ok(u16::from_be_bytes(self.take().await?))
    }

    pub(super) async fn u32(&mut self) -> Result<u32, NbdError> {
        Ok(u32::from_be_bytes(self.take().await?))
    }

    pub(super) async fn u64(&mut self) -> Result<u64, NbdError> {
        Ok(u64::from_be_bytes(self.take().await?))
    }

    /// Reads a payload whose length the server chose.
    pub(super) async fn payload(&mut self, length: u32) -> Result<Vec<u8>, NbdError> {
        if length > CONTROL_BYTES_MAX {
            return Err(NbdError::protocol(format!("an answer of {length} bytes is too long")));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    /// Sends a request; `data` goes with a write.
    pub(super) async fn request(
        &mut self,
        command: Command,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> Result<Request, NbdError> {
        self.cookie += 1;
        let mut head = [0; 28];
        let mut rest = head.as_mut_slice();
        for part in [
            wire::REQUEST_MAGIC.to_be_bytes().as_slice(),
            &0_u16.to_be_bytes(),
            &command.number().to_be_bytes(),
            &self.cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ] {
            let (here, behind) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        self.send(&head).await?;
        if !data.is_empty() {
            self.send(data).await?;
        }
        Ok(Request { cookie: self.cookie, command, offset })
    }

    /// The next piece of an answer to any request. What [`Body::Data`] and [`Body::Simple`]
    /// announce has to be taken with [`Connection::fill`] before the next call.
    pub(super) async fn chunk(&mut self) -> Result<Chunk, NbdError> {
        match self.u32().await? {
            wire::SIMPLE_REPLY_MAGIC => {
                let errno = self.u32().await?;
                let cookie = self.u64().await?;
                let body = match errno {
                    0 => Body::Simple,
                    errno => Body::Error { errno, message: String::new() },
                };
                Ok(Chunk { cookie, done: true, body })
            }
            wire::STRUCTURED_REPLY_MAGIC => {
                let flags = self.u16().await?;
                let kind = self.u16().await?;
                let cookie = self.u64().await?;
                let length = self.u32().await?;
                let body = self.body(kind, length).await?;
                Ok(Chunk { cookie, done: flags & wire::CHUNK_DONE != 0, body })
            }
            magic => Err(NbdError::protocol(format!("an answer begins with {magic:#010x}"))),
        }
    }

    async fn body(&mut self, kind: u16, length: u32) -> Result<Body, NbdError> {
        let wrong =
            || NbdError::protocol(format!("a chunk of kind {kind} with {length} bytes of payload"));
        if kind != wire::CHUNK_DATA && length > CONTROL_BYTES_MAX {
            return Err(wrong());
        }
        match (kind, length) {
            (wire::CHUNK_NONE, 0) => Ok(Body::Nothing),
            (wire::CHUNK_DATA, 9..) => {
                Ok(Body::Data { offset: self.u64().await?, length: length - 8 })
            }
            (wire::CHUNK_HOLE, 12) => {
                Ok(Body::Hole { offset: self.u64().await?, length: self.u32().await? })
            }
            (wire::CHUNK_STATUS, 12..) if (length - 4).is_multiple_of(8) => {
                let context = self.u32().await?;
                let payload = self.payload(length - 4).await?;
                let runs = payload.chunks_exact(8).filter_map(|run| {
                    let (length, flags) = run.split_first_chunk::<4>()?;
                    let flags = flags.first_chunk::<4>()?;
                    Some((u32::from_be_bytes(*length), u32::from_be_bytes(*flags)))
                });
                Ok(Body::Map { context, runs: runs.collect() })
            }
            (kind, 6..) if kind & wire::CHUNK_ERROR != 0 => {
                let errno = self.u32().await?;
                let text_bytes = usize::from(self.u16().await?);
                let rest = self.payload(length - 6).await?;
                let text = rest.get(..text_bytes).ok_or_else(wrong)?;
                Ok(Body::Error { errno, message: String::from_utf8_lossy(text).into_owned() })
            }
            _ => Err(wrong()),
        }
    }

    /// Says goodbye and closes our side.
    pub(super) async fn disconnect(&mut self) -> Result<(), NbdError> {
        self.request(Command::Disconnect, 0, 0, &[]).await?;
        timeout(STALL, self.output.shutdown()).await.map_err(|_| NbdError::Stalled)??;
        Ok(())
    }
}

impl Request {
    /// The error of this request for an error chunk.
    pub(super) fn failed(&self, errno: u32, message: String) -> NbdError {
        NbdError::Server { what: self.command.doing(), offset: self.offset, errno, message }
    }
}
