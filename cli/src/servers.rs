//! What the product keeps its state on, asked whether it answers: by a role before it starts, and by those
//! who watch it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drs_backend::BackendError;
use drs_model::FaultClass;
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Outcome;

/// Pause before a server is asked again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often it is said what a role waits for.
const REMIND: Duration = Duration::from_secs(60);
/// How long a server may take to say that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(4);

/// Something that no role can do without.
#[async_trait]
pub(crate) trait Server: Send + Sync {
    /// As errors name it.
    fn name(&self) -> String;

    /// Asks it whether it answers.
    async fn reach(&self) -> Result<(), BackendError>;
}

/// All of them.
pub(crate) type Servers = Arc<[Box<dyn Server>]>;

/// Asks each of them once.
///
/// # Errors
/// One of them cannot be used. One that no waiting changes is told rather than one that is away.
pub(crate) async fn reach(servers: &Servers) -> Outcome<()> {
    let asked = servers.iter().map(|server| async {
        match server.reach().await {
            Err(error) if passes(&error) => Ok(Some(error)),
            answer => answer.map(|()| None),
        }
    });
    match try_join_all(asked).await?.into_iter().flatten().next() {
        Some(away) => Err(away.into()),
        None => Ok(()),
    }
}

/// Waits until each of them has answered.
///
/// # Errors
/// One of them refuses us in a way that no waiting changes.
pub(crate) async fn wait(servers: &Servers) -> Outcome<()> {
    try_join_all(servers.iter().map(|server| wait_for(server.as_ref()))).await?;
    Ok(())
}

fn passes(error: &BackendError) -> bool {
    error.fault().class == FaultClass::Transient
}

async fn wait_for(server: &dyn Server) -> Result<(), BackendError> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    let mut told: Option<Instant> = None;
    loop {
        let error = match server.reach().await {
            Ok(()) => break,
            Err(error) => error,
        };
        if !passes(&error) {
            return Err(error);
        }
        if told.is_none_or(|told| told.elapsed() >= REMIND) {
            told = Some(Instant::now());
            let waited = began.elapsed().as_secs();
            let remedy = error.fault().remedy;
            tracing::warn!(waited_seconds = waited, "waiting: {error}; do: {remedy}");
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
    if told.is_some() {
        tracing::info!("{} answers after {:.1} s", server.name(), began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Those that do not answer, one line each.
pub(crate) async fn missing(servers: Servers) -> Vec<String> {
    let asked = servers.iter().map(|server| async move {
        match timeout(READY_LIMIT, server.reach()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => {
                let seconds = READY_LIMIT.as_secs();
                Some(format!("{} does not answer within {seconds} s", server.name()))
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}
