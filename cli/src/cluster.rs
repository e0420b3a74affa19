//! What differs in a cluster: commands watch while workers run the jobs, and roles are processes of their own.

use drs_model::{Fault, Job, JobId};
use drs_runtime::config::ClusterSection;
use drs_runtime::{Shutdown, clock, environment, signals};

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::place::Place;
use crate::{servers, watch, watched};

/// The cluster that a command cannot do without.
pub(crate) fn demanded<'p>(place: &'p Place, command: &str) -> Outcome<&'p ClusterSection> {
    place.config.cluster.as_ref().ok_or_else(|| {
        Failure::invalid(
            format!("`{command}` works on a cluster, and none is configured"),
            "Name its servers in [cluster] of drs.toml, or in DRS_AMQP_URL, DRS_REDIS_URL and \
             DRS_POSTGRES_URL; on one machine `drs serve` does everything.",
        )
    })
}

/// Begins a role: it listens to signals, can be watched, and waits for the servers of the cluster. Returns its
/// name, which no process had before it; `None` when it was told to end before the servers were there.
pub(crate) async fn begin(
    place: &Place,
    role: &str,
    shutdown: &Shutdown,
    patience: Patience,
) -> Outcome<Option<String>> {
    signals::stop_on_signals(shutdown.clone(), || tracing::info!("handing over"))
        .map_err(|error| Fault::internal(format!("no signal handlers: {error}")))?;
    watched::serve(place, shutdown).await?;
    let ready = async {
        match patience {
            Patience::Endless => servers::wait(&place.servers).await,
            Patience::None => servers::reach(&place.servers).await,
        }
    };
    tokio::select! {
        biased;
        () = shutdown.stopping() => return Ok(None),
        ready = ready => ready?,
    }
    let (machine, process) = (environment::machine_name(), std::process::id());
    Ok(Some(format!("{role}-{machine}-{process}-{:x}", clock::now().as_millisecond())))
}

/// What a role does while a server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It waits.
    Endless,
    /// It ends.
    None,
}

/// Watches a job until it is over. `None` when the user interrupted; the job goes on.
pub(crate) async fn see_through(place: &Place, output: Output, id: JobId) -> Outcome<Option<Job>> {
    let shutdown = Shutdown::new();
    signals::stop_on_signals(shutdown.clone(), || ())
        .map_err(|error| Fault::internal(format!("no signal handlers: {error}")))?;
    tokio::select! {
        job = watch::until_over(place, output, id) => job.map(Some),
        () = shutdown.stopping() => {
            output.say(&format!("interrupted: job {id} goes on; see `drs job show {id}`"));
            Ok(None)
        }
    }
}
