//! One long command on a remote host: what is left of it when a worker is killed half way, or when it takes
//! longer than the broker waits for an acknowledgement.
//!
//! Both sides start the same script over the same sshd. It goes on when its SSH connection ends, as `vzdump`
//! does, and writes down when it began and ended: what is counted is what happened on the host. Celery
//! (durable) runs `ssh` in a task; ours is the check of a restore, a detached step under the host's guard.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use drs_backend::Backend;
use drs_model::{Job, JobId, JobSpec, RestoreTarget, SignedDuration, Timestamp, Transfer};
use drs_runtime::Shutdown;
use drs_scheduler::{Scheduler, SchedulerConfig};
use drs_tests::fleet::{Fleet, Login, Reach, Sshd, host, submit_all};
use drs_transport::Argv;
use drs_worker::WorkerConfig;

use crate::celery::{Celery, Setting};
use crate::process::Process;
use crate::record::Record;
use crate::redis::Counter;
use crate::table::Row;

const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);
/// Writes down its begin and its end.
const SCRIPT: &str = "\
echo \"start $(date +%s%3N)\" >>\"$1\"
sleep \"$2\"
echo \"end $(date +%s%3N)\" >>\"$1\"
";

/// What is done to the worker, and for how long one looks.
pub(crate) struct Plan {
    name: &'static str,
    /// Length of the command.
    command: Duration,
    /// Whether the worker is killed half way.
    kill: bool,
    rabbitmq_conf: &'static str,
    /// How long the host is watched after the first begin.
    watch: Duration,
    /// How long a job of ours stays with a worker that gives no sign of life.
    lease: SignedDuration,
}

impl Plan {
    /// A worker is killed half way.
    pub(crate) fn crash(quick: bool) -> Self {
        let (command, watch, lease) = if quick { (10, 40, 9) } else { (60, 180, 60) };
        Self {
            name: "worker killed half way",
            command: Duration::from_secs(command),
            kill: true,
            rabbitmq_conf: "",
            watch: Duration::from_secs(watch),
            lease: SignedDuration::from_secs(lease),
        }
    }

    /// The broker waits 60 s for an acknowledgement (it looks once a minute, so up to 120 s).
    pub(crate) fn timeout(quick: bool) -> Self {
        let (command, watch) = if quick { (150, 170) } else { (300, 600) };
        Self {
            name: "ack time-out of 60 s",
            command: Duration::from_secs(command),
            kill: false,
            rabbitmq_conf: "consumer_timeout = 60000",
            watch: Duration::from_secs(watch),
            lease: SignedDuration::from_secs(60),
        }
    }
}

/// Runs both sides at one time: they do nothing but wait.
pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let fleet = Fleet::start(plan.rabbitmq_conf)?;
    let sshd = Sshd::start()?;
    std::fs::write(sshd.path("remote.sh"), SCRIPT)?;
    let (celery, drs) = std::thread::scope(|scope| {
        let celery = scope.spawn(|| celery(plan, &fleet, &sshd));
        let drs =
            scope.spawn(|| tokio::runtime::Runtime::new()?.block_on(drs(plan, &fleet, &sshd)));
        (celery.join(), drs.join())
    });
    let [celery, drs] = [celery, drs].map(|side| side.expect("a side panicked"));
    let (celery, drs) = (celery?, drs?);
    let row = |what: &str, tell: fn(&Record) -> String| {
        let name = format!("{}: {what}", plan.name);
        Row::new(name, [String::new(), tell(&celery), tell(&drs)])
    };
    let length = format!("command of {} s", plan.command.as_secs());
    Ok(vec![
        Row::new(
            format!("{}: lease of a job", plan.name),
            [String::new(), String::new(), format!("{} s", plan.lease.as_secs())],
        ),
        row(&format!("{length}: remote starts"), |record| record.starts().to_string()),
        row("two at one time, seconds", |record| format!("{:.1}", record.overlap())),
        row("reported over after, seconds", |record| match record.over() {
            Some(seconds) => format!("{seconds:.1}"),
            None => "not while watched".to_owned(),
        }),
    ])
}

fn command(sshd: &Sshd, record: &Path, plan: &Plan) -> Vec<String> {
    let script = sshd.path("remote.sh").display().to_string();
    let seconds = plan.command.as_secs().to_string();
    vec!["sh".to_owned(), script, record.display().to_string(), seconds]
}

fn celery(plan: &Plan, fleet: &Fleet, sshd: &Sshd) -> Result<Record> {
    let reach = fleet.reach();
    let broker = fleet.rabbitmq.fresh_vhost();
    let celery = Celery::new(Setting::Durable, broker, format!("{}/1", reach.redis_url()))?;
    let mut results = Counter::on(reach.redis, 1)?;
    let path = sshd.path("celery.record");
    let worker = |name: &str| celery.worker(name, 1, &reach.dir.join(format!("{name}.log")));
    let first = worker("first@localhost")?;
    let login = sshd.login()?;
    celery.remote(&format!(
        "ssh -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
         ssh://{} setsid --fork --wait {}",
        login.key_file.display(),
        login.address,
        command(sshd, &path, plan).join(" ")
    ))?;
    await_begin(&path)?;
    let _second = worker("second@localhost")?;
    watched(plan, &path, first, || Ok(results.count("DBSIZE")? > 0))
}

