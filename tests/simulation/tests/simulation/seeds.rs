//! Every store under every fault: no harm.

use drs_simulation::store::LedgerStore;
use drs_simulation::{Removed, Scenario, simulate};

use crate::harness::none_is_harmed;

#[test]
fn the_reference_store_when_everything_goes_wrong() {
    let scenario = Scenario::all_faults();
    none_is_harmed("when_everything_goes_wrong", 300, &scenario, LedgerStore::default);
}

#[test]
fn the_reference_store_when_nothing_confirmed_is_lost() {
    let scenario = Scenario::no_loss();
    none_is_harmed("when_nothing_confirmed_is_lost", 100, &scenario, LedgerStore::default);
}

#[test]
fn the_reference_store_that_forgets_again_and_again() {
    let scenario = Scenario::forgetful();
    none_is_harmed("that_forgets_again_and_again", 100, &scenario, LedgerStore::default);
}

#[test]
fn the_reference_store_under_a_wrong_clock() {
    let scenario = Scenario::rewound();
    none_is_harmed("under_a_wrong_clock", 60, &scenario, LedgerStore::default);
}

#[test]
fn the_reference_store_that_is_mostly_away() {
    none_is_harmed("that_is_mostly_away", 60, &Scenario::outages(), LedgerStore::default);
}

#[test]
fn the_reference_store_when_nothing_goes_wrong() {
    none_is_harmed("when_nothing_goes_wrong", 20, &Scenario::calm(), LedgerStore::default);
}

#[test]
fn a_seed_is_one_history() {
    let run = || {
        let mut store = LedgerStore::default();
        simulate(7, &Scenario::all_faults(), Removed::NONE, &mut store, true).told
    };
    assert!(run() == run(), "the same seed gave two histories");
}
