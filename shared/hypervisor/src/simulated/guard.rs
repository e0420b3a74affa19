//! The guard of a simulated host: the rules of `drs_protocol::guard` on the host's files.
//!
//! A hold is a locked file, so the death of its process frees the VM; whoever touches the VM next
//! runs its `at_loss` command first. A detached command is a record of when it ends, so it goes on
//! while no process lives. Each VM's journal tells when every hold and command began and ended.

mod ledger;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::guard::GuardExit;
use drs_model::{Grip, GuardAnswer, GuardStatus};
use drs_protocol::guard::{GuardEvent, Holder};
use drs_transport::{Argv, Hold, HostGuard, Output, Spawned, TransportError};
use tokio::io::AsyncReadExt;

use super::command::Command;
use super::state::{BOOT, Detached, HostDir, VmState, now_ms};
use ledger::{hold_ending, key};

/// How often a hold looks whether a newer claim has ended it.
const LOST_POLL: Duration = Duration::from_millis(50);

/// The guard of a simulated host.
#[derive(Debug, Clone)]
pub(super) struct SimulatedGuard {
    pub(super) dir: Arc<HostDir>,
}

struct SimulatedHold {
    dir: Arc<HostDir>,
    grip: Grip,
    number: u64,
    /// Locked while the hold lives.
    file: File,
    released: bool,
}

#[async_trait]
impl Hold for SimulatedHold {
    async fn lost(&self) {
        while self.file.metadata().is_ok_and(|file| file.nlink() > 0) {
            tokio::time::sleep(LOST_POLL).await;
        }
    }

    async fn release(mut self: Box<Self>) -> Result<(), TransportError> {
        self.released = true;
        let number = self.number;
        self.dir
            .with_vm(&self.grip.vm.name, |state| {
                if state.hold.as_ref().is_some_and(|hold| hold.number == number) {
                    self.dir.end_hold(&self.grip.vm.name, state, false)?;
                }
                Ok(())
            })
            .await
    }
}

impl Drop for SimulatedHold {
    /// What a death of the process does: the lock goes, and the host notices.
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let vm = &self.grip.vm.name;
        let path = self.dir.vm_file(vm, &hold_ending(self.number));
        let freed = self.file.unlock().map_err(|error| self.dir.broken(&path, &error));
        let noticed = freed.and_then(|()| match self.dir.try_lock(vm)? {
            Some(mut locked) => self.dir.save(vm, &mut locked),
            None => Ok(()),
        });
        if let Err(error) = noticed {
            tracing::warn!(%vm, %error, "the end of a hold is noticed when the VM is next used");
        }
    }
}

