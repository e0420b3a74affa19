//! `drs worker`

use std::time::Duration;

use drs_model::{FaultClass, Job, Phase};
use drs_runtime::Shutdown;
use drs_worker::{Until, Worker, WorkerConfig, tidy_spool, tidy_vault};
use serde_json::json;

use crate::args::roles::WorkerArgs;
use crate::cluster::{self, Patience};
use crate::embedded;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::place::Place;
use crate::submission;

pub(super) async fn run(place: Place, output: Output, args: WorkerArgs) -> Outcome<Exit> {
    let section = cluster::demanded(&place, "drs worker")?;
    let vault = place.vault()?;
    let shutdown = Shutdown::new();
    let patience = if args.once { Patience::None } else { Patience::Endless };
    let begun = cluster::begin(&place, "worker", &shutdown, patience).await;
    let Some(name) = begun.map_err(|failure| later(&args, failure))? else {
        return Ok(if args.once { Exit::NothingDone } else { Exit::Success });
    };
    let config = WorkerConfig { until: until(&args), ..embedded::worker_config(&place, &name)? };
    let lanes: Vec<&str> = section.lanes.iter().map(|lane| lane.as_str()).collect();
    let document = json!({
        "ready": true,
        "worker": name,
        "process": std::process::id(),
        "lanes": lanes,
        "slots": config.slots,
        "critical_slots": config.critical_slots,
    });
    // What dead jobs left is not in the way of the first job.
    let tidying = tokio::spawn({
        let (backend, vault, spool) = (place.backend.clone(), vault.clone(), place.dir.spool());
        async move {
            tidy_vault(&backend, vault.as_ref()).await;
            tidy_spool(&backend, &spool).await;
        }
    });
    let worker = Worker::new(config, place.backend.clone(), place.drivers.clone(), vault);
    if !args.once {
        output.answer(&document, || {
            format!("drs worker is ready: {}, lanes {}", name, lanes.join(", "))
        })?;
    }
    let latest = worker.run(shutdown.clone()).await;
    tidying.abort();
    if !args.once {
        output.say("drs worker has handed over and ends");
        return Ok(Exit::Success);
    }
    match latest {
        None => {
            output.say("no job came in time");
            Ok(Exit::NothingDone)
        }
        Some(id) => {
            match place.backend.job(id).await.map_err(|error| later(&args, error.into()))? {
                Some(job) => told(&place, output, &job).await,
                None => Ok(Exit::NothingDone),
            }
        }
    }
}

/// For whom one job is to be run, a server that is away is a reason to come again.
fn later(args: &WorkerArgs, failure: Failure) -> Failure {
    if args.once && failure.fault.class == FaultClass::Transient {
        return Failure { exit: Exit::NothingDone, ..failure };
    }
    failure
}

fn until(args: &WorkerArgs) -> Until {
    let idle = args.idle_exit.map(Duration::from_secs);
    match (args.once, idle) {
        (true, idle) => Until::OneJob(idle),
        (false, Some(idle)) => Until::Idle(idle),
        (false, None) => Until::Told,
    }
}

/// What became of the one job that was taken.
async fn told(place: &Place, output: Output, job: &Job) -> Outcome<Exit> {
    let phase = job.state.phase();
    if phase.is_terminal() || phase == Phase::NeedsOperator {
        return submission::ended(place, output, job).await;
    }
    output.say(&format!("job {} is not over: it is {phase}, another worker goes on", job.id));
    Ok(Exit::NothingDone)
}
