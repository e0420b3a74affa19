//! `drs api`

use drs_runtime::Shutdown;
use serde_json::json;

use crate::cluster::{self, Patience};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;

pub(super) async fn run(place: Place, output: Output) -> Outcome<Exit> {
    cluster::demanded(&place, "drs api")?;
    let shutdown = Shutdown::new();
    let begun = cluster::begin(&place, "api", &shutdown, Patience::Endless).await?;
    let Some(name) = begun else { return Ok(Exit::Success) };
    let document = json!({"ready": true, "api": name, "process": std::process::id()});
    output.answer(&document, || format!("drs api is ready: {}", name))?;
    shutdown.stopping().await;
    output.say("drs api ends");
    Ok(Exit::Success)
}
