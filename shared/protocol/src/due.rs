//! What is due: pure decisions over the schedules, their latest fires and the time.
//!
//! - After an outage the latest missed time alone is run.
//! - A time at which the run before is not over is skipped, and that is noted.
//! - The id of a run's job follows from the schedule and the time: deciding twice changes nothing.

use drs_model::{Fire, FireOutcome, JobId, Schedule, SignedDuration, Timestamp};

/// A schedule, and the latest time at which it was due, if there was one.
pub type Known = (Schedule, Option<Fire>);

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// The time that the calendar names.
    pub at: Timestamp,
    /// The jobs of the runs before it that may not be over: the latest that was noted, and one that
    /// was submitted by a scheduler that died before it noted it.
    pub before: Vec<JobId>,
}

impl Run<'_> {
    /// What becomes of it, once it is known which of the jobs `before` it is not over.
    #[must_use]
    pub fn fire(&self, open: Option<JobId>) -> Fire {
        let (job, outcome) = match open {
            None => (Fire::job_id(&self.schedule.name, self.at), FireOutcome::Submitted),
            Some(open) => (open, FireOutcome::Skipped),
        };
        Fire { at: self.at, job, outcome }
    }
}

/// The time behind which times of a schedule count.
fn counted(schedule: &Schedule, latest: Option<&Fire>) -> Timestamp {
    latest.map_or(schedule.counts_from, |fire| fire.at.max(schedule.counts_from))
}

/// The runs that are due, in the order of the schedules.
#[must_use]
pub fn runs(known: &[Known], now: Timestamp) -> Vec<Run<'_>> {
    let active = known.iter().filter(|(schedule, _)| !schedule.paused);
    active.filter_map(|(schedule, latest)| run(schedule, latest.as_ref(), now)).collect()
}

fn run<'a>(schedule: &'a Schedule, latest: Option<&Fire>, now: Timestamp) -> Option<Run<'a>> {
    let after = counted(schedule, latest);
    let at = schedule.calendar.latest(after, now)?;
    let missed = schedule.calendar.latest(after, at - SignedDuration::from_nanos(1));
    let unnoted = missed.map(|missed| Fire::job_id(&schedule.name, missed));
    let before = latest.map(|fire| fire.job).into_iter().chain(unnoted).collect();
    Some(Run { schedule, at, before })
}

/// The runs that were submitted last, which must be known to the store or to history.
pub fn submitted(known: &[Known]) -> impl Iterator<Item = (&Schedule, &Fire)> {
    let active = known.iter().filter(|(schedule, _)| !schedule.paused);
    let latest = active.filter_map(|(schedule, fire)| Some((schedule, fire.as_ref()?)));
    latest.filter(|(_, fire)| fire.outcome == FireOutcome::Submitted)
}

/// When the next run is due; `None` when none ever is.
#[must_use]
pub fn next(known: &[Known], now: Timestamp) -> Option<Timestamp> {
    let active = known.iter().filter(|(schedule, _)| !schedule.paused);
    active.filter_map(|(schedule, _)| schedule.calendar.next(now.max(schedule.counts_from))).min()
}

#[cfg(test)]
mod tests {
    use drs_model::{Calendar, Subject, Transfer, Work};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn schedule(expression: &str, zone: &str, counts_from: &str) -> Schedule {
        Schedule {
            name: "nightly".parse().expect("a name"),
            subject: Subject::Vm("dc/web".parse().expect("a VM")),
            work: Work::Backup,
            calendar: Calendar::cron(expression, zone).expect("a calendar"),
            transfer: Transfer::default(),
            paused: false,
            counts_from: at(counts_from),
        }
    }

    /// Looks at every minute of a span as a scheduler does, and returns the times that fired.
    fn fired(schedule: Schedule, from: &str, until: &str) -> Vec<String> {
        let (mut known, mut now, mut times) = (vec![(schedule, None)], at(from), Vec::new());
        while now <= at(until) {
            let fire = runs(&known, now).first().map(|run| run.fire(None));
            if let Some(fire) = fire {
                times.push(fire.at.to_string());
                known[0].1 = Some(fire);
            }
            now += SignedDuration::from_mins(1);
        }
        times
    }

    #[test]
    fn a_time_fires_once_and_not_before_the_schedule_was_made() {
        let hourly = schedule("0 * * * *", "UTC", "2026-11-22T01:30:00Z");
        let times = fired(hourly, "2026-11-22T01:30:00Z", "2026-11-22T04:10:00Z");
        assert_eq!(times, ["2026-11-22T02:00:00Z", "2026-11-22T03:00:00Z", "2026-11-22T04:00:00Z"]);
    }

    #[test]
    fn after_an_outage_the_latest_missed_time_is_run_alone() {
        let hourly = schedule("0 * * * *", "UTC", "2026-11-22T01:30:00Z");
        let name = hourly.name.clone();
        let known = [(hourly, None)];
        let now = at("2026-11-22T09:20:00Z");
        let due = runs(&known, now);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].at, at("2026-11-22T09:00:00Z"));
        // The one before it may have been submitted and not noted.
        assert_eq!(due[0].before, [Fire::job_id(&name, at("2026-11-22T08:00:00Z"))]);
        let noted = [(known[0].0.clone(), Some(due[0].fire(None)))];
        assert!(runs(&noted, now).is_empty());
    }

    #[test]
    fn a_run_is_skipped_while_the_one_before_is_not_over() {
        let hourly = schedule("0 * * * *", "UTC", "2026-11-22T01:30:00Z");
        let first = Fire::job_id(&hourly.name, at("2026-11-22T02:00:00Z"));
        let (two, three) = (at("2026-11-22T02:00:00Z"), at("2026-11-22T03:00:00Z"));
        let latest = Fire { at: two, job: first, outcome: FireOutcome::Submitted };
        let known = [(hourly, Some(latest))];
        let due = runs(&known, three);
        assert_eq!(due[0].before, [first]);
        let skipped = due[0].fire(Some(first));
        assert_eq!(skipped, Fire { at: three, job: first, outcome: FireOutcome::Skipped });
        // The next one looks at that job again.
        let known = [(known[0].0.clone(), Some(skipped))];
        assert_eq!(runs(&known, at("2026-11-22T04:00:00Z"))[0].before, [first]);
        assert_eq!(submitted(&known).count(), 0);
    }

    #[test]
    fn nothing_of_a_paused_schedule_is_due_and_none_is_made_up_for_when_it_is_resumed() {
        let mut nightly = schedule("0 2 * * *", "UTC", "2026-11-20T00:00:00Z");
        nightly.paused = true;
        let now = at("2026-11-22T12:00:00Z");
        assert!(runs(&[(nightly.clone(), None)], now).is_empty());
        assert_eq!(next(&[(nightly.clone(), None)], now), None);
        (nightly.paused, nightly.counts_from) = (false, now);
        assert!(runs(&[(nightly.clone(), None)], now).is_empty());
        assert_eq!(next(&[(nightly, None)], now), Some(at("2026-11-23T02:00:00Z")));
    }

    #[test]
    fn each_day_with_a_change_of_the_clock_has_one_run() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        let spring = fired(berlin, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(spring, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let berlin = schedule("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
        let autumn = fired(berlin, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }
}
