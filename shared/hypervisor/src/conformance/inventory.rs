//! Finding and describing VMs.

use drs_model::PowerState;

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, refused};
use crate::port::DriverError;

pub(super) async fn check_counts_the_inventory(bench: &Bench<'_>) -> Result<(), Finding> {
    for driver in [bench.fixture.source(), bench.fixture.target()] {
        let report = driver.check().await.during("checking the host")?;
        let inventory = driver.inventory().await.during("listing VMs")?;
        ensure_eq("the number of VMs", report.vms, inventory.len())?;
        ensure(!report.hypervisor.is_empty(), || "the hypervisor has no name".to_owned())?;
        ensure(report.free_bytes > 0, || "the host says that it is full".to_owned())?;
    }
    Ok(())
}

pub(super) async fn inventory_lists_described_vms(bench: &Bench<'_>) -> Result<(), Finding> {
    let driver = bench.fixture.source();
    let inventory = driver.inventory().await.during("listing VMs")?;
    ensure(inventory.is_sorted_by(|a, b| a.name < b.name), || "not sorted by name".to_owned())?;
    for (vm, power) in [
        (bench.fixture.running_vm(), PowerState::Running),
        (bench.fixture.off_vm(), PowerState::Off),
    ] {
        let listed = inventory.iter().find(|listed| listed.name == vm.name);
        let listed = listed.ok_or_else(|| format!("{vm} is not listed"))?;
        let described = driver.describe(&vm.name).await.during("describing a VM")?;
        ensure_eq("the power state described", described.power, power)?;
        ensure_eq("the power state listed", listed.power, power)?;
        ensure_eq("the name described", &described.spec.name, &vm.name)?;
        ensure_eq("the label listed", &listed.label, &described.spec.label)?;
        ensure_eq("the form listed", listed.form, described.spec.form)?;
        ensure_eq("the id listed", &listed.native_id, &described.spec.native_id)?;
        ensure(described.spec.protected_bytes() > 0, || format!("{vm} has no covered disk"))?;
    }
    Ok(())
}

pub(super) async fn describe_of_unknown_vm_says_not_found(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let known = bench.fixture.running_vm();
    let label = bench.describe(&known).await?.spec.label;
    // Where a name is a number people type what they call the VM.
    let typed = if label.is_empty() { format!("{}q", known.name) } else { label };
    let mistyped = typed.parse().during("naming a VM")?;
    match refused("a mistyped name", bench.fixture.source().describe(&mistyped).await)? {
        DriverError::VmNotFound { vm, similar } => {
            ensure_eq("the name not found", vm.name, mistyped)?;
            ensure(similar.is_some(), || format!("{known} was not offered"))
        }
        other => Err(format!("a mistyped name was answered {other:?}")),
    }
}
