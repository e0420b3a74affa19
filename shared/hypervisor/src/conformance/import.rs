//! Making VMs.

use std::time::Duration;

use bytes::Bytes;
use drs_model::guard::GuardExit;
use drs_model::{Extent, Grip, GuardAnswer, GuardStatus, PowerState, RecoveryPoint, VmRef};
use drs_transport::Hold;

use super::Finding;
use super::bench::{Bench, During, Frozen, ensure, ensure_eq, eventually, refused};
use crate::port::{DriverError, ImportPlan};

/// A restore that is held and planned, its staging disks made.
struct Import {
    grip: Grip,
    hold: Box<dyn Hold>,
    plan: ImportPlan,
}

impl Import {
    async fn begin(bench: &Bench<'_>, vm: &VmRef, point: &RecoveryPoint) -> Result<Self, Finding> {
        let grip = bench.grip(vm);
        let hold = bench.hold(&grip, None).await?;
        let plan = bench.plan(&grip, point).await.during("planning")?;
        ensure_eq("the name planned", &plan.name, &vm.name)?;
        ensure_eq("the number of disks planned", plan.disks.len(), point.disks.len())?;
        bench.driver(vm).create_disks(&grip, &plan).await.during("making disks")?;
        Ok(Self { grip, hold, plan })
    }

    async fn define(&self, bench: &Bench<'_>) -> Result<(), Finding> {
        let driver = bench.driver(&self.grip.vm);
        driver.define(&self.grip, &self.plan).await.during("defining")
    }

    async fn remove(self, bench: &Bench<'_>) -> Result<(), Finding> {
        let driver = bench.driver(&self.grip.vm);
        driver.remove_import(&self.grip, &self.plan).await.during("removing")?;
        self.hold.release().await.during("releasing a hold")?;
        ensure_absent(bench, &self.grip.vm).await
    }
}

/// A point of the VM that is off, without its content.
async fn some_point(bench: &Bench<'_>) -> Result<RecoveryPoint, Finding> {
    let vm = bench.fixture.off_vm();
    let (driver, grip) = (bench.driver(&vm), bench.grip(&vm));
    let hold = bench.hold(&grip, None).await?;
    let export = driver.open_export(&grip).await.during("opening an export")?;
    let frozen = Frozen { driver, grip, hold, export };
    let point = frozen.point();
    frozen.close().await?;
    Ok(point)
}

async fn ensure_absent(bench: &Bench<'_>, vm: &VmRef) -> Result<(), Finding> {
    match bench.driver(vm).describe(&vm.name).await {
        Err(DriverError::VmNotFound { .. }) => bench.ensure_nothing_left(vm).await,
        other => Err(format!("{vm} should not be there: {other:?}")),
    }
}

pub(super) async fn plan_import_refuses_an_existing_name_and_changes_nothing(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.off_vm(), some_point(bench).await?);
    let before = bench.driver(&vm).describe(&vm.name).await.during("describing")?;
    let grip = bench.grip(&vm);
    let refusal = refused("an existing name", bench.plan(&grip, &point).await)?;
    ensure(matches!(refusal, DriverError::AlreadyExists { .. }), || format!("{refusal:?}"))?;
    let after = bench.driver(&vm).describe(&vm.name).await.during("describing")?;
    ensure_eq("the VM that was there", after, before)?;
    bench.ensure_nothing_left(&vm).await
}

pub(super) async fn plan_import_changes_nothing(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let grip = bench.grip(&vm);
    let plan = bench.plan(&grip, &point).await.during("planning")?;
    let again = bench.plan(&grip, &point).await.during("planning again")?;
    ensure_eq("the disks planned again", again.disks, plan.disks)?;
    ensure_absent(bench, &vm).await
}

pub(super) async fn import_makes_a_vm_that_reads_back_equal(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let content = frozen.read().await?;
    let vm = bench.fixture.fresh_target();
    let import = Import::begin(bench, &vm, &frozen.point()).await?;
    let driver = bench.driver(&vm);
    for planned in &import.plan.disks {
        let disk = frozen.export.description.spec.disks.iter().find(|d| d.name == planned.name);
        let disk = disk.ok_or_else(|| format!("the source has no disk {}", planned.name))?;
        let opened = frozen.driver.read_disk(&frozen.grip, &frozen.export, disk).await;
        let mut source = opened.during("opening a disk")?;
        let opened = driver.write_disk(&import.grip, &import.plan, planned).await;
        let mut sink = opened.during("opening a staging disk")?;
        while let Some(extent) = source.next().await.during("reading")? {
            sink.write(extent).await.during("writing")?;
        }
        sink.finish().await.during("finishing a disk")?;
    }
    frozen.close().await?;
    import.define(bench).await?;
    import.hold.release().await.during("releasing a hold")?;

    let made = bench.freeze(&vm).await?;
    ensure_eq("the power state of an import", made.export.description.power, PowerState::Off)?;
    ensure_eq("the content of an import", made.read().await?, content)?;
    made.close().await?;
    let grip = bench.taken_over(&import.grip);
    driver.remove_import(&grip, &import.plan).await.during("removing")?;
    ensure_absent(bench, &vm).await
}

