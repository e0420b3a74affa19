//! Replacing a VM: the names are exchanged, and the old one goes when the new one is proven.

use std::collections::BTreeSet;

use bytes::Bytes;
use drs_model::Grip;
use drs_transport::{Argv, Output};

use super::xml::Element;
use super::{CHANGE_LIMIT, LibvirtDriver, parse, script, spec, virsh};
use crate::turn::order;
use crate::{DriverError, ImportPlan};

const REPLACE: &str = concat!(include_str!("../turn.sh"), include_str!("replace.sh"));

/// A call of `replace.sh`.
pub(super) fn replace(command: &str) -> Argv {
    script(REPLACE, "drs-replace").arg(command)
}

impl LibvirtDriver {
    /// Whether an import of DR Switch made that VM.
    pub(super) async fn imported(&self, uuid: &str) -> Result<bool, DriverError> {
        let argv = replace("imported").arg(uuid);
        Ok(self.ask(None, "virsh metadata", &argv).await?.trim() == "yes")
    }

    /// `exchange` or `exchange_back`; nothing when no VM is displaced.
    pub(super) async fn rename(
        &self,
        command: &str,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let Some(old) = plan.displaced() else { return Ok(()) };
        let argv = replace(command).args([
            &grip.job.to_string(),
            &order(grip),
            plan.name.as_str(),
            plan.made_as.as_str(),
            old.aside.as_str(),
            &old.native_id,
        ]);
        self.change(grip, "virsh domrename", &argv, Bytes::new()).await.map(drop)
    }

    /// Destroys the displaced VM, and those of its disks that lie where DR Switch keeps disks and are
    /// used by no other VM.
    pub(super) async fn destroy(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let Some(old) = plan.displaced().filter(|old| old.policy.destroys()) else {
            return Ok(());
        };
        let vm = self.vm_ref(&old.aside);
        let dump = virsh(["dumpxml", "--inactive", &old.native_id]);
        let dump = self.remote.exec(&dump, Bytes::new()).await?;
        if is_gone(&dump) {
            return Ok(());
        }
        let domain = Element::parse(&self.text(Some(&vm), "virsh dumpxml", &dump)?)
            .map_err(|reason| self.failed("reading a VM's description", reason))?;
        let files = self.own_files(&domain, plan)?;
        let argv = replace("destroy")
            .args([&grip.job.to_string(), &order(grip), old.aside.as_str(), &old.native_id])
            .args(files);
        let output = self.guard.run(grip, &argv, Bytes::new(), CHANGE_LIMIT).await?;
        let told = self.text(Some(&vm), "removing the replaced VM", &output)?;
        for kept in told.lines() {
            tracing::warn!(%vm, file = kept, "a disk of the replaced VM stays: another VM uses it");
        }
        Ok(())
    }

    /// The files of its disks that may go with it.
    fn own_files(&self, domain: &Element, plan: &ImportPlan) -> Result<Vec<String>, DriverError> {
        let mut folders: BTreeSet<String> = [parse::folder(self.image_dir())?].into();
        let planned = plan.disks.iter().filter_map(|disk| disk.path.rsplit_once('/'));
        folders.extend(planned.map(|(folder, _)| folder.to_owned()));
        let spec = spec::spec(domain, &Default::default()).map_err(DriverError::Invalid)?;
        let (own, other): (Vec<_>, Vec<_>) =
            spec.disks.into_iter().filter(|disk| disk.protected).partition(|disk| {
                disk.source.rsplit_once('/').is_some_and(|(folder, _)| folders.contains(folder))
            });
        for disk in other {
            tracing::warn!(
                vm = %spec.name, file = disk.source,
                "a disk of the replaced VM stays: it does not lie in a folder for images"
            );
        }
        Ok(own.into_iter().map(|disk| disk.source).collect())
    }
}

/// Whether libvirt said that there is no such VM.
fn is_gone(output: &Output) -> bool {
    !output.ok() && parse::reason(&output.stderr).contains("failed to get domain")
}