#[async_trait]
impl HostGuard for SimulatedGuard {
    async fn hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
    ) -> Result<(GuardAnswer, Option<Box<dyn Hold>>), TransportError> {
        let vm = &grip.vm.name;
        let begun = |state: &mut VmState| {
            let answer = state.guard.step(BOOT, &GuardEvent::Hold(grip));
            if answer != GuardAnswer::Started {
                return Ok((answer, None));
            }
            let holder = state.guard.holder.clone();
            self.dir.end_hold(vm, state, true)?;
            state.guard.holder = holder;
            Ok((answer, Some(self.dir.begin_hold(grip, at_loss, state)?)))
        };
        let (answer, begun) = self.dir.with_vm::<_, TransportError>(vm, begun).await?;
        let hold = begun.map(|(number, file)| -> Box<dyn Hold> {
            let (dir, grip) = (Arc::clone(&self.dir), grip.clone());
            Box::new(SimulatedHold { dir, grip, number, file, released: false })
        });
        Ok((answer, hold))
    }

    async fn start(
        &self,
        grip: &Grip,
        step: &str,
        argv: &Argv,
    ) -> Result<GuardAnswer, TransportError> {
        self.dir
            .with_vm(&grip.vm.name, |state| {
                let answer = state.guard.step(BOOT, &GuardEvent::Start(grip, step));
                if answer == GuardAnswer::Started {
                    let holder = state.guard.holder.clone();
                    self.dir.end_hold(&grip.vm.name, state, true)?;
                    state.guard.holder = holder;
                    self.dir.begin_command(grip, step, argv, state)?;
                }
                Ok(answer)
            })
            .await
    }

    async fn status(&self, grip: &Grip, step: &str) -> Result<GuardStatus, TransportError> {
        self.dir.with_vm(&grip.vm.name, |state| Ok(state.guard.status(BOOT, grip.job, step))).await
    }

    async fn log(&self, grip: &Grip, step: &str, offset: u64) -> Result<Bytes, TransportError> {
        let ended = matches!(self.status(grip, step).await?, GuardStatus::Exit(_));
        let state = self.dir.peek(&grip.vm.name)?;
        let Some(record) = state.detached.get(&key(grip.job, step)) else {
            return Ok(Bytes::new());
        };
        let end = if ended { format!("exit code {}\n", record.code) } else { String::new() };
        let text = Bytes::from(format!("{}\n{end}", record.command));
        Ok(text.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(text.len())..))
    }

    async fn cancel(&self, grip: &Grip, step: &str) -> Result<GuardAnswer, TransportError> {
        self.dir
            .with_vm(&grip.vm.name, |state| {
                let running = state.guard.holder.clone();
                let answer = state.guard.step(BOOT, &GuardEvent::Cancel(grip, step));
                if let GuardAnswer::Exit(_) = answer
                    && let Some(Holder { step: Some(_), fence, .. }) = running
                    && state.guard.holder.is_none()
                {
                    self.dir.note(&grip.vm.name, now_ms(), (grip.job, step, fence), "end")?;
                }
                if answer == GuardAnswer::Exit(GuardExit::Cancelled) {
                    let tombstone =
                        Detached { command: "cancelled".to_owned(), due_ms: now_ms(), code: 143 };
                    state.detached.insert(key(grip.job, step), tombstone);
                }
                Ok(answer)
            })
            .await
    }

    async fn run(
        &self,
        grip: &Grip,
        argv: &Argv,
        _stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError> {
        let mut locked = self.dir.lock(&grip.vm.name).await?;
        let admitted = self.dir.admit(grip, &mut locked.state);
        self.dir.save(&grip.vm.name, &mut locked)?;
        admitted?;
        let command = Command::parse(argv.parts());
        if command.length() > limit {
            tokio::time::sleep(limit).await;
            return Err(TransportError::TimedOut {
                host: self.dir.host_name().clone(),
                command: argv.to_string(),
                limit_s: limit.as_secs(),
            });
        }
        tokio::time::sleep(command.length()).await;
        let code = command.apply(&mut locked.state);
        self.dir.save(&grip.vm.name, &mut locked)?;
        Ok(Output { code, stdout: Vec::new(), stderr: complaint(code) })
    }

    async fn serve(&self, grip: &Grip, argv: &Argv) -> Result<Spawned, TransportError> {
        let command = Command::parse(argv.parts());
        let code = self
            .dir
            .with_vm::<_, TransportError>(&grip.vm.name, |state| {
                self.dir.admit(grip, state)?;
                Ok(command.apply(state))
            })
            .await?;
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let (ended, exit) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut ignored = [0; 4096];
            let channel_closed =
                async { while theirs.read(&mut ignored).await.is_ok_and(|count| count > 0) {} };
            let end = tokio::select! {
                () = tokio::time::sleep(command.length()) => (code, complaint(code)),
                () = channel_closed => (143, String::new()),
            };
            // Nobody may be waiting for the exit code any more.
            drop(ended.send(end));
        });
        Ok(Spawned { stream: Box::new(ours), exit })
    }

    async fn forget(&self, older_than: Duration) -> Result<(), TransportError> {
        let age_ms = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
        let horizon = now_ms().saturating_sub(age_ms);
        for vm in self.dir.recorded()? {
            self.dir
                .with_vm::<_, TransportError>(&vm, |state| {
                    let VmState { guard, detached, .. } = state;
                    guard.commands.retain(|step, command| {
                        command.exit.is_none()
                            || detached.get(step).is_some_and(|record| record.due_ms >= horizon)
                    });
                    detached.retain(|step, _| guard.commands.contains_key(step));
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }
}

fn complaint(code: i32) -> String {
    if code == 127 { "no such command on a simulated host".to_owned() } else { String::new() }
}
