//! One pass over an export in rising order.

use std::collections::VecDeque;

use drs_model::Extent;
use drs_transport::BoxStream;

use super::connection::{Body, Connection, Request};
use super::wire::{self, Command};
use super::{IN_FLIGHT, NbdError, handshake};

/// How much of the disk one question about the allocation map covers.
const WINDOW_BYTES: u64 = 1 << 30;

/// Reads an export once, from the first byte to the last, without what reads as zeros.
///
/// The requests in flight are answered in any order and handed out in the order of the disk. The
/// allocation map is asked for window by window, one window ahead of the reads.
pub(crate) struct Reader {
    connection: Connection,
    size_bytes: u64,
    allocation: Option<u32>,
    /// The map is known up to here.
    mapped: u64,
    mapping: bool,
    /// Runs of data that were not asked for yet: offset and end.
    wanted: VecDeque<(u64, u64)>,
    in_flight: VecDeque<Pending>,
    finished: bool,
}

struct Pending {
    request: Request,
    done: bool,
    answer: Answer,
}

enum Answer {
    Data { buffer: Vec<u8>, received: usize },
    Map(Vec<(u32, u32)>),
}

impl Reader {
    /// Opens an export.
    pub(crate) async fn open(stream: BoxStream, name: &str) -> Result<Self, NbdError> {
        let opened = handshake::open(stream, name).await?;
        let mut reader = Self {
            connection: opened.connection,
            size_bytes: opened.size_bytes,
            allocation: opened.allocation,
            mapped: 0,
            mapping: false,
            wanted: VecDeque::new(),
            in_flight: VecDeque::new(),
            finished: false,
        };
        if reader.allocation.is_none() {
            reader.mapped = reader.size_bytes;
            reader.want(0, reader.size_bytes);
        }
        Ok(reader)
    }

    /// Size that the guest sees.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The next run of data, `None` behind the last one. After an error the reader is of no use.
    pub(crate) async fn next(&mut self) -> Result<Option<Extent>, NbdError> {
        while !self.finished {
            self.ask().await?;
            while self.in_flight.front().is_some_and(|first| !first.done) {
                self.receive().await?;
            }
            let Some(first) = self.in_flight.pop_front() else {
                self.finished = true;
                self.connection.disconnect().await?;
                break;
            };
            match first.answer {
                Answer::Data { buffer, .. } => {
                    return Ok(Some(Extent { offset: first.request.offset, data: buffer.into() }));
                }
                Answer::Map(runs) => self.learn(&runs)?,
            }
        }
        Ok(None)
    }

    /// Sends requests until enough are in flight.
    async fn ask(&mut self) -> Result<(), NbdError> {
        while self.in_flight.len() < IN_FLIGHT {
            let short = self.wanted.len() < IN_FLIGHT;
            if short && !self.mapping && self.mapped < self.size_bytes {
                self.ask_map().await?;
                continue;
            }
            let Some((from, to)) = self.wanted.pop_front() else { break };
            let length = (to - from).min(Extent::BYTES_MAX as u64);
            if from + length < to {
                self.wanted.push_front((from + length, to));
            }
            let length = bounded(length)?;
            let answer = Answer::Data { buffer: vec![0; length as usize], received: 0 };
            let request = self.connection.request(Command::Read, from, length, &[]).await?;
            self.in_flight.push_back(Pending { request, done: false, answer });
        }
        Ok(())
    }

    async fn ask_map(&mut self) -> Result<(), NbdError> {
        let length = bounded((self.size_bytes - self.mapped).min(WINDOW_BYTES))?;
        let request =
            self.connection.request(Command::BlockStatus, self.mapped, length, &[]).await?;
        self.mapping = true;
        self.in_flight.push_back(Pending { request, done: false, answer: Answer::Map(Vec::new()) });
        Ok(())
    }

    /// Takes one piece of an answer.
    async fn receive(&mut self) -> Result<(), NbdError> {
        let chunk = self.connection.chunk().await?;
        let pending = self
            .in_flight
            .iter_mut()
            .find(|pending| pending.request.cookie == chunk.cookie && !pending.done)
            .ok_or_else(|| NbdError::protocol("an answer to a request that was not made"))?;
        match (chunk.body, &mut pending.answer) {
            (Body::Error { errno, message }, _) => {
                return Err(pending.request.failed(errno, message));
            }
            (Body::Nothing, _) => {}
            (Body::Simple, Answer::Data { buffer, received }) => {
                self.connection.fill(buffer).await?;
                *received = buffer.len();
            }
            (Body::Data { offset, length }, Answer::Data { buffer, received }) => {
                let part = part(buffer, &pending.request, offset, length)?;
                self.connection.fill(part).await?;
                *received += part.len();
            }
            (Body::Hole { offset, length }, Answer::Data { buffer, received }) => {
                let part = part(buffer, &pending.request, offset, length)?;
                part.fill(0);
                *received += part.len();
            }
            (Body::Map { context, runs }, Answer::Map(known))
                if Some(context) == self.allocation && known.is_empty() =>
            {
                *known = runs;
            }
            _ => return Err(NbdError::protocol("an answer that does not fit its request")),
        }
        pending.done = chunk.done;
        match &pending.answer {
            Answer::Data { buffer, received } if chunk.done && *received != buffer.len() => {
                Err(NbdError::protocol(format!(
                    "{received} bytes came where {} were asked for",
                    buffer.len()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Takes over a part of the map.
    fn learn(&mut self, runs: &[(u32, u32)]) -> Result<(), NbdError> {
        self.mapping = false;
        let before = self.mapped;
        for &(length, flags) in runs {
            let end = self.mapped.saturating_add(u64::from(length)).min(self.size_bytes);
            if flags & wire::STATUS_ZERO == 0 {
                self.want(self.mapped, end);
            }
            self.mapped = end;
        }
        if self.mapped == before {
            return Err(NbdError::protocol("the allocation map does not go on"));
        }
        Ok(())
    }

    fn want(&mut self, from: u64, to: u64) {
        match self.wanted.back_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ if from < to => self.wanted.push_back((from, to)),
            _ => {}
        }
    }
}

/// The part of the buffer that a piece of the answer is about.
fn part<'a>(
    buffer: &'a mut [u8],
    request: &Request,
    offset: u64,
    length: u32,
) -> Result<&'a mut [u8], NbdError> {
    let from = offset.checked_sub(request.offset).and_then(|from| usize::try_from(from).ok());
    from.and_then(|from| buffer.get_mut(from..from.checked_add(length as usize)?)).ok_or_else(
        || NbdError::protocol(format!("{length} bytes at byte {offset} were not asked for")),
    )
}

fn bounded(length: u64) -> Result<u32, NbdError> {
    u32::try_from(length).map_err(|_| NbdError::protocol("a request is too long"))
}
