//! What every driver must do, as a suite that runs against any of them.
//!
//! A fixture names two hosts and two VMs; [`exercise`] runs every check that the drivers' declared
//! capabilities allow and tells of each whether it passed. The name of a check is what it
//! demands. The suite leaves hosts and VMs as it found them when it passes; its fencing tokens follow
//! the wall clock, so the VMs of a fixture are for tests alone.

mod bench;
mod export;
mod guard;
mod import;
mod inventory;
mod pass;
mod power;
mod replace;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drs_model::VmRef;
use futures::future::BoxFuture;

use crate::port::{Capabilities, Driver};
use bench::Bench;

/// Longest time that one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(300);

/// Two hosts to run the suite on.
#[async_trait]
pub trait DriverFixture: Send + Sync {
    /// The host that has both VMs.
    fn source(&self) -> Arc<dyn Driver>;

    /// The host on which VMs are made.
    fn target(&self) -> Arc<dyn Driver>;

    /// A VM on the source host that runs and writes to its first disk all the time.
    fn running_vm(&self) -> VmRef;

    /// A VM on the source host that is off.
    fn off_vm(&self) -> VmRef;

    /// A name on the target host under which there is no VM; every check asks for one.
    fn fresh_target(&self) -> VmRef;

    /// Waits until the running VM has written since the call.
    async fn guest_write(&self);

    /// What DR Switch left on a host of unfinished work on that VM, found without the driver's help:
    /// exports, scratch files, checkpoints of no complete export, staging disks. Empty when in order.
    async fn leftovers(&self, vm: &VmRef) -> Vec<String>;
}

/// What a check found wrong, in words.
type Finding = String;

struct Check {
    name: &'static str,
    /// The capability that the check needs and the driver lacks.
    lacks: fn(&Capabilities) -> Option<&'static str>,
    run: for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Result<(), Finding>>,
}

macro_rules! checks {
    ($($module:ident::$name:ident [$($capability:ident),*];)*) => {
        &[$(Check {
            name: stringify!($name),
            lacks: |_capabilities| {
                let needs: &[(&'static str, bool)] =
                    &[$((stringify!($capability), _capabilities.$capability)),*];
                needs.iter().find(|(_, there)| !there).map(|(name, _)| *name)
            },
            run: |bench| Box::pin($module::$name(bench)),
        }),*]
    };
}

const CHECKS: &[Check] = checks! {
    inventory::check_counts_the_inventory [];
    inventory::inventory_lists_described_vms [];
    inventory::describe_of_unknown_vm_says_not_found [];
    guard::second_job_is_busy_at_the_guard [];
    guard::stale_token_is_refused [];
    guard::a_newer_claim_of_the_job_ends_its_older_hold [];
    guard::a_dropped_hold_frees_the_vm [];
    guard::a_cancelled_step_cannot_start [];
    power::power_transitions_are_idempotent [];
    power::power_of_unknown_vm_says_not_found [];
    power::a_vm_is_switched_under_the_grip_of_another [];
    export::export_reads_every_byte_at_the_freeze_instant [export_running];
    export::a_source_delivers_every_byte_once_whatever_its_order [export_running];
    export::reading_again_gives_the_same [export_running, export_rereadable];
    export::a_later_export_sees_later_writes [export_running];
    export::export_of_off_vm [export_off];
    export::open_export_of_unknown_vm_says_not_found [export_running];
    export::close_export_is_idempotent_and_works_without_open [export_running];
    export::close_export_leaves_nothing [export_running];
    export::a_closed_export_cannot_be_read [export_running];
    export::an_export_in_order_is_in_no_danger [export_running];
    export::a_lost_hold_ends_the_export [export_running];
    import::plan_import_refuses_an_existing_name_and_changes_nothing [import, export_off];
    import::plan_import_changes_nothing [import, export_off];
    import::import_makes_a_vm_that_reads_back_equal [import, export_off, export_running];
    import::allocate_begins_anew [import, export_off];
    import::define_is_idempotent [import, export_off];
    import::remove_import_removes_only_its_own_and_is_idempotent [import, export_off];
    import::hostile_pieces_are_refused [import, export_off];
    import::a_detached_check_starts_once [import, export_off, detached_check];
    replace::keep_makes_another_vm_and_touches_nothing [import, export_off];
    replace::stop_and_keep_exchanges_the_vms_and_back [import, export_off];
    replace::an_import_can_be_removed_after_the_exchange [import, export_off];
    replace::destroy_after_proof_destroys_exactly_the_displaced_vm [import, export_off];
    replace::a_running_vm_is_neither_renamed_nor_destroyed [import, export_off];
    replace::refresh_copy_refuses_what_is_no_copy_or_runs [import, export_off];
    replace::repeated_refreshes_leave_one_vm_and_its_disks [import, export_off];
};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The driver does it.
    Passed,
    /// The driver declares that it lacks this capability.
    Lacks(&'static str),
    /// The driver does something else.
    Failed(String),
}

/// How every check ended, in the order in which they ran. `Display` prints a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name and outcome of every check.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// Whether no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.outcomes {
            match outcome {
                Outcome::Passed => writeln!(f, "passed  {name}")?,
                Outcome::Lacks(capability) => writeln!(f, "lacks   {name} ({capability})")?,
                Outcome::Failed(finding) => writeln!(f, "FAILED  {name}: {finding}")?,
            }
        }
        Ok(())
    }
}

/// Runs every check against the fixture, one after the other.
pub async fn exercise(fixture: &dyn DriverFixture) -> Report {
    let capabilities = fixture.source().capabilities();
    let bench = Bench::new(fixture);
    let mut outcomes = Vec::new();
    for check in CHECKS {
        let outcome = match (check.lacks)(&capabilities) {
            Some(capability) => Outcome::Lacks(capability),
            None => match tokio::time::timeout(CHECK_LIMIT, (check.run)(&bench)).await {
                Ok(Ok(())) => Outcome::Passed,
                Ok(Err(finding)) => Outcome::Failed(finding),
                Err(_) => Outcome::Failed(format!("not done after {CHECK_LIMIT:?}")),
            },
        };
        bench.tidy(matches!(outcome, Outcome::Failed(_))).await;
        outcomes.push((check.name, outcome));
    }
    Report { outcomes }
}
