//! When a schedule is due: a cron expression read in a time zone.
//!
//! Daylight saving: a time that does not exist (the clock jumps over it) runs at the next instant that
//! does; a time that exists twice runs once, the first time.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The times at which a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Calendar {
    /// A cron expression of five fields (minute, hour, day of month, month, day of week), or of six with
    /// seconds in front, as it is read in an IANA time zone.
    Cron {
        /// The expression, for example `30 2 * * *`.
        expression: String,
        /// The zone, for example `Europe/Berlin`.
        zone: String,
    },
}

/// How a calendar is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
enum Written {
    Cron { expression: String, zone: String },
}

/// Why a text is no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCalendar {
    /// The expression cannot be read.
    #[error("{expression:?} is no cron expression: {reason}")]
    Expression {
        /// The expression.
        expression: String,
        /// Why.
        reason: String,
    },
    /// There is no such zone.
    #[error("{0:?} is no IANA time zone; Europe/Berlin and UTC are some")]
    Zone(String),
    /// The expression names no time at all, 30 February for one.
    #[error("{0:?} is never due")]
    Never(String),
}

impl Calendar {
    /// A cron expression in a zone.
    ///
    /// # Errors
    /// Either cannot be read, or the expression names no time that ever comes.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, InvalidCalendar> {
        let (cron, tz) = read(expression, zone)?;
        let start = Timestamp::UNIX_EPOCH.to_zoned(tz);
        if cron.find_next_occurrence(&start, false).is_err() {
            return Err(InvalidCalendar::Never(expression.to_owned()));
        }
        Ok(Self::Cron { expression: expression.to_owned(), zone: zone.to_owned() })
    }

    /// The first time behind `after`; `None` when there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let Self::Cron { expression, zone } = self;
        let (cron, tz) = read(expression, zone).ok()?;
        let next = cron.find_next_occurrence(&after.to_zoned(tz), false).ok()?;
        Some(next.timestamp())
    }

    /// The last time behind `after` and not behind `until`; `None` when there is none.
    #[must_use]
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let Self::Cron { expression, zone } = self;
        let (cron, tz) = read(expression, zone).ok()?;
        let latest = cron.find_previous_occurrence(&until.to_zoned(tz), true).ok()?.timestamp();
        (latest > after && latest <= until).then_some(latest)
    }
}

fn read(expression: &str, zone: &str) -> Result<(Cron, TimeZone), InvalidCalendar> {
    let tz = TimeZone::get(zone).map_err(|_| InvalidCalendar::Zone(zone.to_owned()))?;
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let cron = parser.parse(expression).map_err(|error| InvalidCalendar::Expression {
        expression: expression.to_owned(),
        reason: error.to_string(),
    })?;
    Ok((cron, tz))
}

impl TryFrom<Written> for Calendar {
    type Error = InvalidCalendar;
    fn try_from(written: Written) -> Result<Self, InvalidCalendar> {
        let Written::Cron { expression, zone } = written;
        Self::cron(&expression, &zone)
    }
}

impl From<Calendar> for Written {
    fn from(calendar: Calendar) -> Self {
        let Calendar::Cron { expression, zone } = calendar;
        Self::Cron { expression, zone }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Cron { expression, zone } = self;
        write!(f, "{expression} ({zone})")
    }
}

#[cfg(test)]
mod tests;
