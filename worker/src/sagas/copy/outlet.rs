//! Where pieces go: into the vault, into a driver's sink, or into both at once.

use async_trait::async_trait;
use drs_hypervisor::ContentSink;
use drs_model::{Content, DiskContent, Fault, FaultCode, Piece};
use drs_transport::Rates;
use drs_vault::{DiskWriter, PointWriter};

use super::Outlet;
use crate::reporter::Reporter;
use crate::saga::StepContext;

/// Drops what is written of the job's point; a point that is complete stays.
pub(in crate::sagas) async fn discard(ctx: &StepContext) -> Result<(), Fault> {
    let point = ctx.vault.begin(ctx.job.id.into()).await?;
    Ok(point.discard().await?)
}

/// The job's point, as it is written.
pub(in crate::sagas) struct VaultOutlet {
    point: Box<dyn PointWriter>,
    contents: Vec<Slot>,
}

struct Slot {
    content: Content,
    writer: Option<Box<dyn DiskWriter>>,
}

impl Slot {
    /// Its writer, opened now if nothing was written yet.
    async fn writer(
        &mut self,
        point: &mut dyn PointWriter,
    ) -> Result<&mut Box<dyn DiskWriter>, Fault> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            closed => {
                let Content { name, size_bytes } = &self.content;
                Ok(closed.insert(point.disk(name, *size_bytes).await?))
            }
        }
    }
}

impl VaultOutlet {
    /// Begins the point anew: contents of an earlier attempt belong to another instant.
    pub(in crate::sagas) async fn begin(
        ctx: &StepContext,
        contents: Vec<Content>,
    ) -> Result<Self, Fault> {
        discard(ctx).await?;
        let point = ctx.vault.begin(ctx.job.id.into()).await?;
        let contents = contents.into_iter().map(|content| Slot { content, writer: None }).collect();
        Ok(Self { point, contents })
    }

    /// Makes every content durable and tells of it in the job's log.
    pub(in crate::sagas) async fn finish(
        mut self,
        report: &Reporter,
    ) -> Result<Vec<DiskContent>, Fault> {
        let mut finished = Vec::new();
        for mut slot in self.contents {
            slot.writer(self.point.as_mut()).await?;
            let Some(writer) = slot.writer else { continue };
            let content = writer.finish().await?;
            let text = format!(
                "{}: {} of {} bytes are data, {} bytes in the vault",
                content.name, content.data_bytes, content.size_bytes, content.stored_bytes
            );
            report.info(text).await;
            finished.push(content);
        }
        Ok(finished)
    }
}

#[async_trait]
impl Outlet for VaultOutlet {
    async fn write(&mut self, piece: Piece) -> Result<(), Fault> {
        let Some(slot) = self.contents.get_mut(piece.content) else {
            let text = format!("the driver delivered content {} which is not there", piece.content);
            return Err(Fault::internal(text));
        };
        Ok(slot.writer(self.point.as_mut()).await?.write(piece.extent).await?)
    }
}

/// An import or an archive, as its driver writes it.
pub(in crate::sagas) struct SinkOutlet(pub(in crate::sagas) Box<dyn ContentSink>);

#[async_trait]
impl Outlet for SinkOutlet {
    async fn write(&mut self, piece: Piece) -> Result<(), Fault> {
        Ok(self.0.write(piece).await?)
    }
}

/// The vault and the counterpart at once; the slower one counts. A counterpart that fails is dropped with
/// a warning and the vault gets the rest alone: the source need not be read again for it.
pub(in crate::sagas) struct Fork {
    vault: VaultOutlet,
    counterpart: Option<Box<dyn ContentSink>>,
    rates: Rates,
    report: Reporter,
}

impl Fork {
    /// With the limits of the counterpart, which do not slow down the vault once it is dropped.
    pub(in crate::sagas) fn new(vault: VaultOutlet, rates: Rates, report: Reporter) -> Self {
        Self { vault, counterpart: None, rates, report }
    }

    /// Takes the counterpart's sink, or the reason why there is none.
    pub(in crate::sagas) async fn join(
        &mut self,
        sink: Result<Box<dyn ContentSink>, Fault>,
    ) -> Result<(), Fault> {
        match sink {
            Ok(sink) => self.counterpart = Some(sink),
            Err(fault) => self.part(fault).await?,
        }
        Ok(())
    }

    /// Goes on without the counterpart; a worker whose claim is over does not go on.
    async fn part(&mut self, fault: Fault) -> Result<(), Fault> {
        if fault.code == FaultCode::Fenced {
            return Err(fault);
        }
        self.counterpart = None;
        let text =
            format!("{fault}; the vault gets the rest alone, the counterpart follows from it");
        self.report.warn(text).await;
        Ok(())
    }

    /// Makes everything durable. Tells the contents in the vault and whether the counterpart has them.
    pub(in crate::sagas) async fn finish(mut self) -> Result<(Vec<DiskContent>, bool), Fault> {
        let reached = match self.counterpart.take() {
            None => false,
            Some(sink) => match sink.finish().await {
                Ok(()) => true,
                Err(error) => {
                    self.part(error.fault()).await?;
                    false
                }
            },
        };
        Ok((self.vault.finish(&self.report).await?, reached))
    }
}

#[async_trait]
impl Outlet for Fork {
    async fn write(&mut self, piece: Piece) -> Result<(), Fault> {
        let Some(sink) = &mut self.counterpart else { return self.vault.write(piece).await };
        let rates = &self.rates;
        let (bytes, copy) = (piece.extent.data.len() as u64, piece.clone());
        let carried = async {
            rates.pass(bytes).await;
            sink.write(copy).await
        };
        let (kept, carried) = tokio::join!(self.vault.write(piece), carried);
        if let Err(error) = carried {
            self.part(error.fault()).await?;
        }
        kept
    }
}
