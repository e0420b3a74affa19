//! The end of what a command said.

/// The last 16 KiB of a text.
#[derive(Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    const BYTES_MAX: usize = 16 * 1024;

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
        // Cut in large steps, so that each byte is moved once on average.
        if self.0.len() > 2 * Self::BYTES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.0.len().saturating_sub(Self::BYTES_MAX);
        self.0.drain(..surplus);
    }

    pub(crate) fn text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        for i in 0..20_000 {
            tail.push(format!("line {i}\n").as_bytes());
            assert!(tail.0.len() <= 2 * Tail::BYTES_MAX + 16);
        }
        let text = tail.text();
        assert_eq!(text.len(), Tail::BYTES_MAX);
        assert!(text.ends_with("line 19999\n"));
    }
}
