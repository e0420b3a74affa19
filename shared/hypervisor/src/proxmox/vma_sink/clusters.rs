//! Pieces of disks, put together to the whole clusters that a VMA consists of.

use drs_model::Piece;
use drs_vma::{Header, Writer};

use super::{Archive, FeedError, Output};

const CLUSTER: u64 = 64 * 1024;

/// A VMA that takes pieces of any length: those of one cluster follow each other.
pub(super) struct Clusters<W> {
    writer: Writer<W>,
    disks: Vec<Disk>,
}

/// A disk and the cluster of it that is not complete yet.
struct Disk {
    device: u8,
    size_bytes: u64,
    /// Where the cluster begins, and its bytes.
    open: Option<(u64, Vec<u8>)>,
}

impl<W: Output> Clusters<W> {
    pub(super) fn begin(output: W, header: &Header, devices: &[u8]) -> Result<Self, FeedError> {
        let device = |id: u8| header.devices.iter().find(|device| device.id == id);
        let disks = devices
            .iter()
            .map(|&id| Some(Disk { device: id, size_bytes: device(id)?.size_bytes, open: None }))
            .collect::<Option<_>>()
            .ok_or_else(|| FeedError::Misplaced("a disk has no device in the header".into()))?;
        let writer = Writer::new(output, header)?;
        Ok(Self { writer, disks })
    }

    fn put(&mut self, content: usize, offset: u64, data: &[u8]) -> Result<(), FeedError> {
        let Some(disk) = self.disks.get_mut(content) else {
            return Err(FeedError::Misplaced(format!("there is no content {content}")));
        };
        let (mut offset, mut data) = (offset, data);
        while !data.is_empty() {
            let length = match disk.whole(offset, data.len()) {
                0 => disk.part(&mut self.writer, offset, data)?,
                whole => {
                    disk.flush(&mut self.writer)?;
                    let (whole, _) = data.split_at(whole);
                    self.writer.write(disk.device, offset, whole)?;
                    whole.len()
                }
            };
            offset += length as u64;
            data = data.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Disk {
    /// How many of `length` bytes at `offset` are whole clusters; the disk's last one may be short.
    fn whole(&self, offset: u64, length: usize) -> usize {
        if !offset.is_multiple_of(CLUSTER) {
            return 0;
        }
        match offset + length as u64 == self.size_bytes {
            true => length,
            false => length - length % CLUSTER as usize,
        }
    }

    /// Puts what belongs into one cluster into it, and says how much that was.
    fn part<W: Output>(
        &mut self,
        writer: &mut Writer<W>,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, FeedError> {
        let start = offset - offset % CLUSTER;
        if self.open.as_ref().is_some_and(|(open, _)| *open != start) {
            self.flush(writer)?;
        }
        let size = CLUSTER.min(self.size_bytes - start) as usize;
        let (_, cluster) = self.open.get_or_insert_with(|| (start, vec![0; size]));
        let room = cluster.get_mut((offset - start) as usize..).unwrap_or_default();
        let length = room.len().min(data.len());
        if let (Some(room), Some(data)) = (room.get_mut(..length), data.get(..length)) {
            room.copy_from_slice(data);
        }
        Ok(length)
    }

    /// Writes the cluster that was being put together: it is complete when the next one begins.
    fn flush<W: Output>(&mut self, writer: &mut Writer<W>) -> Result<(), FeedError> {
        match self.open.take() {
            Some((start, data)) => Ok(writer.write(self.device, start, &data)?),
            None => Ok(()),
        }
    }
}

impl<W: Output> Archive for Clusters<W> {
    fn write(&mut self, piece: &Piece) -> Result<(), FeedError> {
        let size = self.disks.get(piece.content).map_or(0, |disk| disk.size_bytes);
        let (offset, length) = (piece.extent.offset, piece.extent.data.len());
        if piece.extent.end() > size {
            return Err(FeedError::Misplaced(format!(
                "{length} bytes at byte {offset} do not fit a disk of {size} bytes"
            )));
        }
        self.put(piece.content, offset, &piece.extent.data)
    }

    fn complete(mut self) -> Result<(), FeedError> {
        for disk in &mut self.disks {
            disk.flush(&mut self.writer)?;
        }
        let (output, _) = self.writer.finish()?;
        Ok(output.complete()?)
    }
}
