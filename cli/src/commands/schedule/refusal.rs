//! What speaks against a schedule before it is there.

use drs_model::{
    Fault, FaultCode, HostName, ReplicationPair, Schedule, Subject, Transfer, VmRef, Work,
};

use crate::commands::{backup, replicate};
use crate::failure::{Failure, Outcome};
use crate::find;
use crate::place::Place;

/// Finds that nothing speaks against a schedule, or what does. Hosts and pairs that it names are looked
/// up, a VM is looked for where it runs.
pub(super) async fn none(place: &Place, schedule: &Schedule) -> Outcome<()> {
    let Schedule { subject, work, transfer, .. } = schedule;
    match work {
        Work::Backup => backups(place, subject, *transfer).await,
        Work::Replicate => replications(place, subject, *transfer).await,
        Work::Verify => verifications(place, subject, *transfer).await,
    }
}

async fn backups(place: &Place, subject: &Subject, transfer: Transfer) -> Outcome<()> {
    match subject {
        Subject::Vm(vm) => backup::ready(place, vm, transfer).await.map(drop),
        Subject::Pair(name) => {
            let vm = place.backend.catalog.pair(name).await?.source;
            backup::ready(place, &vm, transfer).await.map(drop)
        }
        Subject::Host(host) => {
            let driver = place.driver(host).await?;
            backup::movable(&*driver, transfer).await
        }
    }
}

async fn replications(place: &Place, subject: &Subject, transfer: Transfer) -> Outcome<()> {
    let pairs = match subject {
        Subject::Pair(name) => vec![place.backend.catalog.pair(name).await?],
        Subject::Vm(vm) => {
            place.driver(&vm.host).await?;
            pairs(place, |pair| pair.source == *vm).await?
        }
        Subject::Host(host) => {
            place.driver(host).await?;
            pairs(place, |pair| pair.source.host == *host).await?
        }
    };
    if pairs.is_empty() {
        return Err(unpaired(subject));
    }
    // A host may have many: each of its replications looks for itself when its time comes.
    if !matches!(subject, Subject::Host(_)) {
        for pair in &pairs {
            replicate::ready(place, pair, transfer).await?;
        }
    }
    Ok(())
}

async fn pairs(
    place: &Place,
    meant: impl Fn(&ReplicationPair) -> bool,
) -> Outcome<Vec<ReplicationPair>> {
    let mut pairs = place.backend.catalog.pairs().await?;
    pairs.retain(meant);
    Ok(pairs)
}

fn unpaired(subject: &Subject) -> Failure {
    let source = match subject {
        Subject::Vm(vm) => find::quoted(vm),
        Subject::Pair(_) | Subject::Host(_) => "HOST/VM".to_owned(),
    };
    Fault::permanent(
        FaultCode::PairNotFound,
        format!("there is no pair that protects {subject}"),
        format!("Add one: `drs pair add NAME --source {source} --target HOST`."),
    )
    .into()
}

async fn verifications(place: &Place, subject: &Subject, transfer: Transfer) -> Outcome<()> {
    if transfer != Transfer::default() {
        return Err(Failure::invalid(
            "a verification reads the vault and moves nothing from or to a host",
            "Leave out `--staged` and `--limit`.",
        ));
    }
    match subject {
        Subject::Vm(vm) => has_been(place, vm).await,
        Subject::Pair(name) => {
            has_been(place, &place.backend.catalog.pair(name).await?.source).await
        }
        Subject::Host(host) => known(place, host).await,
    }
}

async fn known(place: &Place, host: &HostName) -> Outcome<()> {
    place.backend.catalog.host(host).await?;
    Ok(())
}

/// A VM whose points are to be verified need not be there any more, if there are points of it.
async fn has_been(place: &Place, vm: &VmRef) -> Outcome<()> {
    known(place, &vm.host).await?;
    if place.vault()?.list().await?.latest_good(vm).is_some() {
        return Ok(());
    }
    place.driver(&vm.host).await?.describe(&vm.name).await?;
    Ok(())
}
