//! Switching a guest. A guest under high availability is switched by its manager: the command returns
//! before anything has happened, so the state is what counts.

use std::time::Duration;

use bytes::Bytes;
use drs_model::{Grip, PowerAction, PowerState, VmName};
use drs_transport::Output;
use tokio::time::{Instant, sleep};

use super::{CHANGE_LIMIT, ProxmoxDriver, failure, script};
use crate::DriverError;
use crate::turn::order;

const POWER: &str = concat!(include_str!("../turn.sh"), include_str!("power.sh"));

/// How long a guest may take to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);
/// How long the state may take to be as wanted, when the command has ended.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// How often the state is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl ProxmoxDriver {
    pub(super) async fn switch(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        let guest = self.locate(&self.vm_ref(vm)).await?;
        let Some((verb, wanted)) = order_of(action, guest.power) else { return Ok(guest.power) };
        let tool = guest.words().tool;
        let what = format!("{tool} {verb} {}", guest.vmid);
        let argv = script(POWER, "drs-power")
            .args([verb, &grip.job.to_string(), &order(grip), tool])
            .args([guest.vmid.to_string(), SHUTDOWN_LIMIT.as_secs().to_string()]);
        let output = self.guard.run(grip, &argv, Bytes::new(), CHANGE_LIMIT).await?;
        if !output.ok() && !is_so_already(&output, wanted) {
            return Err(failure::failure(&self.host, Some(&guest.vm), &what, &output));
        }
        let vm = &guest.vm;
        let look = move || async move { Ok(self.locate(vm).await?.power) };
        match settled(wanted, look).await? {
            state if state == wanted => Ok(wanted),
            state => {
                let limit = SETTLE_LIMIT.as_secs();
                let reason = format!("{} is {state} and not {wanted} after {limit} s", guest.vm);
                Err(self.failed(&what, reason))
            }
        }
    }
}

/// Looks at the state until it is as wanted or the time is over; the state seen last.
async fn settled<F: Future<Output = Result<PowerState, DriverError>>>(
    wanted: PowerState,
    look: impl Fn() -> F,
) -> Result<PowerState, DriverError> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let state = look().await?;
        if state == wanted || Instant::now() >= deadline {
            return Ok(state);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What the tool is told and what the guest is to be then; nothing when it is so.
fn order_of(action: PowerAction, power: PowerState) -> Option<(&'static str, PowerState)> {
    match (action, power) {
        (PowerAction::Start, PowerState::Running) | (PowerAction::Shutdown, PowerState::Off) => {
            None
        }
        (PowerAction::Start, PowerState::Paused) => Some(("resume", PowerState::Running)),
        (PowerAction::Start, _) => Some(("start", PowerState::Running)),
        (PowerAction::Shutdown, _) => Some(("shutdown", PowerState::Off)),
        // Also of a guest that is off: a start of this job that was given up may be under way.
        (PowerAction::Stop, _) => Some(("stop", PowerState::Off)),
    }
}

/// Whether the tool complains only that the guest is already as wanted.
fn is_so_already(output: &Output, wanted: PowerState) -> bool {
    let words = match wanted {
        PowerState::Running => "already running",
        _ => "not running",
    };
    output.stderr.lines().any(|line| line.trim_end().ends_with(words))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    /// The command of a guest under high availability ends before anything has happened.
    #[tokio::test(start_paused = true)]
    async fn trap_12_the_state_counts_and_the_wait_has_an_end() {
        let looks = Cell::new(0);
        let starting = || {
            looks.set(looks.get() + 1);
            ready(Ok(if looks.get() > 30 { PowerState::Running } else { PowerState::Off }))
        };
        let state = settled(PowerState::Running, starting).await.expect("a state");
        assert_eq!((state, looks.get()), (PowerState::Running, 31));

        let begun = Instant::now();
        let never = settled(PowerState::Running, || ready(Ok(PowerState::Off))).await;
        assert_eq!(never.expect("a state"), PowerState::Off);
        assert!(begun.elapsed() >= SETTLE_LIMIT && begun.elapsed() < 2 * SETTLE_LIMIT);
    }

    fn complaint(text: &str) -> Output {
        Output { code: 255, stdout: Vec::new(), stderr: text.to_owned() }
    }

    #[test]
    fn a_guest_that_is_as_wanted_is_no_failure() {
        assert!(is_so_already(&complaint("VM 112 already running\n"), PowerState::Running));
        assert!(is_so_already(&complaint("CT 200 not running\n"), PowerState::Off));
        assert!(!is_so_already(&complaint("VM is locked (backup)\n"), PowerState::Off));
        assert!(!is_so_already(&complaint("VM 112 already running\n"), PowerState::Off));
    }

    #[test]
    fn a_paused_guest_is_resumed_and_one_that_is_off_is_stopped_all_the_same() {
        let order = order_of(PowerAction::Start, PowerState::Paused);
        assert_eq!(order, Some(("resume", PowerState::Running)));
        assert_eq!(order_of(PowerAction::Start, PowerState::Running), None);
        assert_eq!(order_of(PowerAction::Shutdown, PowerState::Off), None);
        assert_eq!(order_of(PowerAction::Stop, PowerState::Off), Some(("stop", PowerState::Off)));
    }
}
