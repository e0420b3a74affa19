//! Replacing VMs. Where a VM is named by a number its name cannot change: there the exchange does
//! nothing, and the new VM has a number of its own from the beginning.

use drs_model::{FaultCode, PowerAction, RecoveryPoint, ReplacePolicy, VmRef};

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, refused};
use super::import::{Import, Left, ensure_absent, some_point};
use crate::port::{Driver, DriverError, ImportPlan, ReplacedVm, VmDescription};

/// A VM that an import made and that nobody holds, off.
async fn standing(bench: &Bench<'_>, point: &RecoveryPoint) -> Result<(Left, VmRef), Finding> {
    let vm = bench.fixture.fresh_target();
    let left = Import::make(bench, &vm, point, None, &[]).await?.leave().await?;
    Ok((left, vm))
}

/// The VM that the plan displaces; it should be that one.
fn displaced<'a>(plan: &'a ImportPlan, vm: &VmDescription) -> Result<&'a ReplacedVm, Finding> {
    let old = plan.displaced().ok_or("the plan displaces no VM")?;
    ensure_eq("the name of the VM displaced", &old.name, &vm.spec.name)?;
    ensure_eq("the id of the VM displaced", &old.native_id, &vm.spec.native_id)?;
    Ok(old)
}

/// Whether the hypervisor exchanges names.
fn renames(plan: &ImportPlan) -> bool {
    plan.made_as != plan.name
}

async fn exchange(driver: &dyn Driver, import: &Import) -> Result<(), Finding> {
    for _ in 0..2 {
        driver.exchange(&import.grip, &import.plan).await.during("exchanging")?;
    }
    Ok(())
}

async fn exchange_back(driver: &dyn Driver, import: &Import) -> Result<(), Finding> {
    for _ in 0..2 {
        driver.exchange_back(&import.grip, &import.plan).await.during("exchanging back")?;
    }
    Ok(())
}

async fn destroy_displaced(driver: &dyn Driver, import: &Import) -> Result<(), Finding> {
    for _ in 0..2 {
        let destroyed = driver.destroy_displaced(&import.grip, &import.plan).await;
        destroyed.during("destroying the displaced VM")?;
    }
    Ok(())
}

pub(super) async fn keep_makes_another_vm_and_touches_nothing(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let (first, vm) = standing(bench, &point).await?;
    let before = bench.describe(&vm).await?;
    let driver = bench.driver(&vm);
    let import = Import::make(bench, &vm, &point, Some(ReplacePolicy::Keep), &[]).await?;
    ensure(import.plan.name != vm.name, || format!("{vm} is there and should stay"))?;
    ensure_eq("the name it is made as", &import.plan.made_as, &import.plan.name)?;
    ensure(import.plan.displaced().is_none(), || "a VM that stays is displaced".to_owned())?;
    exchange(driver.as_ref(), &import).await?;
    destroy_displaced(driver.as_ref(), &import).await?;
    ensure_eq("the VM that stays", bench.describe(&vm).await?, before.clone())?;
    let made = bench.describe(&import.named(&import.plan.name)).await?;
    ensure(made.spec.native_id != before.spec.native_id, || "it is the same VM".to_owned())?;
    exchange_back(driver.as_ref(), &import).await?;
    import.remove(bench).await?;
    ensure_eq("the VM that stays", bench.describe(&vm).await?, before)?;
    first.remove(bench).await
}

