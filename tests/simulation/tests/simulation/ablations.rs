//! Each guard is needed: without it the oracles see harm.

use drs_simulation::store::LedgerStore;
use drs_simulation::{Guard, Removed, Scenario, Violation, simulate};

/// Seeds within which harm must be seen; the rarest shows itself about once in 100.
const WITHIN: u64 = 1_000;

/// The first harm that a world without some guards does.
fn first_harm(scenario: &Scenario, removed: Removed) -> Option<(u64, Violation)> {
    (0..WITHIN).find_map(|seed| {
        let mut store = LedgerStore::without(removed);
        let report = simulate(seed, scenario, removed, &mut store, false);
        Some((seed, report.violations.into_iter().next()?))
    })
}

#[test]
fn each_guard_is_needed() {
    let (calm, no_loss, all) = (Scenario::calm(), Scenario::no_loss(), Scenario::all_faults());
    let (forgetful, rewound) = (Scenario::forgetful(), Scenario::rewound());
    let cases: [(&[Guard], &Scenario); 16] = [
        (&[Guard::HostFence], &no_loss),
        (&[Guard::ExitRecord], &no_loss),
        (&[Guard::Holder], &no_loss),
        (&Guard::OF_THE_HOST, &no_loss),
        (&[Guard::Tombstone], &no_loss),
        (&[Guard::StoreCas], &no_loss),
        (&[Guard::LockKept], &no_loss),
        (&[Guard::Reassert], &forgetful),
        (&[Guard::Refence], &rewound),
        (&[Guard::Sweep], &no_loss),
        (&[Guard::Reap], &no_loss),
        (&[Guard::LateAck], &forgetful),
        (&[Guard::IdempotentCreate], &no_loss),
        (&[Guard::Wake], &calm),
        (&[Guard::AllOrNothing], &calm),
        (&Guard::NAIVE_LOCK_LACKS, &all),
    ];
    let mut unnoticed = Vec::new();
    for (guards, scenario) in cases {
        let removed = Removed::these(guards);
        match first_harm(scenario, removed) {
            Some((seed, harm)) => println!("{removed} ({}): seed {seed}: {harm}", scenario.name),
            None => unnoticed.push(format!("{removed} ({})", scenario.name)),
        }
    }
    assert!(unnoticed.is_empty(), "no harm was seen in {WITHIN} seeds {unnoticed:#?}");
}
