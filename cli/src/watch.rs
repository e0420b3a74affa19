//! Shows how a job goes on: a progress bar on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use drs_backend::BackendError;
use drs_model::{Fault, FaultCode, Job, JobId, JobState, LogLevel, Phase, Progress};
use drs_runtime::clock;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Outcome;
use crate::output::view::WaitView;
use crate::output::{Output, plain, units};
use crate::place::Place;

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is tried again while nothing can be seen.
const LOOK_AWAY: Duration = Duration::from_secs(2);
/// How often a line tells of bytes when there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Log lines taken at one look.
const LINES_MAX: usize = 200;

/// Watches a job until it is over or waits for a person.
pub(crate) async fn until_over(place: &Place, output: Output, id: JobId) -> Outcome<Job> {
    let mut display = Display::new(output);
    let mut told = 0;
    let mut away = false;
    loop {
        let seen = look(place, id, &mut told).await;
        if away && seen.is_ok() {
            away = false;
            display.line("the job can be looked at again");
        }
        match seen {
            Ok(Some(seen)) => {
                for warning in &seen.warnings {
                    display.line(warning);
                }
                let phase = seen.job.state.phase();
                if phase.is_terminal() || phase == Phase::NeedsOperator {
                    display.end();
                    return Ok(seen.job);
                }
                display.show(&seen);
            }
            Ok(None) => {
                display.end();
                return Err(unknown(id).into());
            }
            Err(error) if !away => {
                away = true;
                display.line(&format!("the job cannot be looked at now, and goes on: {error}"));
            }
            Err(_) => {}
        }
        tokio::time::sleep(if away { LOOK_AWAY } else { LOOK }).await;
    }
}

fn unknown(id: JobId) -> Fault {
    Fault::permanent(
        FaultCode::JobNotFound,
        format!("there is no job {id}"),
        "See what there is with `drs job list`.",
    )
}

/// A job at one moment.
struct Seen {
    job: Job,
    progress: Option<Progress>,
    wait: Option<WaitView>,
    warnings: Vec<String>,
}

async fn look(place: &Place, id: JobId, told: &mut u64) -> Result<Option<Seen>, BackendError> {
    let backend = &place.backend;
    let Some(job) = backend.job(id).await? else { return Ok(None) };
    let wait = match job.state {
        JobState::Parked { .. } => WaitView::of(&*backend.store, id).await?,
        _ => None,
    };
    let progress = backend.events.progress(id).await?;
    let mut warnings = Vec::new();
    for line in backend.events.lines(id, *told, LINES_MAX).await? {
        *told = line.seq;
        match line.level {
            LogLevel::Info => {}
            LogLevel::Warn => warnings.push(format!("warning: {}", line.text)),
            LogLevel::Error => warnings.push(format!("trouble: {}", line.text)),
        }
    }
    Ok(Some(Seen { job, progress, wait, warnings }))
}

impl Seen {
    /// What the job does now, in a few words without numbers that change all the time.
    fn doing(&self) -> String {
        let step = self.progress.as_ref().map(|progress| progress.step.as_str());
        match &self.job.state {
            JobState::Queued { .. } => "waiting for a worker".into(),
            JobState::Parked { resource, .. } => match &self.wait {
                Some(wait) => wait.sentence(),
                None => format!("waits for {resource}"),
            },
            JobState::RetryWait { until } => {
                let why = self.job.fault.as_ref().map(ToString::to_string).unwrap_or_default();
                format!(
                    "attempt {} failed ({why}); the next one begins {}",
                    self.job.attempt,
                    clock::local(*until)
                )
            }
            JobState::Claimed(_) => "starting".into(),
            JobState::Running(_) => {
                step.filter(|step| !step.is_empty()).unwrap_or("running").into()
            }
            JobState::Cancelling(_) => "cancelling: taking back what was done".into(),
            JobState::NeedsOperator => "waits for a decision".into(),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => "over".into(),
        }
    }

    /// How many bytes are done of how many, while the job moves any; steps behind a copy move none.
    fn bytes(&self) -> Option<(u64, u64)> {
        let moving = matches!(self.job.state, JobState::Running(_));
        let progress = self.progress.as_ref().filter(|_| moving)?;
        let (done, total) = (progress.done_bytes, progress.total_bytes);
        (done < total).then_some((done, total))
    }

    fn title(&self) -> String {
        format!("{} {}", self.job.spec.kind(), self.job.spec.subject())
    }
}

/// Where a watched job is shown.
enum Display {
    Bar(ProgressBar),
    Lines { output: Output, doing: String, at: Instant },
}

impl Display {
    fn new(output: Output) -> Self {
        if output.is_live() {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(LOOK);
            return Self::Bar(bar);
        }
        Self::Lines { output, doing: String::new(), at: Instant::now() }
    }

    fn show(&mut self, seen: &Seen) {
        match self {
            Self::Bar(bar) => show_bar(bar, seen),
            Self::Lines { output, doing, at } => {
                let now_doing = seen.doing();
                let moving = seen.bytes().filter(|_| at.elapsed() >= LINE_EVERY);
                if *doing == now_doing && moving.is_none() {
                    return;
                }
                let bytes = seen.bytes().map(|(done, total)| {
                    format!(", {} of {}", units::bytes(done), units::bytes(total))
                });
                output.say(&format!("{}: {now_doing}{}", seen.title(), bytes.unwrap_or_default()));
                *doing = now_doing;
                *at = Instant::now();
            }
        }
    }

    fn line(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.println(plain(text)),
            Self::Lines { output, .. } => output.say(text),
        }
    }

    fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn show_bar(bar: &ProgressBar, seen: &Seen) {
    let template = match seen.bytes() {
        Some((done, total)) => {
            bar.set_length(total);
            bar.set_position(done);
            "{prefix} [{bar:24}] {percent}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}"
        }
        None => "{spinner} {prefix}: {msg}",
    };
    // The templates are constants; one that is wrong shows as indicatif's own default.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(seen.title());
    bar.set_message(plain(&seen.doing()));
}
