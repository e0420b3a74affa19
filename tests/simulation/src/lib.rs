//! The fault simulator: the real protocol, store and guard code in a world of seeded faults and virtual time.
//!
//! One seed is one history: the same seed and [`Scenario`] give the same run, event by event, on every
//! machine and every store. Nothing of the protocol is rebuilt here: each simulated worker drives its
//! jobs with `drs_protocol::session`, each host admits with `drs_protocol::guard`, each scheduler
//! keeps house with `drs_protocol::upkeep`, and the store is the reference store or any adapter.
//! Simulated are the network, the machines, the broker, the clocks, the people, and the work itself.
//!
//! | module | holds |
//! |---|---|
//! | [`scenario`] | how a world is made and what may go wrong in it |
//! | [`guards`] | the guards that a run can do without, to see that each is needed |
//! | [`store`] | the store operations as data, and the stores that answer them |
//! | `world` | the world and its parts: broker, hosts, workers, schedulers, people, faults |
//! | `oracle` | what must never happen, watched from outside of the protocol |
//!
//! The oracles keep records of their own: what the hosts did, which claims the store gave, which
//! jobs ended. They never ask the protocol whether it behaved.

pub mod guards;
pub mod scenario;
pub mod store;

mod agenda;
mod dice;
mod kinds;
mod oracle;
mod world;

pub use guards::{Guard, Removed};
pub use oracle::{Harm, Violation};
pub use scenario::{FaultKind, Scenario};
pub use world::{Report, simulate};
