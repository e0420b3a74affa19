//! A detached command on its host: started or attached to, and followed to its end.

use std::sync::Arc;
use std::time::Duration;

use drs_model::guard::GuardExit;
use drs_model::{Fault, FaultCode, Grip, GuardAnswer, GuardStatus};
use drs_transport::{Argv, HostGuard, TransportError};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Instrument;

use super::activity::Aside;
use crate::saga::{Step, StepContext};
use crate::telemetry;

/// First and longest pause between two looks at a command.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Most bytes of a command's output that are kept: its end.
const HEARD_BYTES_MAX: usize = 64 * 1024;

/// Starts the command of a detached step, or attaches to it, and follows it to its end. `None` when
/// the guard did not admit it; the session has its answer then.
pub(super) async fn run(
    step: &dyn Step,
    ctx: &StepContext,
    asides: &UnboundedSender<Aside>,
) -> Result<Option<Value>, Fault> {
    let Some(argv) = step.command(ctx)? else { return step.run(ctx).await.map(Some) };
    let mut command = Command::of(step, ctx)?;
    let answer = command.start(&argv).await?;
    ctx.crash_point(step.plan().name, "midway");
    let told = asides.send(Aside::Guard(answer.clone())).is_ok();
    let exit = match answer {
        _ if !told => return Ok(None),
        GuardAnswer::Started | GuardAnswer::Attached => {
            command.follow().instrument(telemetry::watch_span()).await?
        }
        GuardAnswer::Exit(exit) => exit,
        GuardAnswer::Busy(_) | GuardAnswer::Stale(_) => return Ok(None),
    };
    match exit {
        GuardExit::Code(0) => step.run(ctx).await.map(Some),
        GuardExit::Code(code) => Err(step.command_failed(ctx, code, &command.said().await)),
        GuardExit::Cancelled => Err(Fault::transient(
            FaultCode::Cancelled,
            format!("step {} was cancelled on the host", step.plan().name),
            "The job tries again unless it is being cancelled.",
        )),
    }
}

/// Ends the command of a detached step, so that a late start cannot run it.
pub(super) async fn cancel(step: &dyn Step, ctx: &StepContext) -> Result<(), Fault> {
    let command = Command::of(step, ctx)?;
    let host = command.grip.vm.host.clone();
    match command.guard.cancel(&command.grip, &command.name).await? {
        GuardAnswer::Busy(job) => Err(TransportError::Busy { host, job }.fault()),
        GuardAnswer::Stale(seen) => Err(TransportError::Stale { host, seen: seen.0 }.fault()),
        GuardAnswer::Started | GuardAnswer::Attached | GuardAnswer::Exit(_) => Ok(()),
    }
}

struct Command<'a> {
    guard: Arc<dyn HostGuard>,
    grip: Grip,
    name: String,
    step: &'a dyn Step,
    ctx: &'a StepContext,
    /// The end of its output, as far as it was read.
    heard: Vec<u8>,
    /// How much of its output was read.
    offset: u64,
}

impl<'a> Command<'a> {
    fn of(step: &'a dyn Step, ctx: &'a StepContext) -> Result<Self, Fault> {
        let place = ctx.place(step.side())?;
        let name = step.plan().name.to_owned();
        let guard = place.driver.guard();
        Ok(Self { guard, grip: place.grip, name, step, ctx, heard: Vec::new(), offset: 0 })
    }

    async fn start(&self, argv: &Argv) -> Result<GuardAnswer, Fault> {
        crate::crash::at("start/before");
        let answer = self.guard.start(&self.grip, &self.name, argv).await?;
        crate::crash::at("start/after");
        let text = match &answer {
            GuardAnswer::Started => format!("{} started on the host", self.name),
            GuardAnswer::Attached => format!("{} runs on the host, attached to it", self.name),
            GuardAnswer::Exit(_) => format!("{} had ended on the host already", self.name),
            GuardAnswer::Busy(_) | GuardAnswer::Stale(_) => return Ok(answer),
        };
        self.ctx.report.info(text).await;
        Ok(answer)
    }

    /// Looks until the command ends. A host that cannot be asked for a while is asked again: the
    /// command goes on without us, and the lease is renewed meanwhile.
    async fn follow(&mut self) -> Result<GuardExit, Fault> {
        let mut pause = LOOK.0;
        loop {
            match self.guard.status(&self.grip, &self.name).await {
                Ok(GuardStatus::Exit(exit)) => return Ok(exit),
                Ok(GuardStatus::Running) => self.tell_progress().await,
                Ok(gone) => return Err(vanished(&self.name, gone)),
                Err(error) if error.fault().is_retryable() => {
                    tracing::warn!(job = %self.grip.job, %error, "looking again");
                }
                Err(error) => return Err(error.fault()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    async fn tell_progress(&mut self) {
        if !self.step.tells_progress() {
            return;
        }
        if let Err(error) = self.listen().await {
            return tracing::debug!(job = %self.grip.job, %error, "listening again");
        }
        let log = String::from_utf8_lossy(&self.heard);
        if let Some((done_bytes, total_bytes)) = self.step.progress(self.ctx, &log) {
            self.ctx.report.progress(|progress| {
                progress.done_bytes = done_bytes;
                progress.total_bytes = total_bytes;
                progress.moved_bytes = done_bytes;
            });
        }
    }

    /// Reads what the command has said since the last time.
    async fn listen(&mut self) -> Result<(), TransportError> {
        loop {
            let news = self.guard.log(&self.grip, &self.name, self.offset).await?;
            if news.is_empty() {
                return Ok(());
            }
            self.offset += news.len() as u64;
            self.heard.extend_from_slice(&news);
            let surplus = self.heard.len().saturating_sub(HEARD_BYTES_MAX);
            self.heard.drain(..surplus);
        }
    }

    /// The end of the command's output.
    async fn said(&mut self) -> String {
        match self.listen().await {
            Ok(()) => String::from_utf8_lossy(&self.heard).trim().to_owned(),
            Err(error) => format!("(its output could not be read: {error})"),
        }
    }
}

fn vanished(name: &str, status: GuardStatus) -> Fault {
    let why = match status {
        GuardStatus::Rebooted => "the host was rebooted",
        GuardStatus::Vanished => "it was killed on the host",
        _ => "the host has no record of it",
    };
    Fault::transient(
        FaultCode::Vanished,
        format!("{name} did not end: {why}"),
        "The job starts this part again by itself.",
    )
}
