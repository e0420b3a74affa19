//! A cluster on this machine: real RabbitMQ, Redis and PostgreSQL, and roles as processes that can be killed.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use drs_lab_servers::{PASSWORD, Postgres, Proxy, RabbitMq, Redis, USER};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::engine::{Interval, journal};
use crate::product::{Installation, wait_for};

/// The servers of a cluster and an installation that names them; roles are started as they are wanted.
pub struct Cluster {
    /// Hands jobs out.
    pub rabbitmq: RabbitMq,
    /// Where jobs stand.
    pub redis: Redis,
    /// Hosts, pairs, schedules, jobs of the past.
    pub postgres: Postgres,
    drs: Installation,
}

/// What stands in `drs.toml` of a cluster beside its servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// Seconds of a lease; 60 when `None`.
    pub lease_seconds: Option<u32>,
    /// Seconds for which a leading scheduler is trusted; 15 when `None`.
    pub leader_seconds: Option<u32>,
    /// Jobs of a worker at one time; 4 when `None`.
    pub slots: Option<u32>,
    /// Where spans go.
    pub otlp: Option<&'a str>,
}

impl Cluster {
    /// Fresh servers and a fresh installation; no role runs yet.
    pub fn start(settings: Settings<'_>) -> Self {
        let rabbitmq = RabbitMq::start();
        let redis = Redis::start();
        let postgres = Postgres::start();
        let cluster = Self { rabbitmq, redis, postgres, drs: Installation::new() };
        cluster.configure(
            settings,
            [cluster.rabbitmq.port(), cluster.redis.port(), cluster.postgres.port()],
        );
        cluster
    }

    /// Writes `drs.toml` anew: where RabbitMQ, Redis and PostgreSQL are reached, and the settings.
    pub fn configure(&self, settings: Settings<'_>, ports: [u16; 3]) {
        let secret = self.drs.path().join("password");
        std::fs::write(&secret, PASSWORD).expect("a password");
        let secret = secret.display();
        let [amqp, redis, postgres] = urls(ports);
        let mut text = format!(
            "[cluster]\n\
             amqp = \"{amqp}\"\n\
             amqp_password_file = \"{secret}\"\n\
             redis = \"{redis}\"\n\
             postgres = \"{postgres}\"\n\
             postgres_password_file = \"{secret}\"\n"
        );
        text.push_str("[worker]\n");
        if let Some(seconds) = settings.lease_seconds {
            text.push_str(&format!("lease_seconds = {seconds}\n"));
        }
        if let Some(slots) = settings.slots {
            text.push_str(&format!("slots = {slots}\n"));
        }
        if let Some(seconds) = settings.leader_seconds {
            text.push_str(&format!("[scheduler]\nlease_seconds = {seconds}\n"));
        }
        if let Some(endpoint) = settings.otlp {
            text.push_str(&format!("[telemetry]\notlp = \"{endpoint}\"\n"));
        }
        std::fs::write(self.drs.path().join("drs.toml"), text).expect("a configuration");
    }

