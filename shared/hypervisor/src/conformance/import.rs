//! Making VMs.

use std::time::Duration;

use bytes::Bytes;
use drs_model::guard::GuardExit;
use drs_model::{
    Extent, Grip, GuardAnswer, GuardStatus, Piece, PowerState, RecoveryPoint, ReplacePolicy,
    VmName, VmRef,
};
use drs_transport::Hold;

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, eventually, refused};
use super::pass::mixed;
use crate::port::{DriverError, ImportPlan};

/// A restore that is held, planned and allocated.
pub(super) struct Import {
    pub(super) grip: Grip,
    pub(super) hold: Box<dyn Hold>,
    pub(super) plan: ImportPlan,
}

impl Import {
    pub(super) async fn begin(
        bench: &Bench<'_>,
        vm: &VmRef,
        point: &RecoveryPoint,
        replace: Option<ReplacePolicy>,
    ) -> Result<Self, Finding> {
        let grip = bench.grip(vm);
        let hold = bench.hold(&grip, None).await?;
        let plan = bench.plan(&grip, point, replace).await.during("planning")?;
        if plan.replaces.is_none() {
            ensure_eq("the name planned", &plan.name, &vm.name)?;
            ensure_eq("the name it is made as", &plan.made_as, &vm.name)?;
        }
        ensure_eq("the number of disks planned", plan.disks.len(), point.disks.len())?;
        bench.driver(vm).allocate(&grip, &plan).await.during("allocating")?;
        Ok(Self { grip, hold, plan })
    }

    /// A restore whose VM is made, its disks holding what is given.
    pub(super) async fn make(
        bench: &Bench<'_>,
        vm: &VmRef,
        point: &RecoveryPoint,
        replace: Option<ReplacePolicy>,
        pieces: &[Piece],
    ) -> Result<Self, Finding> {
        let import = Self::begin(bench, vm, point, replace).await?;
        import.write(bench, pieces).await?;
        import.define(bench).await?;
        Ok(import)
    }

    pub(super) async fn write(&self, bench: &Bench<'_>, pieces: &[Piece]) -> Result<(), Finding> {
        let opened = bench.driver(&self.grip.vm).write(&self.grip, &self.plan).await;
        let mut sink = opened.during("opening the import")?;
        for piece in pieces {
            sink.write(piece.clone()).await.during("writing")?;
        }
        sink.finish().await.during("finishing what was written")
    }

    pub(super) async fn define(&self, bench: &Bench<'_>) -> Result<(), Finding> {
        let driver = bench.driver(&self.grip.vm);
        driver.define(&self.grip, &self.plan).await.during("defining")
    }

    /// A VM of that name on the import's host.
    pub(super) fn named(&self, name: &VmName) -> VmRef {
        VmRef { host: self.grip.vm.host.clone(), name: name.clone() }
    }

    /// Takes the import back and gives its VM free.
    pub(super) async fn remove(self, bench: &Bench<'_>) -> Result<(), Finding> {
        let driver = bench.driver(&self.grip.vm);
        driver.remove_import(&self.grip, &self.plan).await.during("removing")?;
        let made = self.named(&self.plan.made_as);
        self.hold.release().await.during("releasing a hold")?;
        ensure_absent(bench, &made).await
    }

    /// Gives its VM free and tells how to remove the import later.
    pub(super) async fn leave(self) -> Result<Left, Finding> {
        let made = self.named(&self.plan.name);
        self.hold.release().await.during("releasing a hold")?;
        Ok(Left { grip: self.grip, plan: self.plan, made })
    }
}

/// An import that nobody holds.
pub(super) struct Left {
    grip: Grip,
    plan: ImportPlan,
    /// The VM it made.
    pub(super) made: VmRef,
}

impl Left {
    /// Takes the import back, twice.
    pub(super) async fn take_back(&self, bench: &Bench<'_>) -> Result<(), Finding> {
        let grip = bench.taken_over(&self.grip);
        for _ in 0..2 {
            let removed = bench.driver(&grip.vm).remove_import(&grip, &self.plan).await;
            removed.during("removing")?;
        }
        Ok(())
    }

    pub(super) async fn remove(self, bench: &Bench<'_>) -> Result<(), Finding> {
        self.take_back(bench).await?;
        ensure_absent(bench, &self.made).await
    }
}

/// A point of the VM that is off, without its content.
pub(super) async fn some_point(bench: &Bench<'_>) -> Result<RecoveryPoint, Finding> {
    let frozen = bench.freeze(&bench.fixture.off_vm()).await?;
    let point = frozen.point();
    frozen.close().await?;
    Ok(point)
}

