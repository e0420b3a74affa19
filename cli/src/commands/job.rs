//! `drs job`

use std::time::Duration;

use drs_backend::{BackendError, JobFilter, Named};
use drs_model::{Fault, FaultCode, Job, JobState, LogLevel, LogLine, StepMark, StepRecord};
use drs_protocol::store::{CancelAnswer, RetryAnswer};
use drs_runtime::clock;

use crate::args::jobs::JobCommand;
use crate::args::values::IdPrefix;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::table::{Table, sheet};
use crate::output::view::{JobView, WaitView, job_table};
use crate::output::{Output, plain, units};
use crate::place::Place;
use crate::{find, submission, watch};

/// How often a followed log is read.
const LOOK: Duration = Duration::from_millis(200);
/// Log lines read at one time.
const LINES_MAX: usize = 1000;

pub(super) async fn run(place: &Place, output: Output, command: JobCommand) -> Outcome<Exit> {
    match command {
        JobCommand::List { states, vm, limit } => {
            let filter = JobFilter {
                phases: states,
                subject: vm.map(|vm| vm.to_string()),
                before: None,
                limit: limit as usize,
            };
            let jobs = place.backend.jobs(&filter).await?;
            let jobs: Vec<JobView> = jobs.iter().map(JobView::from).collect();
            output.answer(&jobs, || job_table(&jobs))?;
            Ok(Exit::Success)
        }
        JobCommand::Show { id } => show(place, output, &id).await,
        JobCommand::Log { id, follow } => log(place, output, &id, follow).await,
        JobCommand::Watch { id } => {
            let job = find::job(&place.backend, &id).await?;
            if !job.state.is_terminal() && !place.is_served()? {
                output.say("no `drs serve` runs: the job moves only while some command runs jobs");
            }
            let job = watch::until_over(place, output, job.id).await?;
            submission::ended(place, output, &job).await
        }
        JobCommand::Retry { id } => retry(place, output, &id).await,
        JobCommand::Cancel { id } => cancel(place, output, &id).await,
    }
}

async fn show(place: &Place, output: Output, id: &IdPrefix) -> Outcome<Exit> {
    let job = find::job(&place.backend, id).await?;
    let mut view = JobView::from(&job);
    if let JobState::Parked { .. } = job.state {
        view.waits = WaitView::of(&*place.backend.store, job.id).await?;
    }
    view.progress = place.backend.events.progress(job.id).await?;
    view.steps.clone_from(&job.steps);
    output.answer(&view, || text(&job, &view))?;
    Ok(Exit::Success)
}

fn text(job: &Job, view: &JobView) -> String {
    let mut text = sheet([
        ("job", job.id.to_string()),
        ("kind", view.kind.to_string()),
        ("subject", view.subject.clone()),
        ("state", view.state.to_string()),
        ("attempt", view.attempt.to_string()),
        ("worker", view.worker.clone().unwrap_or_else(|| "-".into())),
        ("created", clock::local(job.created_at)),
        ("started", job.started_at.map_or_else(|| "-".into(), clock::local)),
        ("changed", clock::local(job.updated_at)),
    ]);
    let mut line = |words: String| text.push_str(&format!("{}\n", plain(&words)));
    if let Some(wait) = &view.waits {
        line(wait.sentence());
    }
    if let Some(progress) = view.progress.as_ref().filter(|progress| progress.total_bytes > 0) {
        let (done, total) = (progress.done_bytes, progress.total_bytes);
        let moved = units::bytes(progress.moved_bytes);
        line(format!("{} of {}, {moved} moved", units::bytes(done), units::bytes(total)));
    }
    if job.cancel_requested {
        line("a person asked to cancel it".into());
    }
    if let Some(fault) = &view.fault {
        line(format!("fault: {} ({})", fault.message, crate::output::code(fault)));
        line(format!("do: {}", fault.remedy));
    }
    if view.steps.is_empty() { text } else { format!("{text}\n{}", step_table(&view.steps)) }
}

fn step_table(steps: &[StepRecord]) -> String {
    let row = |table: Table, step: &StepRecord| {
        let mark = match step.mark {
            StepMark::Planned => "planned",
            StepMark::Done => "done",
            StepMark::Undone => "undone",
        };
        table.row([step.step.clone(), mark.to_owned(), clock::local(step.at)])
    };
    steps.iter().fold(Table::new(["STEP", "MARK", "AT"]), row).to_string()
}

/// Prints a log: as one JSON array, or as it comes, one line (with `--json` one object) each.
async fn log(place: &Place, output: Output, id: &IdPrefix, follow: bool) -> Outcome<Exit> {
    let id = find::job(&place.backend, id).await?.id;
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        // The state first: what was logged before the end is then not missed.
        let over = match place.backend.job(id).await? {
            Some(job) => job.state.is_terminal(),
            None => true,
        };
        let lines = place.backend.events.lines(id, after, LINES_MAX).await?;
        after = lines.last().map_or(after, |line| line.seq);
        let more = lines.len() == LINES_MAX;
        if follow {
            lines.iter().try_for_each(|line| output.line(line, || log_line(line)))?;
        } else {
            all.extend(lines);
        }
        if !more && (over || !follow) {
            break;
        }
        if !more {
            tokio::time::sleep(LOOK).await;
        }
    }
    if !follow {
        output.answer(&all, || all.iter().map(|line| log_line(line) + "\n").collect())?;
    }
    Ok(Exit::Success)
}

fn log_line(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Info => "info ",
        LogLevel::Warn => "warn ",
        LogLevel::Error => "error",
    };
    format!("{} {level} [{}] {}", clock::local(line.at), line.attempt, plain(&line.text))
}

async fn cancel(place: &Place, output: Output, id: &IdPrefix) -> Outcome<Exit> {
    let known = find::job(&place.backend, id).await?;
    let (said, publish) = match place.backend.store.cancel(clock::now(), known.id).await? {
        CancelAnswer::Cancelled { woken } => ("is cancelled", woken),
        CancelAnswer::Asked { publish } => (
            "is asked to stop; what it did is taken back first",
            publish.into_iter().map(|job| *job).collect(),
        ),
        CancelAnswer::Done(_) | CancelAnswer::Unknown => ("was over already", Vec::new()),
    };
    answer(place, output, known, said, publish).await
}

async fn retry(place: &Place, output: Output, id: &IdPrefix) -> Outcome<Exit> {
    let known = find::job(&place.backend, id).await?;
    let id = known.id;
    match place.backend.store.retry(clock::now(), id).await? {
        RetryAnswer::Woken(job) => answer(place, output, known, "goes on", vec![*job]).await,
        RetryAnswer::NotWaiting(phase) => Err(Fault::permanent(
            FaultCode::InUse,
            format!("job {id} waits for no decision: it is {phase}"),
            "A job that has failed is submitted again by the command that made it.",
        )
        .into()),
        RetryAnswer::Unknown => Err(BackendError::NotFound(Named::Job(id)).fault().into()),
    }
}

/// Publishes what can run now and says where the job stands; where the store forgot it meanwhile, where it
/// stood.
async fn answer(
    place: &Place,
    output: Output,
    known: Job,
    said: &str,
    publish: Vec<Job>,
) -> Outcome<Exit> {
    for job in publish {
        if let Err(error) = place.backend.dispatch.publish(&(&job).into()).await {
            tracing::warn!(job = %job.id, %error, "not published yet, the sweeper will");
        }
    }
    let job = place.backend.store.get(known.id).await?.unwrap_or(known);
    output.answer(&JobView::from(&job), || format!("job {} {said}", job.id))?;
    Ok(Exit::Success)
}
