//! probe
use drs_simulation::{Removed, Scenario, simulate};
use drs_simulation::store::LedgerStore;
#[test]
fn seeds() {
    let n: u64 = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let s: u64 = std::env::var("S").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for scenario in [Scenario::calm(), Scenario::no_loss(), Scenario::all_faults()] {
        let mut bad = 0; let mut events = 0;
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        let mut harms = std::collections::BTreeMap::<String, u64>::new();
        let start = std::time::Instant::now();
        let mut first = None;
        for seed in s..s+n {
            let mut store = LedgerStore::default();
            let report = simulate(seed, &scenario, Removed::NONE, &mut store, false);
            events += report.events;
            for (k, v) in report.counts { *counts.entry(k).or_default() += v; }
            if let Some(v) = report.violations.first() {
                bad += 1;
                *harms.entry(format!("{:?}", v.harm)).or_default() += 1;
                if bad < 8 { println!("seed {seed}: {v}"); }
                first.get_or_insert(seed);
            }
        }
        println!("{}: {n} seeds {bad} bad {harms:?} {events} events {:?}\n{counts:#?}", scenario.name, start.elapsed());
        if let Some(seed) = first {
            let mut store = LedgerStore::default();
            let report = simulate(seed, &scenario, Removed::NONE, &mut store, true);
            std::fs::write("/tmp/lab0/trace.txt", report.told.into_iter().collect::<Vec<_>>().join("\n")).unwrap();
            if scenario.name != "calm" { break; }
        }
    }
}
