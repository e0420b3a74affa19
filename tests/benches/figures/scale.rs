//! 10,000 VMs on 200 simulated hosts of two slots each, all due at once, on twenty workers: how near the whole
//! comes to the time that the hosts' slots allow. Scheduler, workers and servers share this machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use drs_lab_servers::Redis;
use drs_model::JobSpec;
use drs_runtime::Shutdown;
use drs_scheduler::{Scheduler, SchedulerConfig};
use drs_tests::fleet::{Fleet, Reach, host, submit_all};
use drs_worker::WorkerConfig;
use tokio::task::JoinSet;

use crate::numbers::seconds;
use crate::table::Table;

const HOSTS: usize = 200;
const VMS_PER_HOST: usize = 50;
const SLOTS_PER_HOST: u32 = 2;
const WORKERS: usize = 20;
/// A few more than the hosts have: a worker that finds a host busy needs a slot for a moment.
const SLOTS_PER_WORKER: usize = 24;
/// How long each backup reads.
const BACKUP: Duration = Duration::from_secs(16);
const LOOK: Duration = Duration::from_millis(200);
/// Times the ideal after which the bench gives up.
const PATIENCE: u32 = 3;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    table.section(
        "scale: 10,000 VMs on 200 simulated hosts of 2 slots, backups of 16 s, 20 workers",
    );
    runtime.block_on(async {
        let fleet = Fleet::start("")?;
        let reach = fleet.reach();
        let shutdown = Shutdown::new();
        let roles = roles(&reach, &shutdown).await?;
        let run = run(&reach, &fleet.redis).await?;
        shutdown.stop();
        roles.join_all().await;
        let ideal = BACKUP * u32::try_from(VMS_PER_HOST)? / SLOTS_PER_HOST;
        table.note("all submitted after", format!("{:.1} s", seconds(run.submitted)));
        table.note("time that the slots of the hosts allow", format!("{:.1} s", seconds(ideal)));
        table.at_most("makespan", seconds(run.over), seconds(ideal) * 1.03, "s");
        table.note(
            "makespan as part of the ideal",
            format!("{:.3}", seconds(run.over) / seconds(ideal)),
        );
        anyhow::Ok(())
    })
}

/// Times since the first submission.
struct Run {
    submitted: Duration,
    over: Duration,
}

async fn roles(reach: &Reach, shutdown: &Shutdown) -> Result<JoinSet<()>> {
    let mut roles = JoinSet::new();
    let scheduler = Scheduler::new(SchedulerConfig::named("scheduler"), reach.backend().await?);
    roles.spawn(scheduler.run(shutdown.clone()));
    for number in 0..WORKERS {
        let mut config = WorkerConfig::named(format!("worker-{number}"));
        config.slots = SLOTS_PER_WORKER;
        let (worker, shutdown) = (reach.worker(config, None).await?, shutdown.clone());
        roles.spawn(async move {
            worker.run(shutdown).await;
        });
    }
    Ok(roles)
}

async fn run(reach: &Reach, redis: &Redis) -> Result<Run> {
    let backend = reach.backend().await?;
    let description = format!("vms={VMS_PER_HOST},disk_mib=1,backup_ms={}", BACKUP.as_millis());
    for number in 0..HOSTS {
        let host = host(&format!("host-{number}"), &description, SLOTS_PER_HOST)?;
        backend.catalog.add_host(&host).await?;
    }
    let jobs: Result<Vec<(String, JobSpec)>> = (1..=VMS_PER_HOST)
        .flat_map(|vm| (0..HOSTS).map(move |host| format!("host-{host}/vm-{vm:03}")))
        .map(|vm| Ok((vm.clone(), JobSpec::backup(vm.parse()?))))
        .collect();
    let jobs = jobs?;
    let all = jobs.len();
    let began = Instant::now();
    submit_all(&backend, jobs).await?;
    let submitted = began.elapsed();
    let patience = BACKUP * u32::try_from(VMS_PER_HOST)? / SLOTS_PER_HOST * PATIENCE;
    while in_phase(redis, "succeeded")? < all {
        ensure!(in_phase(redis, "failed")? == 0, "a backup failed");
        ensure!(began.elapsed() < patience, "{} are over", in_phase(redis, "succeeded")?);
        tokio::time::sleep(LOOK).await;
    }
    Ok(Run { submitted, over: began.elapsed() })
}

fn in_phase(redis: &Redis, phase: &str) -> Result<usize> {
    redis.cli(&["ZCARD", &format!("{{drs}}:phase:{phase}")]).trim().parse().context("a number")
}