async fn drs(plan: &Plan, fleet: &Fleet, sshd: &Sshd) -> Result<Record> {
    let reach = Reach { amqp: fleet.rabbitmq.fresh_vhost(), ..fleet.reach() };
    let backend = reach.backend().await?;
    let shutdown = Shutdown::new();
    let scheduler = Scheduler::new(SchedulerConfig::named("scheduler"), reach.backend().await?);
    let scheduler = tokio::spawn(scheduler.run(shutdown.clone()));
    let hosts = "vms=1,disk_mib=1,backup_ms=1,restore_ms=1";
    backend.catalog.add_host(&host("lab", hosts, 4)?).await?;
    let path = sshd.path("drs.record");
    let login = Login {
        check: Some(Argv::new("setsid").args(["--wait"]).args(command(sshd, &path, plan))),
        ..sshd.login()?
    };
    let worker = |name: &str| child(&reach, &login, name, plan.lease);
    let first = worker("first")?;
    over(&backend, ("point", JobSpec::backup("lab/vm-001".parse()?))).await?;
    let target = RestoreTarget {
        vm: "lab/copy".parse()?,
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: false,
        start: false,
        replace: None,
        pair: None,
    };
    let point = JobId::from_key("point").into();
    let restore = JobSpec::Restore { point, target, transfer: Transfer::default() };
    submit_all(&backend, [("restore".to_owned(), restore)]).await?;
    tokio::task::block_in_place(|| await_begin(&path))?;
    let _second = worker("second")?;
    let store = std::sync::Arc::clone(&backend.store);
    let id = JobId::from_key("restore");
    let handle = tokio::runtime::Handle::current();
    let succeeded = move || {
        let job = handle.block_on(store.get(id))?.context("the restore")?;
        ensure!(job.fault.is_none(), "{:?}", job.fault);
        Ok(job.state.phase().as_str() == "succeeded")
    };
    let watched = tokio::task::block_in_place(|| watched(plan, &path, first, succeeded));
    shutdown.stop();
    scheduler.await?;
    watched
}

/// Watches the host, which has begun, and kills the first worker half way when that is the plan.
fn watched(
    plan: &Plan,
    path: &Path,
    first: Process,
    mut over: impl FnMut() -> Result<bool>,
) -> Result<Record> {
    let (begun, mut first, mut over_at) = (Instant::now(), Some(first), None);
    while begun.elapsed() < plan.watch {
        if plan.kill && begun.elapsed() >= plan.command / 2 {
            drop(first.take());
        }
        if over_at.is_none() && over()? {
            over_at = Some(Timestamp::now());
        }
        if over_at.is_some() && plan.kill && Record::read(path, over_at)?.is_quiet() {
            break;
        }
        std::thread::park_timeout(LOOK);
    }
    Record::read(path, over_at)
}

async fn over(backend: &Backend, (key, spec): (&str, JobSpec)) -> Result<()> {
    submit_all(backend, [(key.to_owned(), spec)]).await?;
    let asked = Instant::now();
    loop {
        let job: Job = backend.store.get(JobId::from_key(key)).await?.context("the job")?;
        if job.state.is_terminal() {
            ensure!(job.state.phase().as_str() == "succeeded", "{job:?}");
            return Ok(());
        }
        ensure!(asked.elapsed() < PATIENCE, "not over: {job:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the host has begun: the first worker, which is alone, has the job then.
fn await_begin(path: &Path) -> Result<()> {
    let asked = Instant::now();
    while !path.exists() {
        ensure!(asked.elapsed() < PATIENCE, "the command was not started");
        std::thread::park_timeout(LOOK);
    }
    Ok(())
}

/// A worker in a process of its own: this program again.
fn child(reach: &Reach, login: &Login, name: &str, lease: SignedDuration) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", name, &lease.as_secs().to_string(), &reach.amqp]);
    command.args([reach.redis.to_string(), reach.postgres.to_string()]).arg(&reach.dir);
    command.args([&login.address, &login.pinned]).arg(&login.key_file);
    command.args(login.check.iter().flat_map(Argv::parts)).stdin(Stdio::null());
    Process::start(&mut command, &reach.dir.join(format!("drs-{name}.log")))
}

/// What [`child`] has started.
pub(crate) fn worker(place: &[String]) -> Result<()> {
    let [name, lease, amqp, redis, postgres, dir, address, pinned, key_file, check @ ..] = place
    else {
        anyhow::bail!("a worker is started by the bench");
    };
    let reach = Reach {
        amqp: amqp.clone(),
        redis: redis.parse()?,
        postgres: postgres.parse()?,
        dir: PathBuf::from(dir),
    };
    let check = check.split_first().map(|(program, args)| Argv::new(program).args(args.to_vec()));
    let (address, pinned, key_file) = (address.clone(), pinned.clone(), PathBuf::from(key_file));
    let login = Login { address, key_file, pinned, check };
    let name = format!("{name}-{}", std::process::id());
    let config = WorkerConfig::named(name).with_lease(SignedDuration::from_secs(lease.parse()?));
    tokio::runtime::Runtime::new()?.block_on(async {
        reach.worker(config, Some(login)).await?.run(Shutdown::new()).await;
        Ok(())
    })
}
