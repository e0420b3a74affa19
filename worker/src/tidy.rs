//! What dead jobs left in the vault is removed.

use std::collections::BTreeSet;

use drs_backend::{Backend, JobFilter};
use drs_model::{Phase, PointId};
use drs_vault::Vault;

/// Removes from the vault what jobs left unfinished that are over and could not take it back (the
/// process died in the middle of that). Of jobs that are not known to be over, nothing is touched.
pub async fn tidy_vault(backend: &Backend, vault: &dyn Vault) {
    let over = JobFilter {
        phases: vec![Phase::Failed, Phase::Cancelled],
        limit: JobFilter::LIMIT_MAX,
        ..JobFilter::default()
    };
    let over: BTreeSet<PointId> = match backend.store.list(&over).await {
        Ok(jobs) => jobs.iter().map(|job| job.id.into()).collect(),
        Err(error) => return tracing::warn!(%error, "the vault is tidied at the next start"),
    };
    match vault.sweep_unfinished(&|point| !over.contains(&point)).await {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(bytes, "removed what dead jobs had left in the vault"),
        Err(error) => tracing::warn!(%error, "the vault is tidied at the next start"),
    }
}
