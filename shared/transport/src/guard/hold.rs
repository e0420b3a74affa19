//! The worker's end of a hold.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use drs_model::HostName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::pulse::Beats;
use super::{Hold, answer};
use crate::{BoxStream, TransportError};

/// How long the host may take to give the VM back.
const RELEASE_LIMIT: Duration = Duration::from_secs(30);

/// A hold: one task owns its channel and beats on it, so dropping the hold ends both.
pub(super) struct ShellHold {
    host: HostName,
    order: oneshot::Sender<()>,
    lost: CancellationToken,
    released: JoinHandle<bool>,
}

impl ShellHold {
    pub(super) fn new(host: HostName, stream: BoxStream, mut beats: Beats) -> Self {
        let span = tracing::info_span!("guard.held", %host);
        let (order, ordered) = oneshot::channel();
        let lost = CancellationToken::new();
        let guard = lost.clone().drop_guard();
        let keeping = async move {
            let _guard = guard;
            let (mut reader, mut writer) = tokio::io::split(stream);
            let release = {
                // The host says nothing while it holds: whatever comes is the end.
                let mut end = pin!(answer::read_line(&mut reader));
                let mut ordered = pin!(ordered);
                loop {
                    tokio::select! {
                        ordered = &mut ordered => break ordered.is_ok(),
                        _ = &mut end => break false,
                        // A beat is sent whole: cut short, it would garble the order after it.
                        () = beats.due() => if beats.send(&mut writer).await.is_err() { break false },
                    }
                }
            };
            release && give_back(&mut reader, &mut writer).await
        };
        let released = tokio::spawn(keeping.instrument(span));
        Self { host, order, lost, released }
    }
}

async fn give_back(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> bool {
    let exchange = async {
        writer.write_all(b"release\n").await.ok()?;
        let answer = answer::read_line(reader).await.ok()?;
        // Its connection can carry another stream when this one has come to its end.
        tokio::io::copy(reader, &mut tokio::io::sink()).await.ok()?;
        Some(answer)
    };
    let answer = timeout(RELEASE_LIMIT, exchange).await;
    matches!(answer, Ok(Some(line)) if line == "RELEASED")
}

#[async_trait]
impl Hold for ShellHold {
    async fn lost(&self) {
        self.lost.cancelled().await;
    }

    async fn release(self: Box<Self>) -> Result<(), TransportError> {
        let ordered = self.order.send(()).is_ok();
        match self.released.await {
            Ok(true) if ordered => Ok(()),
            _ => Err(TransportError::Protocol {
                host: self.host,
                command: "drs-guard release".into(),
                answer: "the hold was over before".into(),
            }),
        }
    }
}
