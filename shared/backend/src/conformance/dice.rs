//! Random numbers that a seed repeats (SplitMix64).

pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of the latest `window` items.
    pub(super) fn recent<'a, T>(&mut self, items: &'a [T], window: usize) -> Option<&'a T> {
        let window = window.min(items.len());
        if window == 0 { None } else { items.get(items.len() - 1 - self.below(window)) }
    }
}
