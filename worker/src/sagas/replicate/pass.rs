//! The one pass: what is read from the source goes to the vault and to the counterpart.

use async_trait::async_trait;
use drs_hypervisor::Export;
use drs_model::{DiskContent, Fault, FaultCode, Timestamp};
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::foresee::Foreseen;
use crate::saga::{Step, StepContext, output};
use crate::sagas::copy::{Fork, HostInlet, VaultOutlet, discard, pump, total_bytes, watched};

/// What `copy` hands on: what a backup's does, and what became of the counterpart.
#[derive(Serialize, Deserialize)]
pub(super) struct Passed {
    disks: Vec<DiskContent>,
    completed_at: Timestamp,
    /// The import holds everything, durable.
    pub(super) reached: bool,
}

pub(super) struct Pass;

impl Pass {
    /// The import was planned for the source as it is.
    fn demand_foreseen(export: &Export, foreseen: &Foreseen) -> Result<(), Fault> {
        if export.description.spec == foreseen.spec {
            return Ok(());
        }
        Err(Fault::transient(
            FaultCode::VmBusy,
            format!("{} was changed while its counterpart was prepared", foreseen.spec.name),
            "The job plans anew by itself.",
        ))
    }
}

#[async_trait]
impl Step for Pass {
    fn plan(&self) -> StepPlan {
        StepPlan::held("copy").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let (source, target) = (ctx.source()?, ctx.target()?);
        let export: Export = ctx.needs("export")?;
        let foreseen: Foreseen = ctx.needs("foresee")?;
        Self::demand_foreseen(&export, &foreseen)?;
        let contents = export.description.spec.contents();
        ctx.report.begin("copy", total_bytes(&contents));
        let vault = VaultOutlet::begin(ctx, contents).await?;
        let mut fork = Fork::new(vault, ctx.limits.onward(), ctx.report.clone());
        let transfer = async {
            let mut pieces = HostInlet(source.driver.read(&source.grip, &export).await?);
            let sink = target.driver.write(&target.grip, &foreseen.plan).await;
            fork.join(sink.map_err(|error| error.fault())).await?;
            pump(ctx, "copy", &ctx.limits.reading(), &mut pieces, &mut fork).await
        };
        watched(&source, &export, transfer).await?;
        let (disks, reached) = fork.finish().await?;
        output(&Passed { disks, completed_at: clock::now(), reached })
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        discard(ctx).await
    }
}
