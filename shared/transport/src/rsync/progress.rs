//! How far a transfer is, from what rsync says.

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that are in place.
    pub present: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// Reads the lines of `--info=progress2`, which begin with the bytes that are in place and end with a
/// carriage return.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// More than the part of a line that is looked at.
    const LINE_BYTES_MAX: usize = 64;

    /// The newest count in what rsync said next.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<u64> {
        let mut newest = None;
        for byte in text {
            match byte {
                b'\r' | b'\n' => {
                    newest = count(&self.line).or(newest);
                    self.line.clear();
                }
                byte if self.line.len() < Self::LINE_BYTES_MAX => self.line.push(*byte),
                _ => {}
            }
        }
        newest
    }
}

/// The count of a line such as `      32768   0%    0.00kB/s    0:00:00`.
fn count(line: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let count = words.next()?.parse().ok()?;
    words.next()?.ends_with('%').then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_count_is_read_whatever_the_pieces() {
        let text =
            b"a file\n      32768   0%    0.00kB/s    0:00:00  \r  1073741824 100%  249.57MB/s \
                     0:00:04 (xfr#1, to-chk=0/1)\r\n";
        assert_eq!(Lines::default().read(text), Some(1_073_741_824));
        let mut lines = Lines::default();
        let counts: Vec<_> = text.chunks(1).filter_map(|byte| lines.read(byte)).collect();
        assert_eq!(counts, [32768, 1_073_741_824]);
    }

    #[test]
    fn other_lines_are_no_progress() {
        let noise = format!("12 files\nx 5%\n{}\n", "9".repeat(1000));
        assert_eq!(Lines::default().read(noise.as_bytes()), None);
    }
}
