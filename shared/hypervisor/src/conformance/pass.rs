//! One pass over an export, held to the port's rules.

use std::collections::{BTreeMap, BTreeSet};

use drs_model::{Content, Extent, Piece};

use super::Finding;
use super::bench::{During, Frozen, ensure, ensure_eq};
use crate::digest::ContentDigest;
use crate::port::ContentSource;

/// Pieces of one content that touch the same block follow each other.
pub(super) const BLOCK: u64 = 64 * 1024;

/// A pass that is under way.
pub(super) struct Pass {
    source: Box<dyn ContentSource>,
    contents: Vec<Delivered>,
    position_bytes: u64,
}

/// What came of one content.
struct Delivered {
    content: Content,
    digest: ContentDigest,
    /// Where each run begins and ends.
    runs: BTreeMap<u64, u64>,
    /// Numbers of the blocks that were touched, and the last one of them.
    blocks: BTreeSet<u64>,
    last_block: Option<u64>,
}

impl Pass {
    pub(super) async fn open(frozen: &Frozen) -> Result<Self, Finding> {
        let opened = frozen.driver.read(&frozen.grip, &frozen.export).await;
        let delivered = |content| Delivered {
            content,
            digest: ContentDigest::default(),
            runs: BTreeMap::new(),
            blocks: BTreeSet::new(),
            last_block: None,
        };
        let contents = frozen.export.description.spec.contents();
        ensure(!contents.is_empty(), || "nothing is covered".to_owned())?;
        Ok(Self {
            source: opened.during("opening the contents")?,
            contents: contents.into_iter().map(delivered).collect(),
            position_bytes: 0,
        })
    }

    /// The next piece, or `None` behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Finding> {
        let next = self.source.next().await.during("reading")?;
        let position = self.source.position_bytes();
        ensure(position >= self.position_bytes, || {
            format!("the position fell from {} to {position}", self.position_bytes)
        })?;
        self.position_bytes = position;
        let sizes = || self.contents.iter().map(|it| it.content.size_bytes);
        match &next {
            Some(piece) => {
                let there = self.contents.len();
                let delivered = self.contents.get_mut(piece.content);
                let delivered = delivered
                    .ok_or_else(|| format!("a piece of content {} of {there}", piece.content))?;
                delivered.take(&piece.extent)?;
            }
            None => {
                if let Some(total) = sizes().sum::<Option<u64>>() {
                    ensure_eq("the position at the end", position, total)?;
                }
            }
        }
        Ok(next)
    }

    /// The digest of each content.
    pub(super) fn digests(self) -> Result<Vec<String>, Finding> {
        Ok(self.contents.into_iter().map(|it| it.digest.finish()).collect())
    }
}

impl Delivered {
    fn take(&mut self, extent: &Extent) -> Result<(), Finding> {
        let (offset, length, end) = (extent.offset, extent.data.len(), extent.end());
        let name = &self.content.name;
        let size = self.content.size_bytes.unwrap_or(u64::MAX);
        ensure((1..=Extent::BYTES_MAX).contains(&length) && end <= size, || {
            format!("{length} bytes at {offset} of {name}, which has {size}")
        })?;
        let before = self.runs.range(..end).next_back();
        ensure(before.is_none_or(|(_, &until)| until <= offset), || {
            format!("{length} bytes at {offset} of {name} came twice")
        })?;
        self.runs.insert(offset, end);
        for block in offset / BLOCK..=(end - 1) / BLOCK {
            let fresh = self.blocks.insert(block);
            ensure(fresh || self.last_block == Some(block), || {
                format!("the pieces of block {block} of {name} do not follow each other")
            })?;
            self.last_block = Some(block);
        }
        self.digest.update(extent);
        Ok(())
    }
}

/// The same content in another order, which follows from the seed: cut into blocks, and these mixed.
pub(super) fn mixed(pieces: &[Piece], seed: u64) -> Vec<Piece> {
    let mut cut = Vec::new();
    for Piece { content, extent } in pieces {
        let (mut offset, mut data) = (extent.offset, extent.data.clone());
        while !data.is_empty() {
            let room = usize::try_from(BLOCK - offset % BLOCK).unwrap_or(usize::MAX);
            let part = data.split_to(room.min(data.len()));
            let next = offset + part.len() as u64;
            cut.push(Piece { content: *content, extent: Extent { offset, data: part } });
            offset = next;
        }
    }
    let place = |piece: &Piece| {
        let (content, block) = (piece.content as u64, piece.extent.offset / BLOCK);
        let number = seed ^ (content << 48) ^ block.wrapping_add(1);
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29), content, block)
    };
    cut.sort_by_key(place);
    cut
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn mixing_keeps_every_byte_and_the_pieces_of_a_block_together() {
        let extent =
            |offset, length| Extent { offset, data: Bytes::from(vec![offset as u8 + 1; length]) };
        let piece = |content, offset, length| Piece { content, extent: extent(offset, length) };
        let pieces: Vec<Piece> =
            (0..40).map(|number| piece(number % 2, number as u64 * 50_001, 50_001)).collect();
        let digest = |pieces: &[Piece], content| {
            let mut digest = ContentDigest::default();
            pieces
                .iter()
                .filter(|it| it.content == content)
                .for_each(|it| digest.update(&it.extent));
            digest.finish()
        };
        let mixed = mixed(&pieces, 7);
        assert!(!mixed.is_sorted_by_key(|piece| (piece.content, piece.extent.offset)));
        for content in [0, 1] {
            assert_eq!(digest(&mixed, content), digest(&pieces, content));
        }
    }
}
