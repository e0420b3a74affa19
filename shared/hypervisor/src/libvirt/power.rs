//! Switching a VM.

use std::time::Duration;

use bytes::Bytes;
use drs_model::{Grip, PowerAction, PowerState, VmName};
use drs_transport::Argv;
use tokio::time::{Instant, sleep};

use super::{CHANGE_LIMIT, LibvirtDriver, script};
use crate::DriverError;
use crate::turn::order;

const POWER: &str = concat!(include_str!("../turn.sh"), include_str!("power.sh"));

/// How long a guest may take to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);
/// How often the state is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A call of `power.sh`.
pub(super) fn switch_call(command: &str) -> Argv {
    script(POWER, "drs-power").arg(command)
}

impl LibvirtDriver {
    pub(super) async fn switch(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        let switched = self.vm_ref(vm);
        let vm = self.find(&switched).await?;
        let (command, wanted) = match (action, vm.power) {
            (PowerAction::Start, PowerState::Running) => return Ok(PowerState::Running),
            (PowerAction::Start, PowerState::Paused) => ("resume", PowerState::Running),
            (PowerAction::Start, _) => ("start", PowerState::Running),
            (PowerAction::Shutdown, PowerState::Off) => return Ok(PowerState::Off),
            (PowerAction::Shutdown, _) => ("shutdown", PowerState::Off),
            // Also of a VM that is off: a start of this job that was given up may be under way.
            (PowerAction::Stop, _) => ("destroy", PowerState::Off),
        };
        let what = format!("virsh {command}");
        let argv = switch_call(command).args([grip.job.to_string(), order(grip), vm.uuid]);
        let output = self.guard.run(grip, &argv, Bytes::new(), CHANGE_LIMIT).await?;
        self.text(Some(&switched), &what, &output)?;
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        loop {
            if self.find(&switched).await?.power == wanted {
                return Ok(wanted);
            }
            if Instant::now() >= deadline {
                return Err(DriverError::Failed {
                    host: self.host.name.to_string(),
                    what,
                    reason: format!(
                        "{switched} is not {wanted} after {} s; the guest may ignore the power button",
                        SHUTDOWN_LIMIT.as_secs()
                    ),
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