pub(super) async fn ensure_absent(bench: &Bench<'_>, vm: &VmRef) -> Result<(), Finding> {
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
    let refusal = refused("an existing name", bench.plan(&grip, &point, None).await)?;
    ensure(matches!(refusal, DriverError::AlreadyExists { .. }), || format!("{refusal:?}"))?;
    let after = bench.driver(&vm).describe(&vm.name).await.during("describing")?;
    ensure_eq("the VM that was there", after, before)?;
    bench.ensure_nothing_left(&vm).await
}

pub(super) async fn plan_import_changes_nothing(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let grip = bench.grip(&vm);
    let plan = bench.plan(&grip, &point, None).await.during("planning")?;
    let again = bench.plan(&grip, &point, None).await.during("planning again")?;
    ensure_eq("the disks planned again", again.disks, plan.disks)?;
    ensure_absent(bench, &vm).await
}

pub(super) async fn import_makes_a_vm_that_reads_back_equal(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let frozen = bench.freeze(&bench.fixture.running_vm()).await?;
    let (pieces, content) = frozen.pieces().await?;
    let point = frozen.point();
    frozen.close().await?;
    // As they came, and in an order that no hypervisor would deliver.
    for pieces in [pieces.clone(), mixed(&pieces, 7)] {
        let vm = bench.fixture.fresh_target();
        let made = Import::make(bench, &vm, &point, None, &pieces).await?.leave().await?;
        let frozen = bench.freeze(&vm).await?;
        ensure_eq(
            "the power state of an import",
            frozen.export.description.power,
            PowerState::Off,
        )?;
        ensure_eq("the content of an import", &frozen.read().await?, &content)?;
        frozen.close().await?;
        made.remove(bench).await?;
    }
    Ok(())
}

pub(super) async fn allocate_begins_anew(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point, None).await?;
    let old = |content| {
        let data = Bytes::from(vec![0xa5; 4096]);
        Piece { content, extent: Extent { offset: 0, data } }
    };
    let pieces: Vec<Piece> = (0..import.plan.disks.len()).map(old).collect();
    import.write(bench, &pieces).await?;
    let allocated = bench.driver(&vm).allocate(&import.grip, &import.plan).await;
    allocated.during("allocating anew")?;
    import.write(bench, &[]).await?;
    import.define(bench).await?;
    let made = import.leave().await?;

    let frozen = bench.freeze(&vm).await?;
    let empty = crate::digest::ContentDigest::default().finish();
    let content = frozen.read().await?;
    ensure(content.iter().all(|digest| *digest == empty), || "old content is there".to_owned())?;
    frozen.close().await?;
    made.remove(bench).await
}

pub(super) async fn define_is_idempotent(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::make(bench, &vm, &point, None, &[]).await?;
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
    let late_plan = bench.plan(&late, &point, None).await.during("planning")?;
    let first = Import::make(bench, &vm, &point, None, &[]).await?.leave().await?;
    let made = bench.describe(&vm).await?;

    let late = bench.taken_over(&late);
    refused("defining a name that was taken", driver.define(&late, &late_plan).await)?;
    for _ in 0..2 {
        driver.remove_import(&late, &late_plan).await.during("removing what was not made")?;
    }
    ensure_eq("the other's VM", bench.describe(&vm).await?, made)?;
    first.remove(bench).await
}

pub(super) async fn hostile_pieces_are_refused(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point, None).await?;
    let driver = bench.driver(&vm);
    let size = import.plan.disks.first().ok_or("no disk is planned")?.size_bytes;
    for (content, offset, length) in [
        (0, size, 1),
        (0, size - 1, 2),
        (0, u64::MAX, 1),
        (0, u64::MAX - 511, 512),
        (0, 0, Extent::BYTES_MAX + 1),
        (import.plan.disks.len(), 0, 1),
        (usize::MAX, 0, 1),
    ] {
        driver.allocate(&import.grip, &import.plan).await.during("allocating")?;
        let sink = driver.write(&import.grip, &import.plan).await;
        let mut sink = sink.during("opening the import")?;
        let data = Bytes::from(vec![1; length]);
        let written = sink.write(Piece { content, extent: Extent { offset, data } }).await;
        ensure(written.is_err(), || {
            format!("{length} bytes at {offset} of content {content} were accepted")
        })?;
    }
    import.remove(bench).await
}

pub(super) async fn a_detached_check_starts_once(bench: &Bench<'_>) -> Result<(), Finding> {
    let (vm, point) = (bench.fixture.fresh_target(), some_point(bench).await?);
    let import = Import::begin(bench, &vm, &point, None).await?;
    import.write(bench, &[]).await?;
    let Import { grip, hold, plan } = import;
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
