//! The worker inside this process: of `drs serve`, beside a scheduler, and of a command that runs its job
//! itself. Such a command looks after jobs that nobody drives, but fires no schedule: it is there for its
//! own job, and ends with it.

use std::time::Duration;

use drs_backend::{Backend, JobFilter};
use drs_model::{Fault, Job, JobId, Phase, SignedDuration};
use drs_runtime::{DataDir, Shutdown, WorkerLock, clock, signals};
use drs_scheduler::{Scheduler, SchedulerConfig, UpkeepPace, upkeep};
use drs_worker::{Worker, WorkerConfig, tidy_spool, tidy_vault};
use tokio::task::JoinHandle;

use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::watch;

/// How often workers whose process died are looked for, and whether `drs serve` still runs.
const LOOK: Duration = Duration::from_secs(2);

/// What a job does whose command was interrupted.
const GOES_ON: &str = "continues when `drs serve` or the next drs command that runs jobs starts";

/// Whether this process fires schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedules {
    /// It does: `drs serve`.
    Fire,
    /// It does not: a command that runs its own job.
    Rest,
}

/// A worker with a scheduler, or with the upkeep alone, running in tasks of this process.
pub(crate) struct EmbeddedWorker {
    name: String,
    tasks: Vec<JoinHandle<()>>,
    _lock: WorkerLock,
}

impl EmbeddedWorker {
    /// Starts one; what workers left that were killed is taken over at once.
    pub(crate) async fn start(
        place: &Place,
        shutdown: &Shutdown,
        schedules: Schedules,
    ) -> Outcome<Self> {
        let vault = place.vault()?;
        let name = format!("drs-{}-{:x}", std::process::id(), clock::now().as_millisecond());
        let lock = place.dir.worker_lock(&name)?;
        bury(&place.backend, &place.dir).await?;
        tidy_vault(&place.backend, vault.as_ref()).await;
        tidy_spool(&place.backend, &place.dir.spool()).await;
        let worker = Worker::new(
            worker_config(place, &name)?,
            place.backend.clone(),
            place.drivers.clone(),
            vault,
        );
        let until = shutdown.clone();
        let tasks = vec![
            tokio::spawn(async move {
                worker.run(until).await;
            }),
            keeper(place, &name, shutdown.clone(), schedules),
            tokio::spawn(undertaker(place.backend.clone(), place.dir.clone(), shutdown.clone())),
        ];
        Ok(Self { name, tasks, _lock: lock })
    }

    /// Waits until it has ended, after the shutdown signal.
    pub(crate) async fn ended(self) -> Outcome<()> {
        for task in self.tasks {
            task.await.map_err(|error| Fault::internal(format!("a worker task died: {error}")))?;
        }
        Ok(())
    }

    /// The jobs that it drives now.
    async fn jobs(&self, backend: &Backend) -> Outcome<Vec<Job>> {
        let driven = JobFilter {
            phases: vec![Phase::Claimed, Phase::Running, Phase::Cancelling],
            limit: JobFilter::LIMIT_MAX,
            ..JobFilter::default()
        };
        let mut jobs = backend.store.list(&driven).await?;
        jobs.retain(|job| job.state.lease().is_some_and(|lease| lease.worker == self.name));
        Ok(jobs)
    }
}

fn keeper(place: &Place, name: &str, shutdown: Shutdown, schedules: Schedules) -> JoinHandle<()> {
    let backend = place.backend.clone();
    match schedules {
        Schedules::Fire => {
            let scheduler = Scheduler::new(scheduler_config(place, name), backend);
            tokio::spawn(scheduler.run(shutdown))
        }
        Schedules::Rest => tokio::spawn(upkeep(backend, UpkeepPace::default(), shutdown)),
    }
}

/// The scheduler that the configuration asks for.
pub(crate) fn scheduler_config(place: &Place, name: &str) -> SchedulerConfig {
    let lease = SignedDuration::from_secs(i64::from(place.config.scheduler.lease_seconds));
    SchedulerConfig { lease, ..SchedulerConfig::named(name) }
}

