//! The one thing a drive does on the host or in the vault at a time: hold, run a step, undo a step.

use std::sync::Arc;
use std::time::Duration;

use drs_model::guard::GuardExit;
use drs_model::{Fault, FaultCode, Grip, GuardAnswer, GuardStatus};
use drs_protocol::session::{Event, StepMode};
use drs_transport::{Argv, Hold, HostGuard};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::saga::{Saga, Step, StepContext};

/// What an activity hands out before its end.
pub(super) enum Aside {
    /// The hold that was taken.
    Held(Box<dyn Hold>),
    /// What the guard said to the start of a detached command.
    Guard(GuardAnswer),
}

/// An activity that has nothing to tell any more (it was aborted or replaced) ends with `None`.
type Activity = BoxFuture<'static, Option<Event>>;

/// First and longest pause between two looks at a detached command.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest piece of a detached command's output that is copied into the job's log.
const TAIL_CHARS_MAX: usize = 500;

/// The running activity's end; never when there is none.
pub(super) async fn of(activity: &mut Option<Activity>) -> Option<Event> {
    match activity {
        Some(activity) => activity.await,
        None => std::future::pending().await,
    }
}

/// Takes the VM on its host.
pub(super) fn hold(saga: Arc<Saga>, ctx: StepContext, asides: UnboundedSender<Aside>) -> Activity {
    Box::pin(async move {
        let held = async {
            let at_loss = (saga.at_loss)(&ctx);
            let guard = ctx.driver()?.guard();
            Ok(guard.hold(&ctx.grip()?, at_loss.as_ref()).await?)
        };
        match held.await {
            Ok((answer, hold)) => {
                if let Some(hold) = hold {
                    asides.send(Aside::Held(hold)).ok()?;
                }
                asides.send(Aside::Guard(answer)).ok()?;
                None
            }
            Err(fault) => Some(Event::HostFault(fault)),
        }
    })
}

/// Runs a step.
pub(super) fn run(
    saga: Arc<Saga>,
    n: usize,
    ctx: StepContext,
    asides: UnboundedSender<Aside>,
) -> Activity {
    Box::pin(async move {
        let step = saga.steps.get(n)?.as_ref();
        let result = if step.plan().mode == StepMode::Detached {
            detached(step, &ctx, &asides).await
        } else {
            step.run(&ctx).await.map(Some)
        };
        match result {
            Ok(Some(output)) => Some(Event::StepDone(output)),
            Ok(None) => None,
            Err(fault) => Some(Event::StepFailed(fault)),
        }
    })
}

/// Undoes a step; a detached one is ended first.
pub(super) fn undo(saga: Arc<Saga>, n: usize, ctx: StepContext) -> Activity {
    Box::pin(async move {
        let step = saga.steps.get(n)?.as_ref();
        let undone = async {
            if step.plan().mode == StepMode::Detached {
                let guard = ctx.driver()?.guard();
                guard.cancel(&ctx.grip()?, &command_name(step, &ctx)).await?;
            }
            step.undo(&ctx).await
        };
        match undone.await {
            Ok(()) => Some(Event::UndoDone),
            Err(fault) => Some(Event::UndoFailed(fault)),
        }
    })
}

/// A detached command is known to the host by its step. A step that was undone and comes again is
/// another command: it carries the time at which it was planned.
fn command_name(step: &dyn Step, ctx: &StepContext) -> String {
    let name = step.plan().name;
    let planned = ctx.job.steps.iter().find(|entry| entry.step == name);
    planned.map_or_else(|| name.to_owned(), |entry| format!("{name}.{}", entry.at.as_millisecond()))
}

/// Starts the command of a detached step, or attaches to it, and follows it to its end. `None` when
/// the guard did not admit it; the session has its answer then.
async fn detached(
    step: &dyn Step,
    ctx: &StepContext,
    asides: &UnboundedSender<Aside>,
) -> Result<Option<Value>, Fault> {
    let Some(argv) = step.command(ctx)? else { return step.run(ctx).await.map(Some) };
    let command = Command {
        guard: ctx.driver()?.guard(),
        grip: ctx.grip()?,
        name: command_name(step, ctx),
        ctx,
    };
    let answer = command.start(&argv).await?;
    ctx.crash_point(step.plan().name, "midway");
    let told = asides.send(Aside::Guard(answer.clone())).is_ok();
    let exit = match answer {
        _ if !told => return Ok(None),
        GuardAnswer::Started | GuardAnswer::Attached => command.follow().await?,
        GuardAnswer::Exit(exit) => exit,
        GuardAnswer::Busy(_) | GuardAnswer::Stale(_) => return Ok(None),
    };
    match exit {
        GuardExit::Code(0) => step.run(ctx).await.map(Some),
        GuardExit::Code(code) => Err(step.command_failed(code, &command.tail().await)),
        GuardExit::Cancelled => Err(Fault::transient(
            FaultCode::Cancelled,
            format!("step {} was cancelled on the host", step.plan().name),
            "The job tries again unless it is being cancelled.",
        )),
    }
}

/// A detached command on its host.
struct Command<'a> {
    guard: Arc<dyn HostGuard>,
    grip: Grip,
    name: String,
    ctx: &'a StepContext,
}

impl Command<'_> {
    async fn start(&self, argv: &Argv) -> Result<GuardAnswer, Fault> {
        let answer = self.guard.start(&self.grip, &self.name, argv).await?;
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
    async fn follow(&self) -> Result<GuardExit, Fault> {
        let mut pause = LOOK.0;
        loop {
            match self.guard.status(&self.grip, &self.name).await {
                Ok(GuardStatus::Exit(exit)) => return Ok(exit),
                Ok(GuardStatus::Running) => {}
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

    /// The end of the command's output.
    async fn tail(&self) -> String {
        match self.guard.log(&self.grip, &self.name, 0).await {
            Ok(log) => {
                let text = String::from_utf8_lossy(&log);
                let from = text.chars().count().saturating_sub(TAIL_CHARS_MAX);
                text.chars().skip(from).collect::<String>().trim().to_owned()
            }
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
