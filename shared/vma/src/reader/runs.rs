//! Turns the slots of an extent into the longest pieces that lie together on disk and in memory.

use std::collections::VecDeque;
use std::ops::Range;

use crate::clusters::Clusters;
use crate::extent::Slot;
use crate::format::*;

/// The longest piece.
const RUN_MAX: usize = 1 << 20;

/// Pieces of one extent that are not handed out yet.
#[derive(Debug, Default)]
pub(super) struct Runs(VecDeque<Run>);

/// A piece: where it belongs, and where it lies in the extent's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub device: u8,
    pub offset: u64,
    pub data: Range<usize>,
}

impl Runs {
    pub(super) fn next(&mut self) -> Option<Run> {
        self.0.pop_front()
    }

    pub(super) fn fill(&mut self, slots: &[Slot], clusters: &Clusters) {
        let mut place = 0;
        for slot in slots {
            let start = slot.offset();
            let mut block = 0;
            while block < u16::BITS && slot.mask >> block != 0 {
                block += (slot.mask >> block).trailing_zeros();
                let count = (slot.mask >> block).trailing_ones();
                let data = place..place + count as usize * BLOCK;
                place = data.end;
                let offset = start + u64::from(block) * BLOCK as u64;
                self.add(Run { device: slot.device, offset, data });
                block += count;
            }
            self.cut(slot.device, clusters);
        }
    }

    /// Lengthens the run before or adds a new one.
    fn add(&mut self, run: Run) {
        if let Some(last) = self.0.back_mut()
            && last.device == run.device
            && last.data.end == run.data.start
            && last.offset + last.data.len() as u64 == run.offset
            && run.data.end - last.data.start <= RUN_MAX
        {
            last.data.end = run.data.end;
        } else {
            self.0.push_back(run);
        }
    }

    /// Cuts the latest run at the device's end.
    fn cut(&mut self, device: u8, clusters: &Clusters) {
        let Some(last) = self.0.back_mut().filter(|last| last.device == device) else { return };
        let size = clusters.size_bytes(device).unwrap_or_default();
        let most = usize::try_from(size.saturating_sub(last.offset)).unwrap_or(usize::MAX);
        last.data.end = last.data.end.min(last.data.start.saturating_add(most));
    }
}
