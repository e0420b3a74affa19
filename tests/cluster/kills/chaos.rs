//! Processes that are killed and frozen, servers that are killed and emptied, lines that are cut: one fault
//! after the other, by chance.

use std::collections::HashMap;
use std::fmt;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use drs_lab_servers::Server;
use drs_tests::cluster::{Cluster, Network, Role};
use drs_tests::dice::Dice;

/// Time between two faults.
const PACE: Duration = Duration::from_millis(1200);
/// How long a process that ended of itself is waited with.
const RESTART: Duration = Duration::from_secs(1);
/// Who works; the first of each has a network of its own.
const WORKERS: usize = 5;
const SCHEDULERS: usize = 2;

/// What was done.
#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    workers_killed: usize,
    schedulers_killed: usize,
    servers_killed: usize,
    frozen: usize,
    cut: usize,
    flushed: usize,
    /// Processes that ended of themselves since a server was away when they started.
    ended: usize,
    /// When Redis was emptied last.
    pub(super) flushed_at: Option<Instant>,
}

impl Figures {
    fn kills(&self) -> usize {
        self.workers_killed + self.schedulers_killed + self.servers_killed
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            workers_killed, schedulers_killed, servers_killed, frozen, cut, flushed, ..
        } = self;
        write!(
            out,
            "{} kills ({workers_killed} of workers, {schedulers_killed} of schedulers, {servers_killed} of \
             servers), {frozen} freezes, {cut} cut lines, {flushed} times Redis emptied; {} starts in vain",
            self.kills(),
            self.ended,
        )
    }
}

/// The place of a process: as soon as one is gone, the next one starts.
struct Seat {
    args: &'static [&'static str],
    network: Option<Network>,
    role: Role,
    thaws: Option<Instant>,
    heals: Option<Instant>,
    /// When the next one starts in place of one that ended of itself.
    starts: Option<Instant>,
}

impl Seat {
    fn taken(cluster: &Cluster, args: &'static [&'static str], network: Option<Network>) -> Self {
        let role = Self::start(cluster, args, network.as_ref());
        Self { args, network, role, thaws: None, heals: None, starts: None }
    }

    fn start(cluster: &Cluster, args: &[&str], network: Option<&Network>) -> Role {
        match network {
            Some(network) => network.begin(cluster, args),
            None => cluster.begin(args),
        }
    }

    fn replace(&mut self, cluster: &Cluster) -> Role {
        (self.thaws, self.starts) = (None, None);
        let next = Self::start(cluster, self.args, self.network.as_ref());
        std::mem::replace(&mut self.role, next)
    }

    fn wake(&mut self) {
        self.thaws = None;
        self.role.thaw();
    }

    fn heal(&mut self) {
        self.heals = None;
        for line in self.network.iter().flat_map(Network::lines) {
            line.heal();
        }
    }
}

/// Servers that were killed or frozen, by name, on their way back.
type Felled<'scope> = HashMap<&'static str, ScopedJoinHandle<'scope, ()>>;

/// All processes of a cluster, and what befalls them.
pub(super) struct Chaos<'a> {
    cluster: &'a Cluster,
    dice: Dice,
    seats: Vec<Seat>,
    figures: Figures,
}

impl<'a> Chaos<'a> {
    /// Starts all processes.
    pub(super) fn begin(cluster: &'a Cluster, dice: Dice) -> Self {
        let mut seats = Vec::new();
        for (args, count) in [(&["worker"] as &[&str], WORKERS), (&["scheduler"], SCHEDULERS)] {
            for n in 0..count {
                seats.push(Seat::taken(cluster, args, (n == 0).then(|| cluster.network())));
            }
        }
        seats.iter().for_each(|seat| seat.role.ready());
        Self { cluster, dice, seats, figures: Figures::default() }
    }

