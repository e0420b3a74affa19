//! `replicate`: make a recovery point of a VM and bring its counterpart up to date from it.
//!
//! Staged, it is the backup, staged where the source's host can do it, and behind its commit the
//! restore of the point, staged where the target's host can; see those two. `refill` is the restore's
//! `copy` there.
//!
//! As a stream, a single read of the source feeds the vault and the counterpart at once:
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | inspect, clean | | as in a backup | |
//! | foresee | free | the import is planned from what the source is now | |
//! | prepare | held, volatile, provisional | room is made for the import | remove it |
//! | export | held, volatile | as in a backup | |
//! | copy | held, volatile | every content is in the vault, durable, and in the import, if that goes through | drop it in the vault |
//! | close | held | as in a backup | |
//! | commit | free, barrier | the point exists, and stays whatever follows | |
//! | confirm | free, volatile | it is known whether the import holds the point | |
//! | plan | held, volatile | if it does: the import goes on as foreseen; if not: what is there of it is gone, and it is planned anew from the point | remove what was foreseen |
//! | allocate, refill | held, volatile | as in a restore; nothing if it does | |
//! | check ... destroy | | as in a restore | |
//!
//! # A counterpart that fails
//! Before the copy the job fails as a whole: nothing was read yet. During the copy the import is given up
//! with a warning and the vault gets the rest. Behind the barrier only the restore is undone and tried
//! again, and then from the vault: `confirm` says that the import holds the point only if the copy said
//! so and `plan`, whose undo would have removed it, was never begun before. No failure of the counterpart
//! after the copy costs a second read of the source.
//!
//! What `prepare` made is provisional: when the job ends between the two barriers otherwise than done, it
//! is taken back although it lies before the first.
//!
//! # Crash points
//! Those of every step, by the names that the crate's documentation gives, and `replicate/copy/midway` as
//! [`super::copy`] says.

mod confirm;
mod foresee;
mod pass;

use drs_model::TransferMethod;

use super::{backup, restore};
use crate::saga::{Hosts, Saga, Side, Step};

pub(super) fn saga(method: TransferMethod, hosts: &Hosts) -> Saga {
    match method {
        TransferMethod::Stream => one_pass(),
        TransferMethod::Staged => two_passes(hosts),
    }
}

/// Staged on a side whose host can do that. A host that is not known counts as one that can.
fn method(hosts: &Hosts, side: Side) -> TransferMethod {
    match hosts.driver(side) {
        Some(driver) if driver.staging().is_none() => TransferMethod::Stream,
        Some(_) | None => TransferMethod::Staged,
    }
}

fn two_passes(hosts: &Hosts) -> Saga {
    let source = method(hosts, Side::Source);
    let mut steps = backup::steps(source);
    steps.push(Box::new(backup::Commit { barrier: true }));
    steps.extend(restore::steps(method(hosts, Side::Target), "refill"));
    Saga { steps, at_loss: backup::at_loss(source) }
}

fn one_pass() -> Saga {
    let mut steps: Vec<Box<dyn Step>> = vec![
        Box::new(backup::Inspect(TransferMethod::Stream)),
        Box::new(backup::Clean(TransferMethod::Stream)),
        Box::new(foresee::Foresee),
        Box::new(foresee::Prepare),
        Box::new(backup::OpenExport),
        Box::new(pass::Pass),
        Box::new(backup::CloseExport),
        Box::new(backup::Commit { barrier: true }),
        Box::new(confirm::Confirm),
        Box::new(confirm::Settle),
        Box::new(restore::Allocate { volatile: true }),
        Box::new(restore::Fill("refill")),
    ];
    steps.extend(restore::landing());
    Saga { steps, at_loss: backup::at_loss(TransferMethod::Stream) }
}
