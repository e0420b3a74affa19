//! What an import will make. Changes nothing.
//!
//! We write every archive ourselves, so that networks, addresses and storages are exchanged in the
//! configuration before Proxmox reads it; only a container's archive is passed on as it is, and what
//! differs is set when it has been restored.

mod bridges;
mod container;
mod distinct;
mod machine;
mod number;
mod storages;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use drs_model::{JobId, RecoveryPoint, VmForm};
use serde::{Deserialize, Serialize};

use super::ProxmoxDriver;
use super::guest::{Vmid, words};
use super::native::Native;
use crate::{DriverError, ImportPlan, ImportRequest, PlannedDisk};
use bridges::Bridges;
use storages::Storages;

/// What the driver needs of a plan beside what the port knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// The new guest's number.
    pub(super) vmid: u32,
    /// The archive's name, as `vzdump` would have called it: type and packing are taken from it.
    pub(super) archive: String,
    /// The freeze instant in seconds since 1970.
    pub(super) created_at: i64,
    /// The archive's own id.
    pub(super) id: [u8; 16],
    /// Name and size in bytes of the devices of a machine, in the archive's order.
    pub(super) devices: Vec<(String, u64)>,
    /// Which device holds each content of a machine, in the order of the point.
    pub(super) contents: Vec<usize>,
    /// Of a container the length of its archive, where it is known.
    pub(super) tar_bytes: Option<u64>,
    /// The lines that tell a machine's archive where each disk goes.
    pub(super) maps: Vec<Map>,
    /// Options of the restore.
    pub(super) restore: Vec<String>,
    /// Options that are set when it has been restored.
    pub(super) settle: Vec<String>,
    /// What the new guest's configuration contains and that of no other guest does.
    pub(super) identity: Vec<String>,
    /// Name and size in bytes of each volume that is to be there, `None` where any size will do.
    pub(super) volumes: Vec<(String, Option<u64>)>,
    /// What tells the guest that is there already from one that has its number later.
    pub(super) displaced_mark: Option<String>,
}

/// Where a disk goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Map {
    pub(super) drive: String,
    pub(super) device: String,
    pub(super) storage: String,
    pub(super) format: String,
}

impl Handle {
    /// The handle of a plan that this driver made.
    pub(super) fn of(plan: &ImportPlan) -> Result<Self, DriverError> {
        serde_json::from_value(plan.handle.clone())
            .map_err(|error| DriverError::Internal(format!("the plan is of no use: {error}")))
    }
}

/// What a form's own part of the planning decides.
struct Made {
    native: Native,
    disks: Vec<PlannedDisk>,
    devices: Vec<(String, u64)>,
    contents: Vec<usize>,
    maps: Vec<Map>,
    restore: Vec<String>,
    settle: Vec<String>,
    volumes: Vec<(String, Option<u64>)>,
    remarks: Vec<String>,
}

/// What is asked for, and what the node is.
struct Wanted<'a> {
    job: JobId,
    vmid: Vmid,
    request: &'a ImportRequest<'a>,
    /// Whether the point was taken from a guest of this very node.
    at_home: bool,
    version: u32,
    storages: Storages,
    bridges: Bridges,
}

impl ProxmoxDriver {
    pub(super) async fn plan(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        self.demand_dump_dir()?;
        let point = request.point;
        let macs: Vec<&str> = point.spec.nics.iter().map(|nic| nic.mac.as_str()).collect();
        let survey = self.survey(&request.target.vm, &macs).await?;
        let number = self.number(request, &survey).await?;
        let wanted = Wanted {
            job,
            vmid: number.vmid,
            request,
            at_home: point.source.host == self.host.name,
            version: self.version().await?.major,
            storages: Storages::new(self, self.storages().await?),
            bridges: self.bridges().await?,
        };
        let mut made = match point.spec.form {
            VmForm::Machine => machine::make(&wanted)?,
            VmForm::Container => container::make(&wanted)?,
        };
        made.remarks.splice(0..0, number.remarks);
        made.remarks.extend(distinct::twins(&wanted, &survey, number.replaces.as_ref()));
        let name = number.vmid.to_string();
        let name: drs_model::VmName =
            name.parse().map_err(|error| DriverError::Invalid(format!("{error}")))?;
        let handle = Handle {
            vmid: number.vmid.number(),
            archive: archive_name(point, number.vmid),
            created_at: point.consistent_at.as_second(),
            id: point.id.0.into_bytes(),
            devices: made.devices,
            contents: made.contents,
            tar_bytes: tar_bytes(point),
            maps: made.maps,
            restore: made.restore,
            settle: made.settle,
            identity: distinct::identity(&made.native),
            volumes: made.volumes,
            displaced_mark: survey.mark,
        };
        Ok(ImportPlan {
            name: name.clone(),
            made_as: name,
            replaces: number.replaces,
            form: point.spec.form,
            disks: made.disks,
            native_config: made.native.text(),
            remarks: made.remarks,
            handle: serde_json::json!(handle),
        })
    }
}

/// The length of a container's archive, where the point tells it.
fn tar_bytes(point: &RecoveryPoint) -> Option<u64> {
    match point.spec.form {
        VmForm::Machine => None,
        VmForm::Container => {
            point.disks.first().map(|content| content.size_bytes).filter(|size| *size > 0)
        }
    }
}

/// As `vzdump` calls an archive. The number is the source's where that had one.
fn archive_name(point: &RecoveryPoint, vmid: Vmid) -> String {
    let source = super::guest::parse_native_id(&point.spec.native_id).map_or(vmid, |(_, id)| id);
    let instant = point.consistent_at.strftime("%Y_%m_%d-%H_%M_%S");
    let ending = match point.spec.form {
        VmForm::Machine => "vma.zst",
        VmForm::Container => "tar.zst",
    };
    format!("vzdump-{}-{source}-{instant}.{ending}", words(point.spec.form).kind)
}

/// Bytes of each content that are not in a hole, by its name.
fn data_bytes(point: &RecoveryPoint) -> BTreeMap<&str, u64> {
    point.disks.iter().map(|disk| (disk.name.as_str(), disk.data_bytes)).collect()
}
