//! What a role lets those see who watch it.

use std::sync::Arc;

use drs_backend::{Backend, JobFilter};
use drs_runtime::{Shutdown, http};

use crate::failure::Outcome;
use crate::place::Place;

/// Answers `/metrics`, `/healthz` and `/readyz` until the shutdown signal, where the configuration names an
/// address.
pub(crate) async fn serve(place: &Place, shutdown: &Shutdown) -> Outcome<()> {
    let (Some(address), Some(metrics)) = (place.config.telemetry.metrics, &place.metrics) else {
        return Ok(());
    };
    let backend = Arc::new(place.backend.clone());
    let ready = move || missing(Arc::clone(&backend));
    let served = http::serve(address, metrics.clone(), ready, shutdown.clone()).await;
    let served = served.map_err(|error| error.fault())?;
    tracing::info!(address = %served.address, "serving /metrics, /healthz and /readyz");
    Ok(())
}

/// The ports that do not answer.
async fn missing(backend: Arc<Backend>) -> Vec<String> {
    let any = JobFilter { limit: 1, ..JobFilter::default() };
    let (store, catalog) = tokio::join!(backend.store.list(&any), backend.catalog.hosts());
    let store = store.err().map(|error| format!("job store: {error}"));
    let catalog = catalog.err().map(|error| format!("catalogue: {error}"));
    store.into_iter().chain(catalog).collect()
}
