//! What a role lets those see who watch it.

use std::sync::Arc;

use drs_runtime::{Shutdown, http};

use crate::failure::Outcome;
use crate::place::Place;
use crate::servers;

/// Answers `/metrics`, `/healthz` and `/readyz` until the shutdown signal, where the configuration names an
/// address.
pub(crate) async fn serve(place: &Place, shutdown: &Shutdown) -> Outcome<()> {
    let (Some(address), Some(metrics)) = (place.config.telemetry.metrics, &place.metrics) else {
        return Ok(());
    };
    let all = Arc::clone(&place.servers);
    let ready = move || servers::missing(Arc::clone(&all));
    let served = http::serve(address, metrics.clone(), ready, shutdown.clone()).await;
    let served = served.map_err(|error| error.fault())?;
    tracing::info!(address = %served.address, "serving /metrics, /healthz and /readyz");
    Ok(())
}
