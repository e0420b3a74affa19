//! How far a copy is, in the words of vzdump, and how fast it may go.

use std::time::{Duration, Instant};

use crate::failure::Done;
use crate::interrupt;

use super::log::Log;

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(3);

pub(super) struct Progress {
    total: u64,
    /// Bytes of disks read.
    read: u64,
    /// Of these, zeros.
    zero: u64,
    began: Instant,
    last: Last,
    /// KiB per second; 0 is no limit.
    bandwidth: u64,
}

struct Last {
    percent: u64,
    at: Instant,
    read: u64,
    written: u64,
}

impl Progress {
    pub(super) fn of(total: u64, bandwidth: u64) -> Self {
        let now = Instant::now();
        let last = Last { percent: 0, at: now, read: 0, written: 0 };
        Self { total, read: 0, zero: 0, began: now, last, bandwidth }
    }

    /// Counts bytes that were copied, waits for the limit, and says so when it is time to.
    pub(super) fn add(&mut self, log: &mut Log<'_>, read: u64, zero: u64) -> Done {
        self.read += read;
        self.zero += zero;
        loop {
            interrupt::check()?;
            if self.percent() > self.last.percent && self.last.at.elapsed() >= PAUSE {
                self.say(log)?;
            }
            let wait = self.early();
            if wait.is_zero() {
                return Ok(());
            }
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
    }

    /// Counts bytes and waits for the limit, without a word: tar tells no progress.
    pub(super) fn pace(&mut self, read: u64) -> Done {
        self.read += read;
        loop {
            interrupt::check()?;
            let wait = self.early();
            if wait.is_zero() {
                return Ok(());
            }
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
    }

    /// How long the limit has it wait.
    fn early(&self) -> Duration {
        let allowed = self.bandwidth * 1024;
        if allowed == 0 {
            return Duration::ZERO;
        }
        let due = Duration::from_secs_f64(self.read as f64 / allowed as f64);
        due.saturating_sub(self.began.elapsed())
    }

    fn percent(&self) -> u64 {
        (self.read * 100).checked_div(self.total).unwrap_or(100)
    }

    /// The line of now.
    pub(super) fn say(&mut self, log: &mut Log<'_>) -> Done {
        let seconds = self.last.at.elapsed().as_secs().max(1);
        let written = self.read - self.zero;
        let text = format!(
            "{:3}% ({} of {}) in {}, read: {}/s, write: {}/s",
            self.percent(),
            bytes(self.read, 1),
            bytes(self.total, 1),
            duration(self.began.elapsed().as_secs()),
            bytes((self.read - self.last.read) / seconds, 1),
            bytes((written - self.last.written) / seconds, 1),
        );
        self.last = Last { percent: self.percent(), at: Instant::now(), read: self.read, written };
        log.info(&text)
    }

    /// The lines at the end of a copy.
    pub(super) fn finish(&mut self, log: &mut Log<'_>) -> Done {
        self.say(log)?;
        if self.zero > 0 {
            let percent = (self.zero * 100).checked_div(self.total).unwrap_or_default();
            let zero = bytes(self.zero, 2);
            log.info(&format!("backup is sparse: {zero} ({percent}%) total zero data"))?;
        }
        let total = bytes(self.read, 2);
        let seconds = self.began.elapsed().as_secs();
        log.info(&match self.read.checked_div(seconds) {
            None => format!("transferred {total} in <1 seconds"),
            Some(rate) => {
                format!("transferred {total} in {seconds} seconds ({}/s)", bytes(rate, 1))
            }
        })
    }
}

/// A size in the unit that suits it.
fn bytes(number: u64, digits: usize) -> String {
    let mut size = number as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.digits$} {unit}")
}

/// `1h 2m 3s`, without parts that are zero.
fn duration(seconds: u64) -> String {
    let parts = [(604_800, 'w', u64::MAX), (86_400, 'd', 7), (3600, 'h', 24), (60, 'm', 60)];
    let mut text = String::new();
    for (length, letter, modulus) in parts {
        let count = seconds / length % modulus;
        if count > 0 {
            text += &format!("{count}{letter} ");
        }
    }
    if !seconds.is_multiple_of(60) || text.is_empty() {
        text += &format!("{}s", seconds % 60);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_like_the_originals() {
        assert_eq!(bytes(71_303_168, 1), "68.0 MiB");
        assert_eq!(bytes(162_509, 1), "158.7 KiB");
        assert_eq!(bytes(0, 1), "0.0 B");
        assert_eq!([duration(0), duration(14), duration(3720)], ["0s", "14s", "1h 2m"]);
    }
}