pub(super) async fn stop_and_keep_exchanges_the_vms_and_back(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let (first, vm) = standing(bench, &point).await?;
    let before = bench.describe(&vm).await?;
    let driver = bench.driver(&vm);
    let policy = Some(ReplacePolicy::StopAndKeep);
    let import = Import::make(bench, &vm, &point, policy, &[]).await?;
    let old = displaced(&import.plan, &before)?;
    let made_as = import.named(&import.plan.made_as);
    let (name, aside) = (import.named(&import.plan.name), import.named(&old.aside));
    let fresh = bench.describe(&made_as).await?;
    ensure_eq("the old VM beside the new one", bench.describe(&vm).await?, before.clone())?;
    ensure(fresh.spec.native_id != before.spec.native_id, || "it is the same VM".to_owned())?;
    // Back before and after, and there once more.
    for _ in 0..2 {
        exchange_back(driver.as_ref(), &import).await?;
        ensure_eq("the old VM", bench.describe(&vm).await?, before.clone())?;
        ensure_eq("the new VM", bench.describe(&made_as).await?, fresh.clone())?;
        exchange(driver.as_ref(), &import).await?;
        let (new_id, old_id) = (fresh.spec.native_id.clone(), before.spec.native_id.clone());
        let at_name = bench.describe(&name).await?.spec.native_id;
        ensure_eq("the id of the VM with the final name", at_name, new_id)?;
        ensure_eq("the id of the VM aside", bench.describe(&aside).await?.spec.native_id, old_id)?;
    }
    destroy_displaced(driver.as_ref(), &import).await?;
    let kept = bench.describe(&aside).await?.spec.native_id;
    ensure_eq("the id of the VM kept", &kept, &before.spec.native_id)?;
    exchange_back(driver.as_ref(), &import).await?;
    import.remove(bench).await?;
    ensure_eq("the old VM in the end", bench.describe(&vm).await?, before)?;
    first.remove(bench).await
}

pub(super) async fn an_import_can_be_removed_after_the_exchange(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let (first, vm) = standing(bench, &point).await?;
    let before = bench.describe(&vm).await?;
    let driver = bench.driver(&vm);
    let policy = Some(ReplacePolicy::DestroyAfterProof);
    let import = Import::make(bench, &vm, &point, policy, &[]).await?;
    let aside = import.named(&displaced(&import.plan, &before)?.aside);
    exchange(driver.as_ref(), &import).await?;
    import.define(bench).await?;
    for _ in 0..2 {
        let removed = driver.remove_import(&import.grip, &import.plan).await;
        removed.during("removing after the exchange")?;
    }
    let kept = bench.describe(&aside).await?.spec.native_id;
    ensure_eq("the id of the VM aside", &kept, &before.spec.native_id)?;
    exchange_back(driver.as_ref(), &import).await?;
    ensure_eq("the old VM in the end", bench.describe(&vm).await?, before)?;
    import.remove(bench).await?;
    first.remove(bench).await
}

pub(super) async fn destroy_after_proof_destroys_exactly_the_displaced_vm(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.off_vm()).await?;
    let ((pieces, content), point) = (frozen.pieces().await?, frozen.point());
    frozen.close().await?;
    let (bystander, other) = standing(bench, &point).await?;
    let (first, vm) = standing(bench, &point).await?;
    let (before, untouched) = (bench.describe(&vm).await?, bench.describe(&other).await?);
    let driver = bench.driver(&vm);
    let policy = Some(ReplacePolicy::DestroyAfterProof);
    let import = Import::make(bench, &vm, &point, policy, &pieces).await?;
    let aside = import.named(&displaced(&import.plan, &before)?.aside);
    exchange(driver.as_ref(), &import).await?;
    destroy_displaced(driver.as_ref(), &import).await?;
    let second = import.leave().await?;
    ensure_absent(bench, &aside).await?;
    // What made the old VM can be taken back no more, and takes nothing with it.
    first.take_back(bench).await?;
    ensure_eq("a VM beside", bench.describe(&other).await?, untouched)?;
    let frozen = bench.freeze(&second.made).await?;
    ensure_eq("the content of the new VM", frozen.read().await?, content)?;
    frozen.close().await?;
    second.remove(bench).await?;
    ensure_absent(bench, &vm).await?;
    bystander.remove(bench).await
}

