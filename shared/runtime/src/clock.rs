//! The wall clock, read in one place.

use drs_model::Timestamp;

/// What time it is. Everything else takes time as an argument.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
