//! Moving VMs as archives: the port's questions, answered by the parts that know.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{Fault, Grip, VmForm};
use drs_transport::{Argv, Remote};

use super::{ProxmoxDriver, failure, load, log};
use crate::{ContentSink, ContentSource, DriverError, ImportPlan, StagedArchive, Staging};

#[async_trait]
impl Staging for ProxmoxDriver {
    fn remote(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.remote)
    }

    async fn dump_admitted(&self, grip: &Grip) -> Result<(), DriverError> {
        self.admit_dump(grip).await
    }

    fn dump_command(&self, grip: &Grip, limit_bytes_per_second: Option<u64>) -> Argv {
        self.dump_call(grip, limit_bytes_per_second)
    }

    fn progress(&self, log: &str) -> Option<(u64, u64)> {
        log::progress(log).or_else(|| load::progress(log))
    }

    fn command_fault(&self, grip: &Grip, loads: Option<&ImportPlan>, log: &str) -> Fault {
        let tool = match loads.map(|plan| plan.form) {
            None => "vzdump",
            Some(VmForm::Machine) => "qmrestore",
            Some(VmForm::Container) => "pct restore",
        };
        failure::classify(&self.host, Some(&grip.vm), tool, log).fault()
    }

    async fn dumped(&self, grip: &Grip) -> Result<StagedArchive, DriverError> {
        self.dumped_archive(grip).await
    }

    async fn unpack(
        &self,
        archive: &StagedArchive,
        local: &Path,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        self.unpack_archive(archive, local).await
    }

    async fn pack(
        &self,
        plan: &ImportPlan,
        local: &Path,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        self.pack_archive(plan, local).await
    }

    async fn load_path(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        size_bytes: u64,
    ) -> Result<String, DriverError> {
        self.make_load_path(grip, plan, size_bytes).await
    }

    fn load_command(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        path: &str,
        limit_bytes_per_second: Option<u64>,
    ) -> Argv {
        self.load_call(grip, plan, path, limit_bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use drs_model::ReplacePolicy;

    use super::*;
    use crate::proxmox::export::tests::{driver, grip};
    use crate::proxmox::replace::tests::plan;

    #[test]
    fn a_failure_names_the_tool() {
        let (driver, _) = driver("", 0);
        let load = |form| {
            let plan = ImportPlan { form, ..plan(ReplacePolicy::Keep) };
            driver.command_fault(&grip(), Some(&plan), "why\n").message
        };
        for (message, tool) in [
            (driver.command_fault(&grip(), None, "why\n").message, "vzdump failed"),
            (load(VmForm::Machine), "qmrestore failed"),
            (load(VmForm::Container), "pct restore failed"),
        ] {
            assert!(message.starts_with(tool), "{message}");
        }
    }
}