pub(super) async fn a_running_vm_is_neither_renamed_nor_destroyed(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let (first, vm) = standing(bench, &point).await?;
    let before = bench.describe(&vm).await?;
    let driver = bench.driver(&vm);
    let policy = Some(ReplacePolicy::DestroyAfterProof);
    let import = Import::make(bench, &vm, &point, policy, &[]).await?;
    let old = displaced(&import.plan, &before)?;
    ensure(!old.running, || "a VM that is off is said to run".to_owned())?;
    let (grip, plan, aside) = (&import.grip, &import.plan, old.aside.clone());
    let switch = async |name, action| driver.power(grip, name, action).await.during("switching");

    if renames(plan) {
        switch(&vm.name, PowerAction::Start).await?;
        refused("the exchange of a running VM", driver.exchange(grip, plan).await)?;
        let stays = bench.describe(&vm).await?.spec.native_id;
        ensure_eq("the id of the running VM", &stays, &before.spec.native_id)?;
        switch(&vm.name, PowerAction::Stop).await?;
    }
    exchange(driver.as_ref(), &import).await?;
    switch(&aside, PowerAction::Start).await?;
    refused("destroying a running VM", driver.destroy_displaced(grip, plan).await)?;
    let stays = bench.describe(&import.named(&aside)).await?.spec.native_id;
    ensure_eq("the id of the VM aside", &stays, &before.spec.native_id)?;
    switch(&aside, PowerAction::Stop).await?;
    exchange_back(driver.as_ref(), &import).await?;
    import.remove(bench).await?;
    first.remove(bench).await
}

pub(super) async fn refresh_copy_refuses_what_is_no_copy_or_runs(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let policy = Some(ReplacePolicy::RefreshCopy);
    let is_refused = async |what: &str, vm: &VmRef| {
        let refusal = refused(what, bench.plan(&bench.grip(vm), &point, policy).await)?;
        let fault = refusal.fault();
        ensure_eq("the code of the refusal", fault.code, FaultCode::AlreadyExists)?;
        ensure(!matches!(refusal, DriverError::AlreadyExists { .. }), || {
            format!("the refusal does not say why: {refusal}")
        })
    };
    is_refused("refreshing a VM that is no copy", &bench.fixture.off_vm()).await?;

    let (first, vm) = standing(bench, &point).await?;
    let (driver, grip) = (bench.driver(&vm), bench.grip(&vm));
    let hold = bench.hold(&grip, None).await?;
    driver.power(&grip, &vm.name, PowerAction::Start).await.during("starting")?;
    is_refused("refreshing a copy that runs", &vm).await?;
    driver.power(&grip, &vm.name, PowerAction::Stop).await.during("stopping")?;
    hold.release().await.during("releasing a hold")?;
    let before = bench.describe(&vm).await?;
    let plan = bench.plan(&bench.grip(&vm), &point, policy).await;
    displaced(&plan.during("planning to refresh a copy")?, &before)?;
    first.remove(bench).await
}

pub(super) async fn repeated_refreshes_leave_one_vm_and_its_disks(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let point = some_point(bench).await?;
    let policy = Some(ReplacePolicy::RefreshCopy);
    let mut vm = bench.fixture.fresh_target();
    let driver = bench.driver(&vm);
    let count = async || Ok::<_, Finding>(driver.inventory().await.during("listing VMs")?.len());
    let (others, mut lengths) = (count().await?, None);
    let mut newest = Import::make(bench, &vm, &point, policy, &[]).await?.leave().await?;
    ensure_eq("the name of the first copy", &newest.made, &vm)?;
    for _ in 0..3 {
        let before = bench.describe(&vm).await?;
        let import = Import::make(bench, &vm, &point, policy, &[]).await?;
        let (plan, old) = (&import.plan, displaced(&import.plan, &before)?);
        if renames(plan) {
            ensure_eq("the name of a copy", &plan.name, &vm.name)?;
            let paths: usize = plan.disks.iter().map(|disk| disk.path.len()).sum();
            let now = [plan.made_as.as_str().len(), old.aside.as_str().len(), paths];
            ensure_eq("the lengths of the names", now, *lengths.get_or_insert(now))?;
        }
        let aside = import.named(&old.aside);
        exchange(driver.as_ref(), &import).await?;
        destroy_displaced(driver.as_ref(), &import).await?;
        newest = import.leave().await?;
        ensure_absent(bench, &aside).await?;
        ensure_eq("the number of VMs", count().await?, others + 1)?;
        vm = newest.made.clone();
        bench.ensure_nothing_left(&vm).await?;
    }
    newest.remove(bench).await
}
