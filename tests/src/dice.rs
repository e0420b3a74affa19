//! Chance that a seed repeats (SplitMix64).

use std::ops::Range;

/// Chance that a seed repeats.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of the seed in `DRS_SEED`, else of a fresh one; it is printed either way.
    ///
    /// # Panics
    /// `DRS_SEED` is no number.
    pub fn announced() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_millis() as u64);
        let seed =
            std::env::var("DRS_SEED").map_or(now, |seed| seed.parse().expect("DRS_SEED: a number"));
        println!("DRS_SEED={seed} repeats this");
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Chance of its own, for somebody who rolls at other times.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.roll())
    }

    /// A number of a range that is not empty.
    pub fn between(&mut self, range: Range<u64>) -> u64 {
        range.start + self.roll() % (range.end - range.start)
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }

    /// One of several; there is at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.between(0..items.len() as u64) as usize]
    }
}
