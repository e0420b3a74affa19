//! The product's protocol under faults, seed by seed.
//!
//! `DRS_SIMULATION_SEEDS=5000` (`make test-deep`) runs more seeds than the 300 of `make test`;
//! `DRS_SIMULATION_SEED=n` runs one alone and tells its latest events when harm is seen.

mod ablations;
mod adapters;
mod harness;
mod seeds;
