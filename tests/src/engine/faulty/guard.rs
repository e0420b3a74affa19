//! A host guard whose calls can be made to fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drs_model::{Grip, GuardAnswer, GuardStatus};
use drs_transport::{Argv, Hold, HostGuard, Output, Spawned, TransportError};
use tokio_util::bytes::Bytes;

use super::FaultPlan;

pub(super) struct FaultyGuard {
    pub(super) guard: Arc<dyn HostGuard>,
    pub(super) plan: FaultPlan,
}

#[async_trait]
impl HostGuard for FaultyGuard {
    async fn hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
    ) -> Result<(GuardAnswer, Option<Box<dyn Hold>>), TransportError> {
        self.plan.call("hold", self.guard.hold(grip, at_loss)).await
    }

    async fn start(
        &self,
        grip: &Grip,
        step: &str,
        argv: &Argv,
    ) -> Result<GuardAnswer, TransportError> {
        if self.plan.repeats() {
            let first = self.guard.start(grip, step, argv).await?;
            self.guard.start(grip, step, argv).await?;
            return Ok(first);
        }
        self.plan.call("start", self.guard.start(grip, step, argv)).await
    }

    async fn status(&self, grip: &Grip, step: &str) -> Result<GuardStatus, TransportError> {
        self.guard.status(grip, step).await
    }

    async fn log(&self, grip: &Grip, step: &str, offset: u64) -> Result<Bytes, TransportError> {
        self.guard.log(grip, step, offset).await
    }

    async fn cancel(&self, grip: &Grip, step: &str) -> Result<GuardAnswer, TransportError> {
        self.plan.twice("cancel", || self.guard.cancel(grip, step)).await
    }

    async fn run(
        &self,
        grip: &Grip,
        argv: &Argv,
        stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError> {
        self.guard.run(grip, argv, stdin, limit).await
    }

    async fn serve(&self, grip: &Grip, argv: &Argv) -> Result<Spawned, TransportError> {
        self.guard.serve(grip, argv).await
    }

    async fn forget(&self, older_than: Duration) -> Result<(), TransportError> {
        self.guard.forget(older_than).await
    }
}
