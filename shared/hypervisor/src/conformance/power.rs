//! Switching VMs.

use drs_model::{PowerAction, PowerState};

use super::Finding;
use super::bench::{Bench, During, ensure, ensure_eq, refused};
use crate::port::DriverError;

pub(super) async fn power_transitions_are_idempotent(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.off_vm();
    let (driver, grip) = (bench.driver(&vm), bench.grip(&vm));
    let hold = bench.hold(&grip, None).await?;
    for (action, power) in [
        (PowerAction::Stop, PowerState::Off),
        (PowerAction::Shutdown, PowerState::Off),
        (PowerAction::Start, PowerState::Running),
        (PowerAction::Start, PowerState::Running),
        (PowerAction::Stop, PowerState::Off),
        (PowerAction::Stop, PowerState::Off),
    ] {
        let what = format!("{action:?}");
        ensure_eq(&what, driver.power(&grip, &vm.name, action).await.during(&what)?, power)?;
        let described = driver.describe(&vm.name).await.during("describing a VM")?;
        ensure_eq(&format!("the power state after {what}"), described.power, power)?;
    }
    hold.release().await.during("releasing a hold")
}

pub(super) async fn power_of_unknown_vm_says_not_found(bench: &Bench<'_>) -> Result<(), Finding> {
    let vm = bench.fixture.fresh_target();
    let answer = bench.driver(&vm).power(&bench.grip(&vm), &vm.name, PowerAction::Start).await;
    let refusal = refused("switching an unknown VM", answer)?;
    ensure(matches!(refusal, DriverError::VmNotFound { .. }), || format!("it said {refusal:?}"))
}

pub(super) async fn a_vm_is_switched_under_the_grip_of_another(
    bench: &Bench<'_>,
) -> Result<(), Finding> {
    let (vm, other) = (bench.fixture.off_vm(), bench.fixture.running_vm());
    let (driver, grip) = (bench.driver(&vm), bench.grip(&other));
    let hold = bench.hold(&grip, None).await?;
    for (action, power) in
        [(PowerAction::Start, PowerState::Running), (PowerAction::Stop, PowerState::Off)]
    {
        let what = format!("{action:?}");
        ensure_eq(&what, driver.power(&grip, &vm.name, action).await.during(&what)?, power)?;
        ensure_eq("the power state", bench.describe(&vm).await?.power, power)?;
        let untouched = bench.describe(&other).await?.power;
        ensure_eq("the power state of the VM held", untouched, PowerState::Running)?;
    }
    hold.release().await.during("releasing a hold")
}
