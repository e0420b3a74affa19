//! `drs schedule preview`: the next times, and what changes of the clock make of them.

use drs_model::{Calendar, SignedDuration, TimeZone, Timestamp};
use drs_runtime::clock;
use serde::Serialize;

use crate::args::schedule::PreviewArgs;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::output::table::Table;
use crate::place::Place;

/// A time at which a calendar is due.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TimeView {
    at: Timestamp,
    /// In the calendar's zone, with its offset from UTC.
    local: String,
    /// What a change of the clock makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Preview {
    calendar: Calendar,
    times: Vec<TimeView>,
}

pub(super) async fn run(place: &Place, output: Output, args: PreviewArgs) -> Outcome<Exit> {
    let now = clock::now();
    let (calendar, from) = match (&args.name, &args.cron) {
        (Some(name), _) => {
            let (schedule, _) = place.backend.catalog.schedule(name).await?;
            if schedule.paused {
                output.say(&format!("schedule {name} is paused: so it goes on when it is resumed"));
            }
            (schedule.calendar, now.max(schedule.counts_from))
        }
        (None, expression) => {
            let expression = expression.as_deref().unwrap_or_default();
            (super::calendar(expression, args.zone.as_deref())?, now)
        }
    };
    let preview = Preview { times: times(&calendar, from, args.count), calendar };
    output.answer(&preview, || text(&preview))?;
    Ok(Exit::Success)
}

fn times(calendar: &Calendar, from: Timestamp, count: u32) -> Vec<TimeView> {
    let zone = calendar.zone();
    let mut times = Vec::new();
    let mut before = from;
    for _ in 0..count {
        let Some(at) = calendar.next(before) else { break };
        let local = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
        times.push(TimeView { at, local, note: note(&zone, before, at) });
        before = at;
    }
    times
}

/// What a change of the clock makes of a time, and where one lies between it and the time before.
fn note(zone: &TimeZone, before: Timestamp, at: Timestamp) -> Option<String> {
    let offset = zone.to_offset(at);
    let note = if zone.to_offset(at - SignedDuration::from_nanos(1)) < offset {
        "the clock is put forward to this time"
    } else if zone.to_ambiguous_timestamp(zone.to_datetime(at)).is_ambiguous() {
        "this time of day comes twice: the clock is put back"
    } else if zone.to_offset(before) < offset {
        "the clock was put forward since the time before"
    } else if zone.to_offset(before) > offset {
        "the clock was put back since the time before"
    } else {
        return None;
    };
    Some(note.to_owned())
}

fn text(preview: &Preview) -> String {
    let headings = Table::new(["TIME", "UTC", "NOTE"]);
    let row = |table: Table, time: &TimeView| {
        let utc = time.at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        table.row([time.local.clone(), utc, time.note.clone().unwrap_or_default()])
    };
    let table = preview.times.iter().fold(headings, row);
    format!("{}\n\n{table}", preview.calendar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &str, from: &str, count: u32) -> Vec<(String, String, String)> {
        let calendar = Calendar::cron(expression, "Europe/Berlin").expect("a calendar");
        let shown = times(&calendar, from.parse().expect("a time"), count).into_iter();
        shown.map(|time| (time.local, time.at.to_string(), time.note.unwrap_or_default())).collect()
    }

    fn line(local: &str, at: &str, note: &str) -> (String, String, String) {
        (local.into(), at.into(), note.into())
    }

    #[test]
    fn a_time_that_does_not_exist_is_shown_where_it_runs() {
        assert_eq!(
            shown("30 2 * * *", "2026-03-28T00:00:00Z", 3),
            [
                line("2026-03-28 02:30:00 +01:00", "2026-03-28T01:30:00Z", ""),
                line(
                    "2026-03-29 03:00:00 +02:00",
                    "2026-03-29T01:00:00Z",
                    "the clock is put forward to this time"
                ),
                line("2026-03-30 02:30:00 +02:00", "2026-03-30T00:30:00Z", ""),
            ]
        );
    }

    #[test]
    fn a_time_that_comes_twice_is_shown_once() {
        assert_eq!(
            shown("30 2 * * *", "2026-10-24T12:00:00Z", 2),
            [
                line(
                    "2026-10-25 02:30:00 +02:00",
                    "2026-10-25T00:30:00Z",
                    "this time of day comes twice: the clock is put back"
                ),
                line(
                    "2026-10-26 02:30:00 +01:00",
                    "2026-10-26T01:30:00Z",
                    "the clock was put back since the time before"
                ),
            ]
        );
    }

    #[test]
    fn a_change_between_two_times_is_shown_at_the_second() {
        let notes: Vec<String> =
            shown("0 12 * * *", "2026-03-28T00:00:00Z", 3).into_iter().map(|time| time.2).collect();
        assert_eq!(notes, ["", "the clock was put forward since the time before", ""]);
    }
}
