//! What a role answers to those who watch it: `/metrics`, `/healthz` and `/readyz`.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | 200, the figures of [`crate::telemetry::metrics::LIST`] |
//! | `/healthz` | 200: the process lives and answers |
//! | `/readyz` | 200, or 503 with what is not ready, one line each; 503 also once it takes no new jobs |
//!
//! Nothing here changes anything, and nothing tells of a single VM. It is meant for a network of
//! operators: no password, no TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use drs_model::{Fault, FaultCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Shutdown;
use crate::telemetry::metrics::Metrics;

/// What Prometheus is told that it gets.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the ports may take to say whether they are ready.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// Why a role cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("nothing can be served on {address}: {source}")]
pub struct HttpError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

impl HttpError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::permanent(
            FaultCode::InvalidConfig,
            self.to_string(),
            "Name a free address of this machine in [telemetry] metrics or DRS_METRICS, or none.",
        )
    }
}

/// A server that answers.
#[derive(Debug)]
pub struct Served {
    /// Where; the port that was found when 0 was asked for.
    pub address: SocketAddr,
    /// Ends at the shutdown signal *stop*.
    pub task: JoinHandle<()>,
}

/// Serves in a task until the shutdown signal *stop*. `ready` is asked at each `/readyz` and tells what is
/// not ready, one entry a line; it has 5 s.
///
/// # Errors
/// The address cannot be had.
pub async fn serve<R, F>(
    address: SocketAddr,
    metrics: Metrics,
    ready: R,
    shutdown: Shutdown,
) -> Result<Served, HttpError>
where
    R: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Vec<String>> + Send + 'static,
{
    let failed = |source| HttpError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let draining = shutdown.clone();
    let routes = Router::new()
        .route("/metrics", get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text())))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(ready(), &draining).await));
    let task = tokio::spawn(async move {
        tokio::select! {
            ended = axum::serve(listener, routes).into_future() => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "nobody can watch this process any more");
                }
            }
            () = shutdown.stopping() => {}
        }
    });
    Ok(Served { address, task })
}

async fn readiness(ready: impl Future<Output = Vec<String>>, shutdown: &Shutdown) -> Response {
    let mut missing = tokio::time::timeout(READY_LIMIT, ready)
        .await
        .unwrap_or_else(|_| vec![format!("no answer within {} s", READY_LIMIT.as_secs())]);
    if shutdown.is_draining() {
        missing.push("takes no new jobs".to_owned());
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let text: String = missing.iter().map(|what| format!("{what}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// Status and body.
    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: drs\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    #[tokio::test]
    async fn a_role_tells_figures_and_whether_it_is_ready() {
        let (shutdown, up) = (Shutdown::new(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&up);
        let ready = move || {
            let up = asked.load(Ordering::Relaxed);
            async move { if up { vec![] } else { vec!["job store: it is down".to_owned()] } }
        };
        let any = "127.0.0.1:0".parse().expect("an address");
        let served = serve(any, Metrics::new(), ready, shutdown.clone()).await.expect("it serves");
        let at = served.address;
        let (status, figures) = get(at, "/metrics").await;
        assert!(status == 200 && figures.contains("drs_jobs_running{} 0"), "{status} {figures}");
        assert_eq!(get(at, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(get(at, "/readyz").await, (503, "job store: it is down\n".into()));
        up.store(true, Ordering::Relaxed);
        assert_eq!(get(at, "/readyz").await, (200, "ready\n".into()));
        shutdown.drain();
        assert_eq!(get(at, "/readyz").await, (503, "takes no new jobs\n".into()));
        assert_eq!(get(at, "/").await.0, 404);
        let taken = serve(at, Metrics::new(), async || Vec::new(), Shutdown::new()).await;
        assert!(taken.is_err_and(|error| error.to_string().contains(&at.to_string())));
        shutdown.stop();
        served.task.await.expect("it ends");
    }
}
