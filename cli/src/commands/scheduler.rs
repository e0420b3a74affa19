//! `drs scheduler`

use drs_runtime::Shutdown;
use drs_scheduler::Scheduler;
use serde_json::json;

use crate::cluster::{self, Patience};
use crate::embedded;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;

pub(super) async fn run(place: Place, output: Output) -> Outcome<Exit> {
    cluster::demanded(&place, "drs scheduler")?;
    let shutdown = Shutdown::new();
    let begun = cluster::begin(&place, "scheduler", &shutdown, Patience::Endless).await?;
    let Some(name) = begun else { return Ok(Exit::Success) };
    let config = embedded::scheduler_config(&place, &name);
    let document = json!({
        "ready": true,
        "scheduler": name,
        "process": std::process::id(),
    });
    output.answer(&document, || format!("drs scheduler is ready: {}", name))?;
    Scheduler::new(config, place.backend.clone()).run(shutdown).await;
    output.say("drs scheduler ends");
    Ok(Exit::Success)
}
