//! A container's archive, passed through: its bytes come in rising order.

use drs_model::Piece;

use super::{Archive, FeedError, Output};

/// What tar writes at once: an archive is a multiple of this.
const RECORD: u64 = 10 * 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A tar that takes its bytes in rising order. Holes are written as the zeros they are.
pub(super) struct Plain<W> {
    output: W,
    at: u64,
    size_bytes: Option<u64>,
}

impl<W: Output> Plain<W> {
    pub(super) fn begin(output: W, size_bytes: Option<u64>) -> Self {
        Self { output, at: 0, size_bytes }
    }

    fn fill_to(&mut self, end: u64) -> Result<(), FeedError> {
        while self.at < end {
            let length = (end - self.at).min(ZEROS.len() as u64);
            let zeros = ZEROS.get(..length as usize).unwrap_or_default();
            self.output.write_all(zeros)?;
            self.at += length;
        }
        Ok(())
    }
}

impl<W: Output> Archive for Plain<W> {
    fn write(&mut self, piece: &Piece) -> Result<(), FeedError> {
        let extent = &piece.extent;
        if piece.content != 0 || extent.offset < self.at {
            return Err(FeedError::Misplaced(format!(
                "byte {} of content {} comes behind byte {} of the archive",
                extent.offset, piece.content, self.at
            )));
        }
        if self.size_bytes.is_some_and(|size| extent.end() > size) {
            return Err(FeedError::Misplaced(format!(
                "the archive goes on at byte {} behind its end",
                extent.offset
            )));
        }
        self.fill_to(extent.offset)?;
        self.output.write_all(&extent.data)?;
        self.at = extent.end();
        Ok(())
    }

    fn complete(mut self) -> Result<(), FeedError> {
        let end = self.size_bytes.unwrap_or_else(|| self.at.next_multiple_of(RECORD));
        self.fill_to(end)?;
        self.output.flush()?;
        Ok(self.output.complete()?)
    }
}
