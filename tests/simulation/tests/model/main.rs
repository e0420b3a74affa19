//! Small cases of the protocol, exhaustively: every order in which things can happen.
//!
//! The parts are the real ones: `Session::step`, the store operations over the reference store, and the
//! rules of the host guard. A model checker (`stateright`) visits every state that a small world can come
//! to, and the oracles of the simulator look at each: no two jobs on one VM, no job driven twice, no
//! detached command run again after it succeeded, nothing run after its job was over or cancelled, no job
//! let go by the last who knew of it, nothing left behind; and what can go no further is over.
//!
//! # What is covered
//! Two workers with a slot each, two jobs that need the same VM on one host, and in each case of
//! [`CASES`] every history with at most so many troubles of the listed kinds and at most so many claims.
//! Messages, calls and commands are under way for any length of time and arrive in any order; those that
//! nobody waits for any more may also never arrive.
//!
//! # What is abstracted
//! - **Time** stands still, but that a store that was wiped comes back with a later clock. Leases and
//!   waits have no length: a lease runs out when the checker lets it, for free when its worker is gone,
//!   else as a `Pause`; a wait is over at once.
//! - **Renewals** of a lease are sent and answered in one step, at any time when they would tell anything.
//!   One that is late, or fails and is asked for again, is the simulator's.
//! - **A publish** happens together with what led to it; a `Lose` is one that did not.
//! - **Answers** reach a worker at once where it waits for nothing else; what could happen meanwhile can
//!   as well happen before its next call or command arrives.
//! - **The sweeper** looks when a job has no message; too early a look is a `Double`.
//! - That a world goes on for ever without coming to an end is the simulator's to see, and so are
//!   several hosts, lost leaders, stores that are rolled back, and clocks that jump.

mod calls;
mod drives;
mod host;
mod memo;
mod scope;
mod state;
mod world;

use std::time::Instant;

use drs_protocol::session::StepPlan;
use drs_simulation::{Guard, Removed};
use stateright::{Checker, HasDiscoveries, Model};

use crate::scope::{Scope, Trouble as T};
use crate::world::SmallWorld;

const DETACHED: &[StepPlan] = &[StepPlan::detached("dump")];
const HELD: &[StepPlan] = &[StepPlan::held("export").volatile()];

const ANY: &[T] = &[
    T::Crash,
    T::Pause,
    T::Wipe,
    T::Reboot,
    T::Double,
    T::Lose,
    T::Late,
    T::Repeat,
    T::Fail,
    T::Cancel,
    T::Stop,
];

const CASES: &[Scope] = &[
    Scope {
        name: "any one trouble, detached",
        plan: DETACHED,
        troubles: ANY,
        at_most: 1,
        claims: 4,
    },
    Scope { name: "any one trouble, held", plan: HELD, troubles: ANY, at_most: 1, claims: 4 },
    Scope {
        name: "any two but a wipe, detached",
        plan: DETACHED,
        troubles: &[T::Crash, T::Pause, T::Reboot, T::Double, T::Late, T::Fail, T::Cancel],
        at_most: 2,
        claims: 3,
    },
    Scope {
        name: "a wipe and another, detached",
        plan: DETACHED,
        troubles: &[T::Crash, T::Pause, T::Wipe],
        at_most: 2,
        claims: 3,
    },
];

/// The harm that a small world comes to, with the shortest history that leads there.
fn harm(scope: &Scope, removed: Removed) -> Option<String> {
    let began = Instant::now();
    let checker = SmallWorld::new(scope.clone(), removed)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{} ({removed}): {} states, up to {} steps, {:.1} s",
        scope.name,
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let (property, path) = checker.discoveries().into_iter().next()?;
    let world = checker.model();
    let steps = path.into_vec();
    let harm = steps.last().and_then(|(state, _)| state.harm);
    let told: Vec<String> =
        steps.iter().map(|(state, action)| world.narrate(state, *action)).collect();
    Some(format!("{property}: {harm:?} ({removed})\n{}", told.join("\n")))
}

#[test]
fn no_small_world_comes_to_harm() {
    for scope in CASES {
        if let Some(harm) = harm(scope, Removed::NONE) {
            panic!("{}: {harm}", scope.name);
        }
    }
}

#[test]
fn without_a_guard_a_small_world_comes_to_harm() {
    let guards = [
        Guard::HostFence,
        Guard::ExitRecord,
        Guard::Holder,
        Guard::Tombstone,
        Guard::StoreCas,
        Guard::LockKept,
        Guard::Reassert,
        Guard::Sweep,
        Guard::Reap,
    ];
    for guard in guards {
        let removed = Removed::these(&[guard]);
        let harm = CASES.iter().take(2).find_map(|scope| harm(scope, removed));
        let harm = harm.unwrap_or_else(|| panic!("without {guard:?} no small world came to harm"));
        println!("{}", harm.lines().next().unwrap_or_default());
    }
}
