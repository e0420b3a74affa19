//! The host guard as a port: one job per VM, enforced on the host itself.
//!
//! Three ways to work under it:
//! - [`HostGuard::hold`] takes the VM for as long as a channel stays open (streams: the worker pumps
//!   the bytes, so the work ends with the worker);
//! - [`HostGuard::start`] starts a command that outlives the connection (re-attachable);
//! - [`HostGuard::run`] runs one short command, refused when the fencing token is stale.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{Grip, GuardAnswer, GuardStatus};

use crate::{Argv, Output, Spawned, TransportError};

mod answer;
mod hold;
mod pulse;
mod shell;

pub use pulse::Pulse;
pub use shell::ShellGuard;

/// The VM is held while this lives and its runtime runs: it beats ([`Pulse`]). Dropping it ends the
/// hold as a death of the worker would: the host runs the `at_loss` command given to
/// [`HostGuard::hold`].
#[async_trait]
pub trait Hold: Send + Sync {
    /// Resolves when the host ended the hold or the connection broke.
    async fn lost(&self);

    /// Gives the VM back in order: the `at_loss` command does not run.
    ///
    /// # Errors
    /// The host cannot be reached; the hold is over all the same.
    async fn release(self: Box<Self>) -> Result<(), TransportError>;
}

/// The guard of one host.
#[async_trait]
pub trait HostGuard: Send + Sync {
    /// Takes the VM while the returned hold lives. A hold of the same job under an older token is
    /// ended first. When the worker or the connection dies, or the worker falls silent, the host
    /// itself runs `at_loss` before it gives the VM free.
    ///
    /// Answers `Started` with the hold, or `Busy` or `Stale` without.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
    ) -> Result<(GuardAnswer, Option<Box<dyn Hold>>), TransportError>;

    /// Starts a command that outlives the connection, once: a second call with the same job and
    /// step attaches to it, or tells how it ended.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn start(
        &self,
        grip: &Grip,
        step: &str,
        argv: &Argv,
    ) -> Result<GuardAnswer, TransportError>;

    /// How the detached command of a step stands.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn status(&self, grip: &Grip, step: &str) -> Result<GuardStatus, TransportError>;

    /// The log of a detached command from an offset, at most 64 KiB.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn log(&self, grip: &Grip, step: &str, offset: u64) -> Result<Bytes, TransportError>;

    /// Ends the detached command of a step and leaves a tombstone: a late start cannot run it. `Stale`
    /// or `Busy` when nothing was done.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn cancel(&self, grip: &Grip, step: &str) -> Result<GuardAnswer, TransportError>;

    /// Runs a short command to its end unless a newer claim was seen for the VM or another job has it.
    /// The check and the command are one: no newer claim is admitted in between.
    ///
    /// # Errors
    /// As [`crate::Remote::exec`]; [`TransportError::Stale`] or [`TransportError::Busy`] when refused.
    async fn run(
        &self,
        grip: &Grip,
        argv: &Argv,
        stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError>;

    /// Starts a command whose life is bound to the returned channel: the host ends it when the
    /// channel closes or the worker falls silent. Its standard input is empty and the returned
    /// stream is only to be read. Refused when the token is stale or another job has the VM.
    ///
    /// # Errors
    /// As [`crate::Remote::spawn`]; [`TransportError::Stale`] or [`TransportError::Busy`] when refused.
    async fn serve(&self, grip: &Grip, argv: &Argv) -> Result<Spawned, TransportError>;

    /// Removes what the guard remembers of steps of jobs that ended (by themselves, or with an
    /// earlier boot of the host) longer ago than this, in whole minutes.
    ///
    /// # Errors
    /// The host cannot be used.
    async fn forget(&self, older_than: Duration) -> Result<(), TransportError>;
}