    /// The servers as the environment of a process names them.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        let (amqp, redis, postgres) =
            (self.rabbitmq.port(), self.redis.port(), self.postgres.port());
        let postgres = format!("postgres://{USER}@127.0.0.1:{postgres}/{USER}?sslmode=disable");
        [
            ("DRS_AMQP_URL", format!("amqp://{USER}@127.0.0.1:{amqp}/%2f")),
            ("DRS_AMQP_PASSWORD", PASSWORD.into()),
            ("DRS_REDIS_URL", format!("redis://127.0.0.1:{redis}")),
            ("DRS_POSTGRES_URL", postgres),
            ("DRS_POSTGRES_PASSWORD", PASSWORD.into()),
        ]
    }

    /// The installation: its commands work on the cluster.
    pub fn drs(&self) -> &Installation {
        &self.drs
    }

    /// Starts a role, for example `["worker"]`, and waits until it is ready.
    #[track_caller]
    pub fn role(&self, args: &[&str]) -> Role {
        let role = self.begin(args);
        role.ready();
        role
    }

    /// Starts a role.
    pub fn begin(&self, args: &[&str]) -> Role {
        self.begin_with(args, &[])
    }

    /// Starts a role with variables in its environment.
    pub fn begin_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Role {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = self.drs.path().join(format!("{}-{number}.log", args.join("")));
        let file = File::create(&log).expect("a log");
        let mut command: Command = self.drs.command(args);
        command.envs(variables.iter().copied());
        command.stdout(file.try_clone().expect("a log")).stderr(file);
        Role { child: command.spawn().expect("drs starts"), log }
    }

    /// A network of its own between a role and RabbitMQ, Redis and PostgreSQL.
    pub fn network(&self) -> Network {
        let servers = [self.rabbitmq.port(), self.redis.port(), self.postgres.port()];
        let [amqp, redis, postgres] = servers.map(Proxy::to);
        Network { amqp, redis, postgres }
    }

    /// Adds a simulated host.
    #[track_caller]
    pub fn simulated(&self, name: &str, site: &str, address: &str) {
        let args =
            ["host", "add", name, "--driver", "simulated", "--site", site, "--address", address];
        self.drs.run(&args).ok();
    }

    /// Submits what a command asks for and returns the job's id.
    #[track_caller]
    pub fn submit(&self, args: &[&str]) -> String {
        let job = self.drs.json(&[args, &["--detach"]].concat());
        job["id"].as_str().expect("an id").to_owned()
    }

    /// What the hosts wrote down about a VM: see [`journal`].
    #[track_caller]
    pub fn journal(&self, host: &str, vm: &str) -> Vec<Interval> {
        let file = self.drs.path().join(format!("simulated/{host}.journal/{vm}"));
        journal(&file).expect("a journal")
    }

    /// What every process has said.
    #[track_caller]
    pub fn logs(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.drs.path()).expect("a directory");
        let paths = files.map(|file| file.expect("a file").path());
        let logs = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        logs.map(|log| std::fs::read_to_string(log).expect("a log")).collect()
    }

    /// Every job that there is, at most 1,000.
    #[track_caller]
    pub fn jobs(&self) -> Vec<Value> {
        let jobs = self.drs.json(&["job", "list", "--limit", "1000"]);
        jobs.as_array().expect("a list").clone()
    }
}

/// Where RabbitMQ, Redis and PostgreSQL are reached.
fn urls([amqp, redis, postgres]: [u16; 3]) -> [String; 3] {
    [
        format!("amqp://{USER}@127.0.0.1:{amqp}/%2f"),
        format!("redis://127.0.0.1:{redis}"),
        format!("postgres://{USER}@127.0.0.1:{postgres}/{USER}?sslmode=disable"),
    ]
}

/// The lines of one process to its servers.
pub struct Network {
    /// To RabbitMQ.
    pub amqp: Proxy,
    /// To Redis.
    pub redis: Proxy,
    /// To PostgreSQL.
    pub postgres: Proxy,
}

impl Network {
    /// The lines, in the order in which they stand here.
    pub fn lines(&self) -> [&Proxy; 3] {
        [&self.amqp, &self.redis, &self.postgres]
    }

    /// Starts a role that has this network.
    pub fn begin(&self, cluster: &Cluster, args: &[&str]) -> Role {
        let [amqp, redis, postgres] = urls(self.lines().map(Proxy::port));
        let variables = [
            ("DRS_AMQP_URL", &*amqp),
            ("DRS_REDIS_URL", &*redis),
            ("DRS_POSTGRES_URL", &*postgres),
        ];
        cluster.begin_with(args, &variables)
    }
}

/// A process of the cluster; it is killed with this value.
pub struct Role {
    child: Child,
    log: PathBuf,
}

impl Role {
    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it is ready.
    #[track_caller]
    pub fn ready(&self) {
        wait_for("a role is ready", || {
            let log = self.log();
            assert!(!log.contains("error:"), "{log}");
            log.contains("is ready").then_some(())
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits until it is killed, at a crash point or otherwise.
    #[track_caller]
    pub fn killed(mut self) {
        let status = wait_for("a role is killed", || self.child.try_wait().expect("a child"));
        assert_eq!(status.signal(), Some(9), "{status}: {}", self.log());
    }

    /// Asks it to end in order.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Stops it in the middle of whatever it does; it does not know.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it in order and tells how long that took.
    pub fn terminate(mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        self.child.wait().expect("reaped");
        begun.elapsed()
    }

    /// Waits until it ends of itself, and returns its exit code.
    #[track_caller]
    pub fn ended(mut self) -> Option<i32> {
        wait_for("a role ends", || self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
