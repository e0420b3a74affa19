use jiff::SignedDuration;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn next(expression: &str, zone: &str, after: &str) -> String {
    let calendar = Calendar::cron(expression, zone).expect("a calendar");
    calendar.next(at(after)).expect("a time").to_string()
}

#[test]
fn a_time_that_does_not_exist_runs_at_the_next_instant_that_does() {
    // Berlin jumps from 02:00 to 03:00 (01:00 UTC) on 29 March 2026.
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
}

#[test]
fn a_time_that_exists_twice_runs_once() {
    // Berlin goes back from 03:00 to 02:00 (01:00 UTC) on 25 October 2026.
    let (first, then) = ("2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), first);
    assert_eq!(next("30 2 * * *", "Europe/Berlin", first), then);
}

#[test]
fn after_an_outage_only_the_latest_time_counts() {
    let hourly = Calendar::cron("0 * * * *", "UTC").expect("a calendar");
    let (from, now) = (at("2026-11-22T01:00:00Z"), at("2026-11-22T07:20:00Z"));
    assert_eq!(hourly.latest(from, now), Some(at("2026-11-22T07:00:00Z")));
    assert_eq!(hourly.latest(at("2026-11-22T07:00:00Z"), now), None);
    assert_eq!(hourly.latest(from, at("2026-11-22T02:00:00Z")), Some(at("2026-11-22T02:00:00Z")));
}

#[test]
fn seconds_are_optional() {
    assert_eq!(next("*/10 * * * * *", "UTC", "2026-11-22T01:00:03Z"), "2026-11-22T01:00:10Z");
    assert_eq!(next("*/10 * * * *", "UTC", "2026-11-22T01:00:03Z"), "2026-11-22T01:10:00Z");
}

#[test]
fn nonsense_is_refused_with_its_reason() {
    for bad in ["", "* * *", "61 * * * *", "a b c d e", "0 0 30 2 *"] {
        assert!(Calendar::cron(bad, "UTC").is_err(), "{bad}");
    }
    assert!(Calendar::cron(&"0,".repeat(500), "UTC").is_err());
    let berlin = Calendar::cron("0 0 * * *", "europe/berlin").map(|calendar| calendar.to_string());
    assert_eq!(berlin.as_deref(), Ok("0 0 * * * (Europe/Berlin)"));
    let zone = Calendar::cron("0 0 * * *", "Europe/Entenhausen");
    assert_eq!(zone, Err(InvalidCalendar::Zone("Europe/Entenhausen".into())));
}

#[test]
fn a_zone_that_was_most_likely_meant_is_named() {
    for (zone, meant) in
        [("Europe/Berln", "Europe/Berlin"), ("tokyo", "Asia/Tokyo"), ("utc", "UTC")]
    {
        let remedy = InvalidCalendar::Zone(zone.into()).remedy();
        assert_eq!(remedy, format!("Is `{meant}` meant?"));
    }
    assert!(InvalidCalendar::Zone("Europe/Entenhausen".into()).remedy().contains("Europe/Berlin"));
}

#[test]
fn what_is_written_is_checked_when_it_is_read() {
    let calendar = Calendar::cron("0 3 * * 1-5", "Europe/Vienna").expect("a calendar");
    let text = serde_json::to_string(&calendar).expect("JSON");
    assert_eq!(text, r#"{"form":"cron","expression":"0 3 * * 1-5","zone":"Europe/Vienna"}"#);
    assert_eq!(serde_json::from_str::<Calendar>(&text).expect("a calendar"), calendar);
    let bad = r#"{"form":"cron","expression":"x","zone":"UTC"}"#;
    assert!(serde_json::from_str::<Calendar>(bad).is_err());
}

/// Every time of a span, found by asking for the latest time again and again, as a scheduler does.
fn fired(calendar: &Calendar, from: &str, until: &str, every: SignedDuration) -> Vec<String> {
    let (mut after, mut now, mut times) = (at(from), at(from), Vec::new());
    while now < at(until) {
        now += every;
        if let Some(time) = calendar.latest(after, now) {
            times.push(time.to_string());
            after = time;
        }
    }
    times
}

#[test]
fn who_asks_for_the_latest_time_meets_the_same_times_on_a_day_with_a_change_of_the_clock() {
    let minutes = SignedDuration::from_mins(7);
    let half_past = Calendar::cron("30 2 * * *", "Europe/Berlin").expect("a calendar");
    assert_eq!(
        fired(&half_past, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", minutes),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        fired(&half_past, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", minutes),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn a_time_within_a_second_sees_the_whole_second_behind_it() {
    let each = Calendar::cron("* * * * * *", "UTC").expect("a calendar");
    let (from, now) = (at("2026-11-22T01:00:00Z"), at("2026-11-22T01:00:02.9Z"));
    assert_eq!(each.latest(from, now), Some(at("2026-11-22T01:00:02Z")));
    assert_eq!(each.next(now), Some(at("2026-11-22T01:00:03Z")));
}

#[test]
fn the_times_ahead_and_the_times_that_fire_are_the_same() {
    let expressions =
        ["0 * * * *", "*/15 * * * *", "15 2 * * *", "0 3 * * *", "30 1-4 * * *", "0,30 2 * * *"];
    let days = [
        ("Europe/Berlin", "2026-03-28T20:00:00Z", "2026-03-29T20:00:00Z"),
        ("Europe/Berlin", "2026-10-24T20:00:00Z", "2026-10-25T20:00:00Z"),
        ("America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"),
        ("America/New_York", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T12:00:00Z"),
    ];
    for expression in expressions {
        for (zone, from, until) in days {
            let calendar = Calendar::cron(expression, zone).expect("a calendar");
            let mut ahead = Vec::new();
            let mut after = at(from);
            while let Some(next) = calendar.next(after).filter(|next| *next <= at(until)) {
                ahead.push(next.to_string());
                after = next;
            }
            let fires = fired(&calendar, from, until, SignedDuration::from_mins(10));
            assert_eq!(ahead, fires, "{expression} in {zone}");
        }
    }
}