    /// One fault after the other until so many processes were killed.
    pub(super) fn rage<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, kills: usize)
    where
        'a: 'scope,
    {
        let mut felled = Felled::new();
        for n in 0.. {
            if self.figures.kills() >= kills {
                return;
            }
            let next = Instant::now() + PACE;
            match n % 20 {
                4 => self.fell(scope, &mut felled, &self.cluster.redis, "Redis"),
                9 => self.fell(scope, &mut felled, &self.cluster.rabbitmq, "RabbitMQ"),
                14 => self.fell(scope, &mut felled, &self.cluster.postgres, "PostgreSQL"),
                19 => self.empty_redis(),
                _ => self.strike(),
            }
            while Instant::now() < next {
                self.tend(false);
                thread::park_timeout(Duration::from_millis(100));
            }
        }
    }

    /// Kills or freezes a process, or cuts a line.
    fn strike(&mut self) {
        let (chance, time) = (self.dice.between(0..100), self.dice.between(1000..9000));
        let until = Instant::now() + Duration::from_millis(time);
        let line = self.dice.between(0..3) as usize;
        match chance {
            0..80 => self.kill(),
            80..92 => {
                let Some(n) = self.somebody() else { return };
                self.seats[n].role.freeze();
                self.seats[n].thaws = Some(until);
                self.figures.frozen += 1;
            }
            _ => {
                let of = *self.dice.pick(&[0, WORKERS]);
                let severed = self.dice.percent(30);
                let seat = &mut self.seats[of];
                seat.heal();
                if let Some(network) = &seat.network {
                    let line = network.lines()[line];
                    if severed { line.sever() } else { line.cut() }
                }
                seat.heals = Some(until);
                self.figures.cut += 1;
            }
        }
    }

    fn kill(&mut self) {
        let Some(n) = self.somebody() else { return };
        let seat = &mut self.seats[n];
        match seat.args[0] {
            "worker" => self.figures.workers_killed += 1,
            _ => self.figures.schedulers_killed += 1,
        }
        seat.replace(self.cluster).kill();
    }

    /// The seat of a process that lives.
    fn somebody(&mut self) -> Option<usize> {
        let seats = self.seats.iter_mut().enumerate();
        let living = seats.filter_map(|(n, seat)| (!seat.role.is_over()).then_some(n));
        let living: Vec<usize> = living.collect();
        (!living.is_empty()).then(|| *self.dice.pick(&living))
    }

    /// Kills a server, or stops its time; it is back after a moment.
    fn fell<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        felled: &mut Felled<'scope>,
        server: &'scope Server,
        name: &'static str,
    ) {
        if felled.get(name).is_some_and(|returning| !returning.is_finished()) {
            return;
        }
        let time = Duration::from_millis(self.dice.between(100..5000));
        let killed = self.dice.percent(70);
        println!("{name} is {} for {time:?}", if killed { "killed" } else { "frozen" });
        if killed {
            self.figures.servers_killed += 1;
            server.kill();
        } else {
            self.figures.frozen += 1;
            server.freeze();
        }
        let returning = scope.spawn(move || {
            thread::sleep(time);
            if killed { server.restart() } else { server.thaw() }
        });
        felled.insert(name, returning);
    }

    fn empty_redis(&mut self) {
        self.cluster.redis.cli(&["FLUSHALL"]);
        self.figures.flushed += 1;
        self.figures.flushed_at = Some(Instant::now());
    }

    /// Wakes and heals what is due, or everything, and fills empty seats.
    fn tend(&mut self, everything: bool) {
        let now = Instant::now();
        for seat in &mut self.seats {
            if seat.thaws.is_some_and(|at| everything || at <= now) && !seat.role.is_over() {
                seat.wake();
            }
            if seat.heals.is_some_and(|at| everything || at <= now) {
                seat.heal();
            }
            if seat.starts.is_some_and(|at| everything || at <= now) {
                drop(seat.replace(self.cluster));
            } else if seat.starts.is_none() && seat.role.is_over() {
                self.figures.ended += 1;
                seat.starts = Some(now + RESTART);
            }
        }
    }

    /// Ends all faults and tells what was done. Every process is there again.
    pub(super) fn calm(&mut self) -> Figures {
        self.tend(true);
        self.tend(true);
        self.figures.clone()
    }
}
