//! What the checks work with: fresh grips, exports that are held, restores that are planned.

use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drs_model::{
    DiskContent, FencingToken, Grip, GuardAnswer, JobId, NetworkMap, Piece, PointId, PowerAction,
    RecoveryPoint, ReplacePolicy, RestoreTarget, StorageMap, Timestamp, VmRef,
};
use drs_transport::{Argv, Hold};

use super::pass::Pass;
use super::{DriverFixture, Finding};
use crate::port::{
    Driver, DriverError, Export, ExportEnd, ImportPlan, ImportRequest, VmDescription,
};

/// How often a condition is looked at that is waited for.
const POLL: Duration = Duration::from_millis(50);

/// Finds that something is not as demanded.
pub(super) fn ensure(condition: bool, finding: impl FnOnce() -> String) -> Result<(), Finding> {
    if condition { Ok(()) } else { Err(finding()) }
}

/// Finds that a value is not the one demanded.
pub(super) fn ensure_eq<T: PartialEq + Debug>(
    what: &str,
    found: T,
    demanded: T,
) -> Result<(), Finding> {
    ensure(found == demanded, || format!("{what} is {found:?}, should be {demanded:?}"))
}

/// Says during what an error came.
pub(super) trait During<T> {
    fn during(self, what: &str) -> Result<T, Finding>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Result<T, Finding> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Finds that what should have been refused was not, or else hands over the refusal.
pub(super) fn refused<T>(
    what: &str,
    answer: Result<T, DriverError>,
) -> Result<DriverError, Finding> {
    answer.err().ok_or_else(|| format!("{what} was not refused"))
}

/// Waits until a condition holds, at most `limit`.
pub(super) async fn eventually<F: Future<Output = Result<bool, Finding>>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<(), Finding> {
    let give_up = tokio::time::Instant::now() + limit;
    while !condition().await? {
        ensure(tokio::time::Instant::now() < give_up, || format!("{what}: not in {limit:?}"))?;
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The fixture with a supply of grips.
pub(super) struct Bench<'a> {
    pub(super) fixture: &'a dyn DriverFixture,
    fence: AtomicU64,
    /// What a failed check may have left open.
    begun: Mutex<Vec<Begun>>,
}

struct Begun {
    grip: Grip,
    plan: Option<ImportPlan>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(fixture: &'a dyn DriverFixture) -> Self {
        let now = Timestamp::now().as_millisecond();
        let fence = AtomicU64::new(u64::try_from(now).unwrap_or_default());
        Self { fixture, fence, begun: Mutex::default() }
    }

    /// A new job's grip on a VM, with the newest token.
    pub(super) fn grip(&self, vm: &VmRef) -> Grip {
        let fence = self.fence.fetch_add(1, Ordering::Relaxed);
        let job = JobId::from_key(&format!("conformance-{fence}"));
        let grip = Grip { job, fence: FencingToken(fence), vm: vm.clone() };
        self.remember(&grip, None);
        grip
    }

    /// The same job under a newer claim.
    pub(super) fn taken_over(&self, grip: &Grip) -> Grip {
        Grip { fence: FencingToken(self.fence.fetch_add(1, Ordering::Relaxed)), ..grip.clone() }
    }

    pub(super) fn driver(&self, vm: &VmRef) -> Arc<dyn Driver> {
        if vm.host == self.fixture.running_vm().host {
            self.fixture.source()
        } else {
            self.fixture.target()
        }
    }

    /// Takes a VM and demands to get it.
    pub(super) async fn hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
    ) -> Result<Box<dyn Hold>, Finding> {
        let guard = self.driver(&grip.vm).guard();
        match guard.hold(grip, at_loss).await.during("taking a hold")? {
            (GuardAnswer::Started, Some(hold)) => Ok(hold),
            (answer, _) => Err(format!("the hold on {} was answered {answer:?}", grip.vm)),
        }
    }

    /// Holds a VM and opens an export of it.
    pub(super) async fn freeze(&self, vm: &VmRef) -> Result<Frozen, Finding> {
        let (driver, grip) = (self.driver(vm), self.grip(vm));
        let hold = self.hold(&grip, driver.export_at_loss(&grip).as_ref()).await?;
        let export = driver.open_export(&grip).await.during("opening an export")?;
        Ok(Frozen { driver, grip, hold, export })
    }

    /// Finds what was left of unfinished work.
    pub(super) async fn ensure_nothing_left(&self, vm: &VmRef) -> Result<(), Finding> {
        let left = self.fixture.leftovers(vm).await;
        ensure(left.is_empty(), || format!("left over on {vm}: {}", left.join(", ")))
    }

    /// Plans to restore a point under a name.
    pub(super) async fn plan(
        &self,
        grip: &Grip,
        point: &RecoveryPoint,
        replace: Option<ReplacePolicy>,
    ) -> Result<ImportPlan, DriverError> {
        let target = target(&grip.vm, replace);
        let request = ImportRequest { point, target: &target };
        let plan = self.driver(&grip.vm).plan_import(grip.job, &request).await?;
        self.remember(grip, Some(plan.clone()));
        Ok(plan)
    }

    /// Describes a VM that should be there.
    pub(super) async fn describe(&self, vm: &VmRef) -> Result<VmDescription, Finding> {
        self.driver(vm).describe(&vm.name).await.during("describing a VM")
    }

    /// Puts in order what a check has begun and, having failed, not ended.
    pub(super) async fn tidy(&self, failed: bool) {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        for Begun { grip, plan } in begun.into_iter().rev().filter(|_| failed) {
            let (driver, grip) = (self.driver(&grip.vm), self.taken_over(&grip));
            let mut ended = vec![driver.close_export(&grip, ExportEnd::Abandoned).await];
            if let Some(plan) = plan {
                let old = plan.displaced().map(|old| &old.aside);
                for vm in [&plan.name, &plan.made_as].into_iter().chain(old) {
                    match driver.power(&grip, vm, PowerAction::Stop).await {
                        Ok(_) | Err(DriverError::VmNotFound { .. }) => {}
                        Err(error) => ended.push(Err(error)),
                    }
                }
                ended.push(driver.exchange_back(&grip, &plan).await);
                ended.push(driver.remove_import(&grip, &plan).await);
            }
            for error in ended.into_iter().filter_map(Result::err) {
                tracing::warn!(vm = %grip.vm, %error, "a failed check could not be put in order");
            }
        }
    }

    fn remember(&self, grip: &Grip, plan: Option<ImportPlan>) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push(Begun { grip: grip.clone(), plan });
    }
}

