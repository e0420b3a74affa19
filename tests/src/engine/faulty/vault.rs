//! A vault whose calls can be made to fail.

use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{DiskContent, Extent, PointId, RecoveryPoint, Timestamp};
use drs_vault::{
    DiskReader, DiskWriter, Listing, PointWriter, StoredPoint, Vault, VaultError, VerifyReport,
};

use super::FaultPlan;

pub(super) struct FaultyVault {
    pub(super) vault: Arc<dyn Vault>,
    pub(super) plan: FaultPlan,
}

#[async_trait]
impl Vault for FaultyVault {
    async fn begin(&self, id: PointId) -> Result<Box<dyn PointWriter>, VaultError> {
        let writer = self.plan.call("begin", self.vault.begin(id)).await?;
        let (vault, plan) = (Arc::clone(&self.vault), self.plan.clone());
        Ok(Box::new(FaultyPoint { id, writer, vault, plan }))
    }

    async fn list(&self) -> Result<Listing, VaultError> {
        self.vault.list().await
    }

    async fn get(&self, id: PointId) -> Result<StoredPoint, VaultError> {
        self.plan.twice("get", || self.vault.get(id)).await
    }

    async fn read(&self, id: PointId, disk: &str) -> Result<Box<dyn DiskReader>, VaultError> {
        self.plan.call("read", self.vault.read(id, disk)).await
    }

    async fn verify(
        &self,
        id: PointId,
        now: Timestamp,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<VerifyReport, VaultError> {
        self.plan.twice("verify", || self.vault.verify(id, now, progress)).await
    }

    async fn remove(&self, id: PointId) -> Result<(), VaultError> {
        self.plan.call("remove", self.vault.remove(id)).await
    }

    async fn sweep_unfinished(
        &self,
        keep: &(dyn Fn(PointId) -> bool + Send + Sync),
    ) -> Result<u64, VaultError> {
        self.vault.sweep_unfinished(keep).await
    }
}

struct FaultyPoint {
    id: PointId,
    writer: Box<dyn PointWriter>,
    vault: Arc<dyn Vault>,
    plan: FaultPlan,
}

#[async_trait]
impl PointWriter for FaultyPoint {
    async fn finished_disk(&mut self, disk: &str) -> Result<Option<DiskContent>, VaultError> {
        self.writer.finished_disk(disk).await
    }

    async fn disk(
        &mut self,
        disk: &str,
        size_bytes: Option<u64>,
    ) -> Result<Box<dyn DiskWriter>, VaultError> {
        let writer = self.plan.call("disk", self.writer.disk(disk, size_bytes)).await?;
        Ok(Box::new(FaultyDisk { writer, plan: self.plan.clone() }))
    }

    async fn commit(self: Box<Self>, manifest: &RecoveryPoint) -> Result<(), VaultError> {
        self.plan.call("commit", self.writer.commit(manifest)).await?;
        if self.plan.repeats() {
            self.vault.begin(self.id).await?.commit(manifest).await?;
        }
        Ok(())
    }

    async fn discard(self: Box<Self>) -> Result<(), VaultError> {
        self.plan.call("discard", self.writer.discard()).await?;
        if self.plan.repeats() {
            self.vault.begin(self.id).await?.discard().await?;
        }
        Ok(())
    }
}

struct FaultyDisk {
    writer: Box<dyn DiskWriter>,
    plan: FaultPlan,
}

#[async_trait]
impl DiskWriter for FaultyDisk {
    async fn write(&mut self, extent: Extent) -> Result<(), VaultError> {
        self.writer.write(extent).await
    }

    async fn finish(self: Box<Self>) -> Result<DiskContent, VaultError> {
        self.plan.call("finish", self.writer.finish()).await
    }
}
