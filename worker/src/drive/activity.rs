//! The one thing a drive does on the host or in the vault at a time: hold, run a step, undo a step.

use std::sync::Arc;

use drs_model::{Fault, GuardAnswer};
use drs_protocol::session::{Event, StepMode};
use drs_transport::Hold;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Instrument, Span};

use super::{detached, hold};
use crate::saga::{Saga, StepContext};
use crate::telemetry;

/// What an activity hands out before its end, and what is found beside it.
pub(super) enum Aside {
    /// The hold that was taken.
    Held(Box<dyn Hold>),
    /// What the guard said to the start of a detached command.
    Guard(GuardAnswer),
    /// A person asks to cancel the job.
    CancelAsked,
}

/// An activity that has nothing to tell any more (it was aborted or replaced) ends with `None`.
type Activity = BoxFuture<'static, Option<Event>>;

/// The running activity's end; never when there is none.
pub(super) async fn of(activity: &mut Option<Activity>) -> Option<Event> {
    match activity {
        Some(activity) => activity.await,
        None => std::future::pending().await,
    }
}

/// Takes the VM, or both, on its host.
pub(super) fn hold(saga: Arc<Saga>, ctx: StepContext, asides: UnboundedSender<Aside>) -> Activity {
    let taking = async move {
        match hold::take(&saga, &ctx).await {
            Ok((answer, hold)) => {
                if let Some(hold) = hold {
                    asides.send(Aside::Held(hold)).ok()?;
                }
                asides.send(Aside::Guard(answer)).ok()?;
                None
            }
            Err(fault) => Some(Event::HostFault(fault)),
        }
    };
    Box::pin(taking.instrument(tracing::info_span!("hold")))
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
        let span = telemetry::step_span(step.plan().name, "run");
        let running = async {
            if step.plan().mode == StepMode::Detached {
                detached::run(step, &ctx, &asides).await
            } else {
                step.run(&ctx).await.map(Some)
            }
        };
        let result = running.instrument(span.clone()).await;
        match noted(&span, result) {
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
        let span = telemetry::step_span(step.plan().name, "undo");
        let undone = async {
            if step.plan().mode == StepMode::Detached {
                detached::cancel(step, &ctx).await?;
            }
            step.undo(&ctx).await
        };
        let undone = undone.instrument(span.clone()).await;
        match noted(&span, undone) {
            Ok(()) => Some(Event::UndoDone),
            Err(fault) => Some(Event::UndoFailed(fault)),
        }
    })
}

/// A result, noted on its span when it is a fault.
fn noted<T>(span: &Span, result: Result<T, Fault>) -> Result<T, Fault> {
    result.inspect_err(|fault| telemetry::failed(span, fault))
}
