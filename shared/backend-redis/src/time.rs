//! Times as the scripts compare them: text of 21 digits, in the order of the times.

use drs_model::{SignedDuration, Timestamp};

/// Seconds that are added, so that no time is negative.
const SHIFT: i128 = 400_000_000_000;
const NANOSECONDS: i128 = 1_000_000_000;

/// Seconds since 1970 plus [`SHIFT`] in 12 digits, then nanoseconds in 9.
pub(crate) fn text(at: Timestamp) -> String {
    let (seconds, nanoseconds) = split(at.as_nanosecond());
    format!("{:012}{nanoseconds:09}", seconds + SHIFT)
}

/// The time that a text stands for.
pub(crate) fn read(text: &str) -> Result<Timestamp, String> {
    let shifted: i128 = text.parse().map_err(|_| format!("{text:?} is no time"))?;
    Timestamp::from_nanosecond(shifted - SHIFT * NANOSECONDS).map_err(|error| error.to_string())
}

/// A duration as whole seconds, rounded down, and the nanoseconds on top.
pub(crate) fn parts(duration: SignedDuration) -> (i128, i128) {
    split(duration.as_nanos())
}

fn split(nanoseconds: i128) -> (i128, i128) {
    (nanoseconds.div_euclid(NANOSECONDS), nanoseconds.rem_euclid(NANOSECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_like_their_times_and_read_back() {
        let times: Vec<Timestamp> = [-377_705_023_201, -1, 0, 1_700_000_000, 253_402_207_200]
            .into_iter()
            .map(|second| Timestamp::from_second(second).expect("a time"))
            .chain([Timestamp::MAX])
            .collect();
        let texts: Vec<String> = times.iter().map(|at| text(*at)).collect();
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 21), "{texts:?}");
        let again: Vec<Timestamp> = texts.iter().map(|t| read(t).expect("reads back")).collect();
        assert_eq!(again, times);
        assert_eq!(texts[3], "401700000000000000000");
        assert!(read("soon").is_err());
    }

    #[test]
    fn a_negative_duration_is_rounded_down() {
        assert_eq!(parts(SignedDuration::from_millis(-1500)), (-2, 500_000_000));
        assert_eq!(parts(SignedDuration::from_millis(1500)), (1, 500_000_000));
    }
}
