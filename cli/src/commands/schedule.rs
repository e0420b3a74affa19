//! `drs schedule`

mod preview;
mod refusal;
mod view;

use drs_backend::job_of;
use drs_model::{Calendar, Fault, JobKind, Schedule, ScheduleName, Subject, Transfer};
use drs_runtime::clock;

use self::view::ScheduleView;
use crate::args::jobs::Submission;
use crate::args::schedule::{ScheduleAddArgs, ScheduleCommand};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, command: ScheduleCommand) -> Outcome<Exit> {
    match command {
        ScheduleCommand::Add(args) => add(place, output, args).await,
        ScheduleCommand::List => list(place, output).await,
        ScheduleCommand::Show { name } => {
            let view = ScheduleView::of(place, &name).await?;
            output.answer(&view, || view.sheet())?;
            Ok(Exit::Success)
        }
        ScheduleCommand::Pause { name } => pause(place, output, &name, true).await,
        ScheduleCommand::Resume { name } => pause(place, output, &name, false).await,
        ScheduleCommand::Run { name, submission } => submit(place, output, &name, submission).await,
        ScheduleCommand::Remove { name } => {
            let view = ScheduleView::of(place, &name).await?;
            place.backend.catalog.remove_schedule(&name).await?;
            output.answer(&view, || format!("schedule {name} is removed; its jobs stay"))?;
            Ok(Exit::Success)
        }
        ScheduleCommand::Preview(args) => preview::run(place, output, args).await,
    }
}

/// A calendar as it was written on the command line; without a zone it is read in this machine's.
fn calendar(expression: &str, zone: Option<&str>) -> Outcome<Calendar> {
    let zone = zone.map_or_else(clock::zone, str::to_owned);
    Calendar::cron(expression, &zone)
        .map_err(|error| Failure::invalid(error.to_string(), error.remedy()))
}

fn subject(args: &ScheduleAddArgs) -> Outcome<Subject> {
    let vm = args.vm.clone().map(Subject::Vm);
    let pair = || args.pair.clone().map(Subject::Pair);
    let host = || args.host.clone().map(Subject::Host);
    let missing = || Fault::internal("a schedule without a subject").into();
    vm.or_else(pair).or_else(host).ok_or_else(missing)
}

async fn add(place: &Place, output: Output, args: ScheduleAddArgs) -> Outcome<Exit> {
    let schedule = Schedule {
        subject: subject(&args)?,
        work: args.work,
        calendar: calendar(&args.cron, args.zone.as_deref())?,
        transfer: Transfer::from(&args.transport),
        paused: false,
        counts_from: clock::now(),
        name: args.name,
    };
    refusal::none(place, &schedule).await?;
    place.backend.catalog.add_schedule(&schedule).await?;
    let view = ScheduleView::of(place, &schedule.name).await?;
    output.answer(&view, || view.sheet())?;
    warn_unserved(place, output)?;
    Ok(Exit::Success)
}

async fn list(place: &Place, output: Output) -> Outcome<Exit> {
    let mut views = Vec::new();
    for (schedule, latest) in place.backend.catalog.schedules().await? {
        views.push(ScheduleView::new(place, schedule, latest).await?);
    }
    output.answer(&views, || view::table(&views))?;
    Ok(Exit::Success)
}

async fn pause(place: &Place, output: Output, name: &ScheduleName, paused: bool) -> Outcome<Exit> {
    let (mut schedule, _) = place.backend.catalog.schedule(name).await?;
    if schedule.paused != paused {
        schedule.paused = paused;
        // What was due while it was paused is not made up for.
        schedule.counts_from = clock::now();
        place.backend.catalog.update_schedule(&schedule).await?;
    }
    let view = ScheduleView::of(place, name).await?;
    output.answer(&view, || view.sheet())?;
    if !paused {
        warn_unserved(place, output)?;
    }
    Ok(Exit::Success)
}

/// Submits the work of a schedule as a job of its own, beside its runs.
async fn submit(
    place: &Place,
    output: Output,
    name: &ScheduleName,
    submission: Submission,
) -> Outcome<Exit> {
    let (schedule, _) = place.backend.catalog.schedule(name).await?;
    let Schedule { subject, work, transfer, .. } = &schedule;
    let spec = job_of(&*place.backend.catalog, subject, *work, *transfer).await?;
    let fans_out = spec.kind() == JobKind::FanOut;
    let request = Request::new(submission.job_id(), spec);
    let preflight = refusal::none(place, &schedule);
    let exit = submission::run(place, output, &submission, request, preflight).await?;
    if fans_out && !submission.detach && !place.is_served()? {
        output.say(
            "no `drs serve` runs: jobs that are not over wait until it or a command that runs jobs \
             starts",
        );
    }
    Ok(exit)
}

fn warn_unserved(place: &Place, output: Output) -> Outcome<()> {
    if !place.is_served()? {
        output.say("warning: no `drs serve` runs: nothing is due until it does");
    }
    Ok(())
}
