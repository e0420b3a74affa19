//! What the hosts' journals, the jobs and the processes' own words say in the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;

use drs_tests::cluster::Cluster;
use drs_tests::engine::overlapping;
use serde_json::Value;

use super::HOSTS;
use super::producer::Order;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    states: BTreeMap<String, usize>,
    /// Jobs that more than one worker had, and claims in all.
    taken_over: usize,
    attempts: u64,
    /// Jobs that are over otherwise than they may be.
    wrong: Vec<String>,
    /// Two jobs that had one VM at one time.
    overlaps: Vec<String>,
    /// Commands on hosts, and those of them that were started more than once.
    commands: usize,
    redone: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "jobs {:?}, {} of them at more than one worker, {} attempts\n\
             {} commands on hosts, {} redone, {} overlaps, {} jobs that ended wrongly",
            self.states,
            self.taken_over,
            self.attempts,
            self.commands,
            self.redone.len(),
            self.overlaps.len(),
            self.wrong.len(),
        )
    }
}

/// Looks at everything.
pub(super) fn of(cluster: &Cluster, orders: &[Order], jobs: &HashMap<String, Value>) -> Verdict {
    let mut verdict = Verdict::default();
    for order in orders {
        match jobs.get(&order.id) {
            Some(job) => verdict.job(order, job),
            None => *verdict.states.entry("forgotten".to_owned()).or_default() += 1,
        }
    }
    for host in HOSTS {
        let journals = cluster.drs().path().join(format!("simulated/{host}.journal"));
        for file in fs::read_dir(journals).expect("journals") {
            let vm = file.expect("a journal").file_name().to_string_lossy().into_owned();
            verdict.vm(cluster, host, &vm);
        }
    }
    verdict
}

impl Verdict {
    fn job(&mut self, order: &Order, job: &Value) {
        let state = job["state"].as_str().unwrap_or_default();
        *self.states.entry(state.to_owned()).or_default() += 1;
        let attempts = job["attempt"].as_u64().unwrap_or_default();
        self.attempts += attempts;
        self.taken_over += usize::from(attempts > 1);
        let right = match state {
            "succeeded" => true,
            "cancelled" => order.cancelled,
            // Its workers were killed again and again: it is over, and said so.
            "failed" => job["fault"]["code"] == "attempts_exhausted",
            _ => false,
        };
        if !right {
            self.wrong.push(format!("{job:#}"));
        }
    }

    fn vm(&mut self, cluster: &Cluster, host: &str, vm: &str) {
        let intervals = cluster.journal(host, vm);
        if let Some(both) = overlapping(&intervals) {
            self.overlaps.push(format!("{host}/{vm}: {both:?}"));
        }
        let mut started: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for interval in intervals.iter().filter(|interval| interval.step != "hold") {
            *started.entry((&interval.job, &interval.step)).or_default() += 1;
        }
        self.commands += started.len();
        let again = started.iter().filter(|(_, times)| **times > 1);
        self.redone
            .extend(again.map(|(what, times)| format!("{host}/{vm}: {what:?} {times} times")));
    }

    /// Nothing was lost, done at one time or done twice, and no process panicked.
    #[track_caller]
    pub(super) fn must_be_clean(&self, cluster: &Cluster) {
        assert!(self.overlaps.is_empty(), "{:#?}", self.overlaps);
        assert!(self.redone.is_empty(), "{:#?}", self.redone);
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        for log in cluster.logs() {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}
