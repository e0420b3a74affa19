//! A schedule as `--json` shows it, and as people read it.

use drs_model::{Fire, FireOutcome, Phase, Schedule, ScheduleName, Timestamp, Transfer};
use drs_runtime::clock;
use serde::Serialize;

use crate::commands::backup::moved;
use crate::failure::Outcome;
use crate::output::table::{Table, sheet};
use crate::place::Place;

#[derive(Debug, Serialize)]
pub(super) struct ScheduleView {
    #[serde(flatten)]
    schedule: Schedule,
    /// When it is due next; `None` while it is paused.
    next_at: Option<Timestamp>,
    latest: Option<LatestView>,
}

/// The latest time at which a schedule was due.
#[derive(Debug, Serialize)]
struct LatestView {
    #[serde(flatten)]
    fire: Fire,
    /// Where the job stands; `None` when it is not known any more.
    state: Option<Phase>,
}

impl ScheduleView {
    pub(super) async fn of(place: &Place, name: &ScheduleName) -> Outcome<Self> {
        let (schedule, latest) = place.backend.catalog.schedule(name).await?;
        Self::new(place, schedule, latest).await
    }

    pub(super) async fn new(
        place: &Place,
        schedule: Schedule,
        latest: Option<Fire>,
    ) -> Outcome<Self> {
        let latest = match latest {
            None => None,
            Some(fire) => {
                let state = place.backend.job(fire.job).await?.map(|job| job.state.phase());
                Some(LatestView { fire, state })
            }
        };
        let from = clock::now().max(schedule.counts_from);
        let next_at = if schedule.paused { None } else { schedule.calendar.next(from) };
        Ok(Self { schedule, next_at, latest })
    }

    fn next(&self) -> String {
        match (self.schedule.paused, self.next_at) {
            (true, _) => "paused".into(),
            (false, Some(at)) => self.zoned(at),
            (false, None) => "never again".into(),
        }
    }

    /// A time as it is read in the zone of the schedule.
    fn zoned(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.schedule.calendar.zone());
        zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    fn latest(&self) -> String {
        let Some(LatestView { fire, state }) = &self.latest else { return "-".into() };
        let at = self.zoned(fire.at);
        match (fire.outcome, state) {
            (FireOutcome::Submitted, Some(state)) => format!("{at} {state}"),
            (FireOutcome::Submitted, None) => format!("{at} submitted"),
            (FireOutcome::Skipped, _) => format!("{at} skipped"),
        }
    }

    pub(super) fn sheet(&self) -> String {
        let Schedule { name, subject, work, calendar, transfer, .. } = &self.schedule;
        let job = match &self.latest {
            None => "-".into(),
            Some(latest) => match latest.fire.outcome {
                FireOutcome::Submitted => latest.fire.job.to_string(),
                FireOutcome::Skipped => {
                    format!("{}, of a run before, was not over then", latest.fire.job)
                }
            },
        };
        let transfer =
            if *transfer == Transfer::default() { "streamed".into() } else { moved(*transfer) };
        sheet([
            ("schedule", name.to_string()),
            ("work", format!("{work} of {subject}")),
            ("when", calendar.to_string()),
            ("moved", transfer),
            ("next", self.next()),
            ("latest", self.latest()),
            ("job", job),
        ])
    }
}

pub(super) fn table(views: &[ScheduleView]) -> String {
    let headings = Table::new(["NAME", "WORK", "SUBJECT", "WHEN", "NEXT", "LATEST"]);
    let row = |table: Table, view: &ScheduleView| {
        let Schedule { name, subject, work, calendar, .. } = &view.schedule;
        table.row([
            name.to_string(),
            work.to_string(),
            subject.to_string(),
            calendar.to_string(),
            view.next(),
            view.latest(),
        ])
    };
    views.iter().fold(headings, row).to_string()
}
