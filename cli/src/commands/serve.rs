//! `drs serve`: all roles in one process.

use drs_model::Fault;
use drs_runtime::{Shutdown, signals};
use serde_json::json;

use crate::embedded::{EmbeddedWorker, Schedules};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::place::Place;
use crate::watched;

pub(super) async fn run(place: Place, output: Output) -> Outcome<Exit> {
    if place.config.cluster.is_some() {
        return Err(Failure::invalid(
            "`drs serve` works on this machine alone, and a cluster is configured",
            "Run `drs scheduler` and `drs worker`, or take the servers out of [cluster] and the environment.",
        ));
    }
    let _lock = place.dir.serve_lock()?;
    let shutdown = Shutdown::new();
    signals::stop_on_signals(shutdown.clone(), || tracing::info!("handing every job over"))
        .map_err(|error| Fault::internal(format!("no signal handlers: {error}")))?;
    watched::serve(&place, &shutdown).await?;
    let worker = EmbeddedWorker::start(&place, &shutdown, Schedules::Fire).await?;
    let (root, section) = (place.dir.root(), &place.config.worker);
    let document = json!({
        "ready": true,
        "data_dir": root,
        "process": std::process::id(),
        "slots": section.slots,
        "critical_slots": section.critical_slots,
    });
    output.answer(&document, || {
        format!(
            "drs serve is ready: {}, process {}, {} slots and {} for restores and power",
            root.display(),
            std::process::id(),
            section.slots,
            section.critical_slots
        )
    })?;
    shutdown.stopping().await;
    worker.ended().await?;
    output.say("drs serve has handed over and ends");
    Ok(Exit::Success)
}
