//! When a schedule is due: a cron expression read in a time zone.
//!
//! Daylight saving: a time that does not exist (the clock jumps over it) runs at the next instant that
//! does; a time that exists twice runs once, the first time.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::{self, TimeZone};
use serde::{Deserialize, Serialize};

use crate::{Timestamp, nearest};

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
    #[error("{0:?} is no IANA time zone")]
    Zone(String),
    /// The expression names no time at all, 30 February for one.
    #[error("{0:?} is never due")]
    Never(String),
}

/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 200;

impl InvalidCalendar {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Expression { .. } => {
                "Write five fields, minute hour day-of-month month day-of-week, \
                                        for example `30 2 * * 1-5`, or six with seconds in front."
                    .into()
            }
            Self::Zone(zone) => match meant(zone) {
                Some(near) => format!("Is `{near}` meant?"),
                None => "Zones are written as in `Europe/Berlin` or `UTC`.".into(),
            },
            Self::Never(_) => "Name a day that its months have.".into(),
        }
    }
}

/// The zone that was most likely meant: a slip in its name, or a city without its continent.
fn meant(zone: &str) -> Option<String> {
    let known: Vec<String> = tz::db().available().map(|name| name.as_str().to_owned()).collect();
    if let Some(near) = nearest(zone, known.iter().map(String::as_str)) {
        return Some(near.to_owned());
    }
    let city = |name: &'_ String| name.rsplit_once('/').map(|(_, city)| city.to_owned());
    let cities: Vec<String> = known.iter().filter_map(city).collect();
    let near = nearest(zone, cities.iter().map(String::as_str))?;
    known.iter().find(|name| city(name).is_some_and(|city| city == near)).cloned()
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
        let zone = start.time_zone().iana_name().unwrap_or(zone).to_owned();
        Ok(Self::Cron { expression: expression.to_owned(), zone })
    }

    /// The zone in which it is read.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        let Self::Cron { zone, .. } = self;
        // A zone that was there when the calendar was made; it is gone when the machine's own data are.
        TimeZone::get(zone).unwrap_or(TimeZone::UTC)
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
    if expression.len() > EXPRESSION_BYTES_MAX {
        let cut = expression.chars().take(20).collect();
        let reason = format!("it is longer than {EXPRESSION_BYTES_MAX} bytes");
        return Err(InvalidCalendar::Expression { expression: cut, reason });
    }
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