/// An open export with its hold.
pub(super) struct Frozen {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) grip: Grip,
    pub(super) hold: Box<dyn Hold>,
    pub(super) export: Export,
}

impl Frozen {
    /// Reads the contents to their end and demands that the pass keeps to the port's rules. Tells a
    /// digest for each content.
    pub(super) async fn read(&self) -> Result<Vec<String>, Finding> {
        let mut pass = Pass::open(self).await?;
        while pass.next().await?.is_some() {}
        pass.digests()
    }

    /// As [`Frozen::read`], with all that was read.
    pub(super) async fn pieces(&self) -> Result<(Vec<Piece>, Vec<String>), Finding> {
        let (mut pass, mut pieces) = (Pass::open(self).await?, Vec::new());
        while let Some(piece) = pass.next().await? {
            pieces.push(piece);
        }
        Ok((pieces, pass.digests()?))
    }

    /// The point that a backup of this export makes.
    pub(super) fn point(&self) -> RecoveryPoint {
        let description = &self.export.description;
        RecoveryPoint {
            id: PointId::from(self.grip.job),
            source: self.grip.vm.clone(),
            hypervisor: self.driver.kind(),
            consistent_at: self.export.consistent_at,
            completed_at: Timestamp::now(),
            consistency: self.export.consistency,
            spec: description.spec.clone(),
            native_config: description.native_config.clone(),
            disks: description
                .spec
                .contents()
                .into_iter()
                .map(|content| DiskContent {
                    name: content.name,
                    size_bytes: content.size_bytes.unwrap_or_default(),
                    data_bytes: 0,
                    stored_bytes: 0,
                    digest: String::new(),
                })
                .collect(),
        }
    }

    /// Ends the export and gives the VM back.
    pub(super) async fn close(self) -> Result<(), Finding> {
        let closed = self.driver.close_export(&self.grip, ExportEnd::Complete).await;
        closed.during("closing an export")?;
        self.hold.release().await.during("releasing a hold")
    }
}

/// A restore under that name, everything else as at the source.
fn target(vm: &VmRef, replace: Option<ReplacePolicy>) -> RestoreTarget {
    RestoreTarget {
        vm: vm.clone(),
        networks: NetworkMap::new(),
        storage: StorageMap::new(),
        keep_macs: false,
        start: false,
        replace,
        pair: None,
    }
}
