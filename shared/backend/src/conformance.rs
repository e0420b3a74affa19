//! What every adapter of the ports must do, as checks whose names read as a specification.
//!
//! An adapter's test calls [`run`] with a way to make a fresh, empty backend. Beside the single
//! checks, random series of store operations are applied to the adapter and to the reference store,
//! which must answer alike; a failure names the seed, and [`differential`] runs that seed again.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::time::Duration;

use drs_model::{Job, JobId, JobSpec, Need, SignedDuration, Timestamp, VmRef};

use crate::{Backend, BackendError};

mod catalog;
mod dice;
mod dispatch;
mod events;
mod history;
mod job_store;
mod reference;

pub use reference::differential;

/// Seeds of the random series that are always run; one more is new each time.
const SEEDS: [u64; 4] = [1, 2, 3, 4];
/// Operations in each random series.
const STEPS: usize = 1000;

/// The contract does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// An answer is not what it must be.
    #[error("{0}")]
    Answer(String),
    /// An operation failed that must not.
    #[error("the adapter failed: {0}")]
    Failed(#[from] BackendError),
}

/// Whether a check holds.
pub type Verdict = Result<(), Violation>;

type Running = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// One check of a port, on a fresh backend.
struct Check {
    name: &'static str,
    run: fn(Backend) -> Running,
}

/// Lists checks by their names, so that a name is written once.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$(super::Check {
            name: stringify!($name),
            run: |backend| Box::pin($name(backend)),
        }),*];
    };
}
use checks;

/// What failed, one line each.
#[derive(Debug)]
pub struct Violations(Vec<String>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Violations {}

/// A port that an adapter may stand behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// [`crate::JobStore`]
    Store,
    /// [`crate::Dispatch`]
    Dispatch,
    /// [`crate::Catalog`]
    Catalog,
    /// [`crate::Events`]
    Events,
    /// [`crate::History`]
    History,
}

impl Port {
    /// Those that are there embedded, too.
    pub const EMBEDDED: [Self; 4] = [Self::Store, Self::Dispatch, Self::Catalog, Self::Events];

    fn checks(self) -> (&'static str, &'static [Check]) {
        match self {
            Self::Store => ("store", job_store::CHECKS),
            Self::Dispatch => ("dispatch", dispatch::CHECKS),
            Self::Catalog => ("catalog", catalog::CHECKS),
            Self::Events => ("events", events::CHECKS),
            Self::History => ("history", history::CHECKS),
        }
    }
}

/// Runs every check of these ports, each on a fresh backend, and prints them. Returns how many there
/// were. Behind the other ports of the backend may stand anything that works.
///
/// # Errors
/// What did not hold.
pub async fn run<F>(ports: &[Port], mut fresh: impl FnMut() -> F) -> Result<usize, Violations>
where
    F: Future<Output = Backend>,
{
    let mut verdicts = Vec::new();
    for (port, checks) in ports.iter().map(|port| port.checks()) {
        for check in checks {
            let verdict = (check.run)(fresh().await).await;
            verdicts.push(report(format!("{port}: {}", check.name.replace('_', " ")), verdict));
        }
    }
    if ports.contains(&Port::Store) {
        verdicts.extend(differentials(&mut fresh).await);
    }
    let broken: Vec<String> = verdicts.iter().filter_map(|v| v.as_ref().err()).cloned().collect();
    if broken.is_empty() { Ok(verdicts.len()) } else { Err(Violations(broken)) }
}

/// The store beside the reference store.
async fn differentials<F>(fresh: &mut impl FnMut() -> F) -> Vec<Result<(), String>>
where
    F: Future<Output = Backend>,
{
    let mut verdicts = Vec::new();
    let new = Timestamp::now().as_nanosecond().unsigned_abs() as u64;
    for seed in SEEDS.into_iter().chain([new]) {
        let verdict = differential(fresh().await, seed, STEPS).await;
        verdicts.push(report(format!("store: answers like the reference, seed {seed}"), verdict));
    }
    verdicts
}

fn report(what: String, verdict: Verdict) -> Result<(), String> {
    match verdict {
        Ok(()) => {
            println!("ok      {what}");
            Ok(())
        }
        Err(violation) => {
            println!("BROKEN  {what}: {violation}");
            Err(format!("{what}: {violation}"))
        }
    }
}

/// How long a lease lasts in the checks.
const TTL: SignedDuration = SignedDuration::from_secs(60);
/// How long to wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(10);

fn same<T: PartialEq + Debug>(what: &str, got: &T, wanted: &T) -> Verdict {
    if got == wanted { Ok(()) } else { broken(format!("{what}: got {got:?}, wanted {wanted:?}")) }
}

fn holds(what: &str, condition: bool) -> Verdict {
    if condition { Ok(()) } else { broken(what.to_owned()) }
}

fn broken<T>(what: String) -> Result<T, Violation> {
    Err(Violation::Answer(what))
}

/// An instant, by milliseconds since 1970.
fn at(milliseconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds)
}

fn name<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, Violation> {
    text.parse().or_else(|error: T::Err| broken(error.to_string()))
}

/// A backup that needs its VM and one of its host's two slots.
fn backup(key: &str, vm: &str, created: i64) -> Result<Job, Violation> {
    let vm: VmRef = name(vm)?;
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 2)];
    Ok(Job::new(JobId::from_key(key), JobSpec::backup(vm), needs, at(created)))
}
