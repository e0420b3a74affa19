//! Holding the VMs of a job: one, or both of a replication.

use async_trait::async_trait;
use drs_model::{Fault, GuardAnswer};
use drs_transport::{Hold, TransportError};

use crate::saga::{Saga, Side, StepContext};

/// What the guard says to a hold, with the hold when it was taken.
pub(super) type Answer = (GuardAnswer, Option<Box<dyn Hold>>);

/// Takes the VMs that the job is to hold, the source first. What one host refuses is the answer, and
/// no VM is held then.
pub(super) async fn take(saga: &Saga, ctx: &StepContext) -> Result<Answer, Fault> {
    let mut taken: Option<Box<dyn Hold>> = None;
    for side in saga.held(&ctx.job) {
        let answer = take_one(saga, ctx, side).await;
        match (taken.take(), answer) {
            (None, Ok((GuardAnswer::Started, Some(hold)))) => taken = Some(hold),
            (Some(source), Ok((GuardAnswer::Started, Some(target)))) => {
                taken = Some(Box::new(Both { source, target }));
            }
            (before, refused) => {
                if let Some(hold) = before
                    && let Err(error) = hold.release().await
                {
                    tracing::debug!(%error, "the first hold ended with its connection");
                }
                return refused;
            }
        }
    }
    Ok((GuardAnswer::Started, taken))
}

async fn take_one(saga: &Saga, ctx: &StepContext, side: Side) -> Result<Answer, Fault> {
    let place = ctx.place(side)?;
    let at_loss = if side == Side::Source { (saga.at_loss)(ctx) } else { None };
    Ok(place.driver.guard().hold(&place.grip, at_loss.as_ref()).await?)
}

/// Both VMs of a replication. It is lost as soon as one of them is.
struct Both {
    source: Box<dyn Hold>,
    target: Box<dyn Hold>,
}

#[async_trait]
impl Hold for Both {
    async fn lost(&self) {
        tokio::select! {
            () = self.source.lost() => {}
            () = self.target.lost() => {}
        }
    }

    async fn release(self: Box<Self>) -> Result<(), TransportError> {
        let (source, target) = tokio::join!(self.source.release(), self.target.release());
        source.and(target)
    }
}
