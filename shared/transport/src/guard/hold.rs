//! The worker's end of a hold.

use std::time::Duration;

use async_trait::async_trait;
use drs_model::HostName;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Hold, answer};
use crate::{BoxStream, TransportError};

/// How long the host may take to give the VM back.
const RELEASE_LIMIT: Duration = Duration::from_secs(30);

/// A hold: one task owns its channel, so dropping the hold closes the channel.
pub(super) struct ShellHold {
    host: HostName,
    order: oneshot::Sender<()>,
    lost: CancellationToken,
    released: JoinHandle<bool>,
}

impl ShellHold {
    pub(super) fn new(host: HostName, mut stream: BoxStream) -> Self {
        let (order, ordered) = oneshot::channel();
        let lost = CancellationToken::new();
        let guard = lost.clone().drop_guard();
        let released = tokio::spawn(async move {
            let _guard = guard;
            tokio::select! {
                ordered = ordered => match ordered {
                    Ok(()) => give_back(&mut stream).await,
                    Err(_) => false,
                },
                // The host says nothing while it holds: whatever comes is the end.
                _ = answer::read_line(&mut stream) => false,
            }
        });
        Self { host, order, lost, released }
    }
}

async fn give_back(stream: &mut BoxStream) -> bool {
    let exchange = async {
        stream.write_all(b"release\n").await.ok()?;
        answer::read_line(stream).await.ok()
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
