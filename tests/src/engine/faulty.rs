//! Drivers, guards and vaults whose calls fail where a test wants it.

mod driver;
mod guard;
mod vault;

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drs_hypervisor::{Driver, DriverError};
use drs_transport::TransportError;
use drs_vault::{Vault, VaultError};

/// Where in a call its failure comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// All was done and the answer was lost.
    After,
}

/// Which calls to drivers, guards and vault go wrong. Calls count from 0 since
/// [`FaultPlan::none`]; clones share one plan.
#[derive(Clone, Default)]
pub struct FaultPlan(Arc<Mutex<Plan>>);

#[derive(Default)]
struct Plan {
    calls: Vec<String>,
    failing: Option<(Range<usize>, Moment, Class)>,
    repeat: bool,
    check_ms: Option<u64>,
}

/// Whether trying again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Transient,
    Permanent,
}

impl FaultPlan {
    /// Lets everything work, and counts from 0.
    pub fn none(&self) {
        *self.plan() = Plan::default();
    }

    /// Lets these calls fail as a broken connection does; trying again helps.
    pub fn fail(&self, calls: Range<usize>, moment: Moment) {
        self.plan().failing = Some((calls, moment, Class::Transient));
    }

    /// Lets this call fail for good.
    pub fn refuse(&self, call: usize, moment: Moment) {
        self.plan().failing = Some((call..call + 1, moment, Class::Permanent));
    }

    /// Does every call that is said to be idempotent twice.
    pub fn repeat(&self) {
        self.plan().repeat = true;
    }

    /// Lets the detached check of an import take this long.
    pub fn check_ms(&self, ms: u64) {
        self.plan().check_ms = Some(ms);
    }

    /// The calls since then, by name.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.plan().calls.clone()
    }

    pub(super) fn driver(&self, driver: Arc<dyn Driver>) -> Arc<dyn Driver> {
        Arc::new(driver::FaultyDriver { driver, plan: self.clone() })
    }

    pub(super) fn vault(&self, vault: Arc<dyn Vault>) -> Arc<dyn Vault> {
        Arc::new(vault::FaultyVault { vault, plan: self.clone() })
    }

    /// Makes a call, or what the plan makes of it.
    async fn call<T, E: Ordered>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.next(name) {
            Some((Moment::Before, class)) => Err(E::ordered(name, class)),
            Some((Moment::After, class)) => {
                call.await?;
                Err(E::ordered(name, class))
            }
            None => call.await,
        }
    }

    /// As [`FaultPlan::call`], twice when the plan says so.
    async fn twice<T, E: Ordered, F: Future<Output = Result<T, E>>>(
        &self,
        name: &str,
        call: impl Fn() -> F,
    ) -> Result<T, E> {
        if self.plan().repeat {
            call().await?;
        }
        self.call(name, call()).await
    }

    fn next(&self, name: &str) -> Option<(Moment, Class)> {
        let mut plan = self.plan();
        let number = plan.calls.len();
        plan.calls.push(name.to_owned());
        let (calls, moment, class) = plan.failing.as_ref()?;
        calls.contains(&number).then_some((*moment, *class))
    }

    fn repeats(&self) -> bool {
        self.plan().repeat
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Errors that can be ordered.
trait Ordered {
    fn ordered(call: &str, class: Class) -> Self;
}

impl Ordered for DriverError {
    fn ordered(call: &str, class: Class) -> Self {
        let reason = format!("{call} fails by order");
        match class {
            Class::Transient => {
                Self::Failed { host: "simulated".to_owned(), what: call.to_owned(), reason }
            }
            Class::Permanent => Self::Invalid(reason),
        }
    }
}

impl Ordered for VaultError {
    fn ordered(call: &str, class: Class) -> Self {
        match class {
            Class::Transient => {
                Self::Io { path: call.to_owned(), source: std::io::Error::other("fails by order") }
            }
            Class::Permanent => Self::Full { path: call.to_owned() },
        }
    }
}

impl Ordered for TransportError {
    /// A guard that cannot be asked may be asked again, whatever was ordered.
    fn ordered(call: &str, _class: Class) -> Self {
        Self::Unreachable {
            host: "simulated".parse().expect("a host name"),
            address: "nowhere".to_owned(),
            reason: format!("{call} fails by order"),
        }
    }
}
