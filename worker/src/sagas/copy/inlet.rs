//! Where pieces come from: a driver's source, or a point in the vault.

use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::ContentSource;
use drs_model::{DiskContent, Extent, Fault, FaultCode, Piece, PointId, RecoveryPoint};
use drs_vault::{DiskReader, Vault};

use super::Inlet;

/// An export or an archive, as its driver reads it.
pub(in crate::sagas) struct HostInlet(pub(in crate::sagas) Box<dyn ContentSource>);

#[async_trait]
impl Inlet for HostInlet {
    async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        Ok(self.0.next().await?)
    }

    fn done_bytes(&self) -> u64 {
        self.0.position_bytes()
    }
}

/// The contents of a point, one after the other.
pub(in crate::sagas) struct VaultInlet {
    vault: Arc<dyn Vault>,
    point: PointId,
    contents: Vec<DiskContent>,
    /// The content that is read, and the index of the one after it.
    open: Option<Box<dyn DiskReader>>,
    next: usize,
    /// Length of the contents before it, and how much of its data has come.
    before: u64,
    moved: u64,
}

impl VaultInlet {
    pub(in crate::sagas) fn new(vault: Arc<dyn Vault>, point: &RecoveryPoint) -> Self {
        let contents = point.disks.clone();
        Self { vault, point: point.id, contents, open: None, next: 0, before: 0, moved: 0 }
    }

    /// The next piece of the content that is open.
    async fn read(&mut self) -> Result<Option<Extent>, Fault> {
        match &mut self.open {
            Some(reader) => Ok(reader.next().await?),
            None => Ok(None),
        }
    }

    /// Opens the next content; `false` when there is none.
    async fn open_next(&mut self) -> Result<bool, Fault> {
        self.before += self.current().map_or(0, |content| content.size_bytes);
        self.moved = 0;
        self.open = None;
        let Some(content) = self.contents.get(self.next) else { return Ok(false) };
        let reader = self.vault.read(self.point, &content.name).await?;
        if reader.size_bytes() != content.size_bytes {
            return Err(unlike_manifest(content, reader.size_bytes()));
        }
        self.open = Some(reader);
        self.next += 1;
        Ok(true)
    }

    fn current(&self) -> Option<&DiskContent> {
        self.open.as_ref()?;
        self.contents.get(self.next.checked_sub(1)?)
    }
}

fn unlike_manifest(content: &DiskContent, found: u64) -> Fault {
    Fault::permanent(
        FaultCode::PointDamaged,
        format!(
            "{} has {found} bytes in the vault and {} in the manifest",
            content.name, content.size_bytes
        ),
        "Do not trust this point: restore another one (`drs point list`).",
    )
}

#[async_trait]
impl Inlet for VaultInlet {
    async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        loop {
            if let Some(extent) = self.read().await? {
                self.moved += extent.data.len() as u64;
                return Ok(Some(Piece { content: self.next - 1, extent }));
            }
            if !self.open_next().await? {
                return Ok(None);
            }
        }
    }

    /// Extents come in any order: what has come of a content's data stands for as much of its length.
    fn done_bytes(&self) -> u64 {
        let share = |content: &DiskContent| {
            let size = u128::from(content.size_bytes) * u128::from(self.moved);
            let share = size.checked_div(u128::from(content.data_bytes)).unwrap_or(0);
            u64::try_from(share).map_or(content.size_bytes, |share| share.min(content.size_bytes))
        };
        self.before + self.current().map_or(0, share)
    }
}
