//! The wall clock, read in one place.

use std::time::Duration;

use drs_model::{TimeZone, Timestamp};

/// What time it is. Everything else takes time as an argument.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Waits until an instant.
pub async fn until(instant: Timestamp) {
    let wait = instant.duration_since(now());
    if let Ok(wait) = Duration::try_from(wait) {
        tokio::time::sleep(wait).await;
    }
}

/// The IANA name of this machine's time zone; `UTC` where it has none.
#[must_use]
pub fn zone() -> String {
    TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// An instant as people here write it: local time to the second, with the offset from UTC, for
/// example `2026-11-22 09:15:02 +01:00`.
#[must_use]
pub fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}