pub(super) async fn create_disks_makes_them_anew(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point).await?;
    let driver = bench.driver(&vm);
    for planned in &import.plan.disks {
        let sink = driver.write_disk(&import.grip, &import.plan, planned).await;
        let mut sink = sink.during("opening a staging disk")?;
        let extent = Extent { offset: 0, data: Bytes::from(vec![0xa5; 4096]) };
        sink.write(extent).await.during("writing")?;
        sink.finish().await.during("finishing a disk")?;
    }
    driver.create_disks(&import.grip, &import.plan).await.during("making disks anew")?;
    import.define(bench).await?;
    import.hold.release().await.during("releasing a hold")?;

    let made = bench.freeze(&vm).await?;
    let empty = crate::digest::ContentDigest::default().finish();
    let content = made.read().await?;
    ensure(content.iter().all(|digest| *digest == empty), || "old content is there".to_owned())?;
    made.close().await?;
    let grip = bench.taken_over(&import.grip);
    driver.remove_import(&grip, &import.plan).await.during("removing")?;
    ensure_absent(bench, &vm).await
}

pub(super) async fn define_is_idempotent(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point).await?;
    import.define(bench).await?;
    let first = bench.driver(&vm).describe(&vm.name).await.during("describing")?;
    import.define(bench).await?;
    let second = bench.driver(&vm).describe(&vm.name).await.during("describing")?;
    ensure_eq("the VM defined again", &second, &first)?;
    ensure_eq("its memory", second.spec.memory_mib, point.spec.memory_mib)?;
    ensure_eq("its CPUs", second.spec.vcpus, point.spec.vcpus)?;
    import.remove(bench).await
}

pub(super) async fn remove_import_removes_only_its_own_and_is_idempotent(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let driver = bench.driver(&vm);
    // Two restores under one name are planned; the other one is first.
    let late = bench.grip(&vm);
    let late_plan = bench.plan(&late, &point).await.during("planning")?;
    let first = Import::begin(bench, &vm, &point).await?;
    first.define(bench).await?;
    let made = driver.describe(&vm.name).await.during("describing")?;
    first.hold.release().await.during("releasing a hold")?;

    let late = bench.taken_over(&late);
    refused("defining a name that was taken", driver.define(&late, &late_plan).await)?;
    for _ in 0..2 {
        driver.remove_import(&late, &late_plan).await.during("removing what was not made")?;
    }
    let still = driver.describe(&vm.name).await.during("describing the other's VM")?;
    ensure_eq("the other's VM", still, made)?;

    let grip = bench.taken_over(&first.grip);
    for _ in 0..2 {
        driver.remove_import(&grip, &first.plan).await.during("removing")?;
    }
    ensure_absent(bench, &vm).await
}

pub(super) async fn hostile_extents_are_refused(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point).await?;
    let driver = bench.driver(&vm);
    let planned = import.plan.disks.first().ok_or("no disk is planned")?;
    for (offset, length) in [
        (planned.size_bytes, 1),
        (planned.size_bytes - 1, 2),
        (u64::MAX, 1),
        (u64::MAX - 511, 512),
        (0, Extent::BYTES_MAX + 1),
    ] {
        let sink = driver.write_disk(&import.grip, &import.plan, planned).await;
        let mut sink = sink.during("opening a staging disk")?;
        let data = Bytes::from(vec![1; length]);
        let written = sink.write(Extent { offset, data }).await;
        ensure(written.is_err(), || format!("{length} bytes at {offset} were accepted"))?;
    }
    import.remove(bench).await
}

pub(super) async fn a_detached_check_starts_once(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let Import { grip, hold, plan } = Import::begin(bench, &vm, &point).await?;
    hold.release().await.during("releasing a hold")?;
    let (driver, step) = (bench.driver(&vm), "check");
    let guard = driver.guard();
    let argv = driver.check_command(&plan).ok_or("there is no check command")?;
    let status = guard.status(&grip, step).await.during("asking")?;
    ensure_eq("the status before", status, GuardStatus::Unknown)?;
    let answer = guard.start(&grip, step, &argv).await.during("starting")?;
    ensure_eq("the answer to a start", answer, GuardAnswer::Started)?;

    let takes_over = bench.taken_over(&grip);
    let sound = GuardExit::Code(0);
    let answer = guard.start(&takes_over, step, &argv).await.during("starting again")?;
    ensure(matches!(answer, GuardAnswer::Attached) || answer == GuardAnswer::Exit(sound), || {
        format!("a second start was answered {answer:?}")
    })?;
    eventually("the check ends", Duration::from_secs(60), || async {
        match guard.status(&takes_over, step).await.during("asking")? {
            GuardStatus::Running => Ok(false),
            GuardStatus::Exit(exit) => ensure_eq("the exit", exit, sound).map(|()| true),
            other => Err(format!("the check is {other:?}")),
        }
    })
    .await?;
    let answer = guard.start(&takes_over, step, &argv).await.during("starting once more")?;
    ensure_eq("the answer to a third start", answer, GuardAnswer::Exit(sound))?;
    driver.remove_import(&takes_over, &plan).await.during("removing")?;
    ensure_absent(bench, &vm).await
}
