//! Runs seeds and tells what an engineer needs when harm was seen.

use std::collections::BTreeMap;
use std::time::SystemTime;

use drs_simulation::store::Store;
use drs_simulation::{Removed, Scenario, simulate};

#[expect(clippy::disallowed_methods, reason = "how many seeds to run is the caller's choice")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Seeds that once did harm: 917, work was taken back beside another job that a store which had lost
/// data had let in.
const REGRESSIONS: [u64; 1] = [917];

/// The seeds of a test that has `share` of every 300: the fixed ones and a fresh one, or the one asked
/// for.
pub(crate) fn seeds(share: u64) -> Vec<u64> {
    if let Some(seed) = number("DRS_SIMULATION_SEED") {
        return vec![seed];
    }
    let all = number("DRS_SIMULATION_SEEDS").unwrap_or(300);
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let fresh = since.as_nanos() as u64 % 1_000_000_000;
    (0..(all * share).div_ceil(300)).chain(REGRESSIONS).chain([fresh]).collect()
}

/// Runs every seed; the first harm fails the test, with how to see it again.
pub(crate) fn none_is_harmed<S: Store>(
    test: &str,
    share: u64,
    scenario: &Scenario,
    store: impl Fn() -> S,
) {
    let seeds = seeds(share);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut events = 0;
    for &seed in &seeds {
        let report = simulate(seed, scenario, Removed::NONE, &mut store(), false);
        events += report.events;
        for (what, count) in report.counts {
            *counts.entry(what).or_default() += count;
        }
        if !report.violations.is_empty() {
            see_again(test, seed, scenario, &mut store());
        }
    }
    println!("{test}: {} seeds ({}), {events} events, no harm", seeds.len(), scenario.name);
    println!("the fresh seed was {:?}; what happened: {counts:?}", seeds.last());
    assert!(counts.contains_key("job succeeded"), "something was done");
}

fn see_again(test: &str, seed: u64, scenario: &Scenario, store: &mut dyn Store) -> ! {
    let report = simulate(seed, scenario, Removed::NONE, store, true);
    for line in &report.told {
        println!("{line}");
    }
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    panic!(
        "seed {seed} ({}) did harm; its latest events are above\n{}\nonce more:\n  \
         DRS_SIMULATION_SEED={seed} cargo test -p drs-simulation --test simulation -- {test}",
        scenario.name,
        violations.join("\n"),
    )
}
