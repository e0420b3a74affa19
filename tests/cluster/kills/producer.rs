//! Who orders jobs and does not forget them: a program that keeps what it ordered until it is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use drs_tests::cluster::Cluster;
use drs_tests::dice::Dice;
use serde_json::Value;

use super::{HOSTS, VMS};

/// Time between two orders.
const PACE: Duration = Duration::from_millis(500);
/// How long one order is tried, and how long the cluster has for what is left in the end.
const PATIENCE: Duration = Duration::from_secs(180);
/// States after which nothing more comes.
const OVER: [&str; 4] = ["succeeded", "failed", "cancelled", "needs_operator"];

/// A job that was ordered.
pub(super) struct Order {
    pub(super) id: String,
    args: Vec<String>,
    at: Instant,
    pub(super) cancelled: bool,
    /// Nobody knows it any more and nobody misses it: it was cancelled, or what it was to make is there.
    pub(super) settled: bool,
    withdrawn: bool,
}

/// The exit code of a request for something that is there already.
const EXISTS: i32 = 4;

pub(super) struct Producer<'a> {
    cluster: &'a Cluster,
    dice: Dice,
    points: Vec<String>,
    pub(super) orders: Vec<Order>,
    /// Jobs that were ordered again since nobody knew them any more.
    pub(super) again: usize,
}

impl<'a> Producer<'a> {
    /// With a recovery point of each host to restore from.
    pub(super) fn new(cluster: &'a Cluster, dice: Dice) -> Self {
        let point = |host: &&str| {
            let done = cluster.drs().json(&["backup", &format!("{host}/vm-001")]);
            done["point"]["id"].as_str().expect("a point").to_owned()
        };
        let points = HOSTS.iter().map(point).collect();
        Self { cluster, dice, points, orders: Vec::new(), again: 0 }
    }

    /// Orders backups, restores and cancels until it is told to stop.
    pub(super) fn produce(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let next = Instant::now() + PACE;
            match self.dice.between(0..100) {
                0..45 => self.backup(),
                45..90 => self.restore(),
                _ => self.cancel(),
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn backup(&mut self) {
        let vm = self.dice.between(1..VMS + 1);
        let source = format!("{}/vm-{vm:03}", self.dice.pick(&HOSTS));
        self.order(&["backup", &source]);
    }

    fn restore(&mut self) {
        let point = self.dice.pick(&self.points).clone();
        let name = format!("copy-{}", self.orders.len());
        let host = *self.dice.pick(&HOSTS);
        self.order(&["restore", &point, "--to", host, "--as", &name]);
    }

    /// Cancels one of the latest jobs.
    fn cancel(&mut self) {
        let back = self.dice.between(1..9) as usize;
        let Some(n) = self.orders.len().checked_sub(back) else { return };
        let order = &mut self.orders[n];
        order.cancelled = true;
        let said = self.cluster.drs().run(&["job", "cancel", &order.id]);
        order.withdrawn = said.code == 0;
        if said.code != 0 {
            println!("not cancelled: {}", said.stderr.lines().next().unwrap_or_default());
        }
    }

    fn order(&mut self, args: &[&str]) {
        let key = format!("order-{}", self.orders.len());
        let args = [args, &["--detach", "--key", &key]].concat();
        let at = Instant::now();
        let job = self.insist(&args).expect("it is new");
        let args = args.into_iter().map(str::to_owned).collect();
        let id = job["id"].as_str().expect("an id").to_owned();
        self.orders.push(Order {
            id,
            args,
            at,
            cancelled: false,
            settled: false,
            withdrawn: false,
        });
    }

    /// Asks until the answer comes: the key makes sure that it is one job. `None` when what it is to make is
    /// there already.
    fn insist(&self, args: &[&str]) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let args = [&["--json"], args].concat();
        loop {
            let said = self.cluster.drs().run(&args);
            match said.code {
                // A store that was emptied at that very moment knows nothing of what it took.
                0 if !said.json().is_null() => return Some(said.json()),
                EXISTS => return None,
                _ => {}
            }
            assert!(Instant::now() < deadline, "{args:?}: {}", said.stderr);
            thread::sleep(PACE);
        }
    }

    /// Waits until every job is over. A job that nobody knows was lost with the contents of Redis, and is
    /// ordered again under its key; one that was ordered later than that must be known.
    pub(super) fn settle(&mut self, flushed_at: Option<Instant>) -> HashMap<String, Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let known = self.known();
            for n in 0..self.orders.len() {
                let order = &self.orders[n];
                if !known.contains_key(&order.id) && !order.settled {
                    let flushed = flushed_at.is_some_and(|flushed| order.at < flushed);
                    assert!(flushed, "job {} is lost: {:?}", order.id, order.args);
                    let args: Vec<&str> = order.args.iter().map(String::as_str).collect();
                    if order.withdrawn {
                        self.orders[n].settled = true;
                    } else {
                        self.orders[n].settled = self.insist(&args).is_none();
                        self.again += 1;
                    }
                }
            }
            let open = |job: &&Value| !OVER.iter().any(|over| job["state"] == *over);
            let all = |order: &Order| order.settled || known.contains_key(&order.id);
            if self.orders.iter().all(all) && !known.values().any(|job| open(&job)) {
                return known;
            }
            if Instant::now() > deadline {
                let left: Vec<&Value> = known.values().filter(open).collect();
                panic!("jobs are not over: {left:#?}");
            }
            thread::sleep(PACE);
        }
    }

    /// The jobs that were ordered, as they stand.
    fn known(&self) -> HashMap<String, Value> {
        let jobs = self.cluster.jobs().into_iter();
        let jobs = jobs.map(|job| (job["id"].as_str().unwrap_or_default().to_owned(), job));
        let mut jobs: HashMap<String, Value> = jobs.collect();
        jobs.retain(|id, _| self.orders.iter().any(|order| order.id == *id));
        jobs
    }
}