/// The worker that the configuration asks for.
pub(crate) fn worker_config(place: &Place, name: &str) -> Outcome<WorkerConfig> {
    let section = &place.config.worker;
    let lease = SignedDuration::from_secs(i64::from(section.lease_seconds));
    let mut config = WorkerConfig::named(name).with_lease(lease);
    config.slots = section.slots;
    config.critical_slots = section.critical_slots;
    config.pace.attempts_max = section.attempts_max;
    config.spool = place.dir.spool();
    config.rsh_program = std::env::current_exe()
        .map_err(|error| Fault::internal(format!("this program does not find itself: {error}")))?;
    Ok(config)
}

/// Sees a job through: watches it while `drs serve` runs, else runs it here. `None` when the user
/// interrupted; the job then goes on elsewhere or later.
pub(crate) async fn see_through(place: &Place, output: Output, id: JobId) -> Outcome<Option<Job>> {
    if let Some(job) = place.backend.store.get(id).await?
        && job.state.is_terminal()
    {
        return Ok(Some(job));
    }
    let shutdown = Shutdown::new();
    signals::stop_on_signals(shutdown.clone(), || ())
        .map_err(|error| Fault::internal(format!("no signal handlers: {error}")))?;
    if place.dir.is_served()? {
        tokio::select! {
            job = watch::until_over(place, output, id) => return job.map(Some),
            () = shutdown.stopping() => {
                output.say(&format!("interrupted: job {id} goes on in `drs serve`"));
                return Ok(None);
            }
            unserved = until_unserved(&place.dir) => unserved?,
        }
        output.say("`drs serve` has ended: this command goes on with the job");
    }
    let worker = EmbeddedWorker::start(place, &shutdown, Schedules::Rest).await?;
    let job = tokio::select! {
        job = watch::until_over(place, output, id) => Some(job),
        () = shutdown.stopping() => None,
    };
    if job.is_some() {
        leave(worker, place, output, &shutdown).await?;
    } else {
        output.say("interrupted: handing over");
        worker.ended().await?;
        output.say(&format!("job {id} {GOES_ON}"));
    }
    job.transpose()
}

/// Takes no more jobs and finishes those of other commands that it took on meanwhile.
async fn leave(
    worker: EmbeddedWorker,
    place: &Place,
    output: Output,
    shutdown: &Shutdown,
) -> Outcome<()> {
    shutdown.drain();
    for job in worker.jobs(&place.backend).await? {
        output.say(&format!(
            "your job is over; also finishing {} of {} (job {}) first: commands that run at one \
             time share their jobs, nothing is wrong; Ctrl-C hands it over unharmed",
            job.spec.kind(),
            job.spec.subject(),
            job.id
        ));
    }
    worker.ended().await?;
    if shutdown.is_stopping() {
        output.say(&format!("handed over; what was not finished {GOES_ON}"));
    }
    Ok(())
}

async fn until_unserved(dir: &DataDir) -> Outcome<()> {
    while dir.is_served()? {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Ends the leases of workers whose process is gone, and the term of a scheduler that died with one.
async fn bury(backend: &Backend, dir: &DataDir) -> Outcome<()> {
    for worker in dir.dead_workers()? {
        let jobs = backend.store.bury(clock::now(), worker.name()).await?;
        backend.store.resign(clock::now(), worker.name()).await?;
        if jobs > 0 {
            tracing::info!(worker = worker.name(), jobs, "a worker died; its jobs are taken over");
            tracing::info!(target: "drs::metric", name = "drs_takeovers_total", value = jobs);
        }
        worker.buried();
    }
    Ok(())
}

/// Looks for dead workers until no new jobs are to be taken.
async fn undertaker(backend: Backend, dir: DataDir, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(failure) = bury(&backend, &dir).await {
            tracing::warn!(error = %failure.fault, "dead workers cannot be looked for now");
        }
    }
}
