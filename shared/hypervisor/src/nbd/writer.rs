//! Writing to an export.

use std::collections::VecDeque;

use drs_model::Extent;
use drs_transport::BoxStream;

use super::connection::{Body, Connection, Request};
use super::wire::Command;
use super::{IN_FLIGHT, NbdError, handshake};

/// Writes extents in any order, several on their way at one time.
pub(crate) struct Writer {
    connection: Connection,
    size_bytes: u64,
    flush: bool,
    in_flight: VecDeque<Request>,
}

impl Writer {
    /// Opens an export for writing.
    pub(crate) async fn open(stream: BoxStream, name: &str) -> Result<Self, NbdError> {
        let opened = handshake::open(stream, name).await?;
        if opened.read_only {
            return Err(NbdError::Refused("the export is read-only".into()));
        }
        Ok(Self {
            connection: opened.connection,
            size_bytes: opened.size_bytes,
            flush: opened.flush,
            in_flight: VecDeque::new(),
        })
    }

    /// Size that the guest sees.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Sends an extent. An error may belong to an earlier one; after an error the writer is of no
    /// use.
    pub(crate) async fn write(&mut self, extent: &Extent) -> Result<(), NbdError> {
        if extent.data.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(extent.data.len())
            .ok()
            .filter(|_| extent.data.len() <= Extent::BYTES_MAX && extent.end() <= self.size_bytes)
            .ok_or_else(|| {
                NbdError::Refused(format!(
                    "{} bytes at byte {} do not fit a disk of {} bytes",
                    extent.data.len(),
                    extent.offset,
                    self.size_bytes
                ))
            })?;
        while self.in_flight.len() >= IN_FLIGHT {
            self.receive().await?;
        }
        let request =
            self.connection.request(Command::Write, extent.offset, length, &extent.data).await?;
        self.in_flight.push_back(request);
        Ok(())
    }

    /// Waits for every write, makes them durable and disconnects.
    pub(crate) async fn finish(mut self) -> Result<(), NbdError> {
        self.drain().await?;
        if self.flush {
            let request = self.connection.request(Command::Flush, 0, 0, &[]).await?;
            self.in_flight.push_back(request);
            self.drain().await?;
        }
        self.connection.disconnect().await
    }

    async fn drain(&mut self) -> Result<(), NbdError> {
        while !self.in_flight.is_empty() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), NbdError> {
        let chunk = self.connection.chunk().await?;
        let (place, request) = self
            .in_flight
            .iter()
            .copied()
            .enumerate()
            .find(|(_, request)| request.cookie == chunk.cookie)
            .ok_or_else(|| NbdError::protocol("an answer to a request that was not made"))?;
        match chunk.body {
            Body::Nothing | Body::Simple => {}
            Body::Error { errno, message } => return Err(request.failed(errno, message)),
            _ => return Err(NbdError::protocol("an answer that does not fit its request")),
        }
        if chunk.done {
            self.in_flight.remove(place);
        }
        Ok(())
    }
}
