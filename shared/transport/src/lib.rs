//! Runs argv, streams bytes and moves files on a host over SSH, and holds the host guard.
//!
//! # Invariants
//! - A command is an [`Argv`]; it is quoted for the remote shell in one place, and nowhere else is a
//!   shell line built. The few constant scripts (the guard, a driver's own) get their values as
//!   arguments, never by text substitution.
//! - A host whose key is not pinned, or has changed, is never spoken to beyond the key exchange.
//! - Nothing here retries; errors are classified and go up. Only a pooled connection that proves to be
//!   broken before a command was sent over it is replaced on the spot.
//! - A stream has a connection of its own, so a reader that stands still holds up nobody else.
//! - On a host, one job has a VM: the kernel's lock on a file is inherited by the work itself, so it is
//!   free exactly when the work has ended, whatever happened to the worker, the guard or the host.
//! - rsync brings no key and no connection of its own: it comes to the host through a [`Relay`], which
//!   runs `rsync --server` on that one host and nothing else, as long as the transfer lives.
//! - A [`RateLimit`] counts what transfers move, both ways, and is shared by all that it holds for; the
//!   slowest of a transfer's [`Rates`] counts. Commands and other streams keep no limit.
//!
//! # Crash points
//! - The worker dies or is cut off: sshd closes the channels (a vanished worker's only when TCP gives
//!   up, but a channel without a beat of its worker is given up 90 s after the last one, see [`Pulse`]).
//!   A hold runs its `at_loss` command and frees the VM, a served command is ended, a detached command
//!   goes on and is attached to.
//! - We stop waiting for a command ([`TransportError::TimedOut`]): it may still run. Under
//!   [`HostGuard::run`] the host ends it seconds later; OpenSSH ends others for every login but root's.
//! - The command's runner is killed: the VM stays locked until the command ends, then it has vanished.
//! - A transfer breaks, is given up, or the worker dies: both rsyncs end with their connection (a host's
//!   that hears nothing of it after some minutes) and what has arrived stays. The next transfer goes on
//!   from there, whatever it is: see [`mod@rsync`].
//! - The host loses power: records are whole, the old text or the new one; what ran is told as rebooted.

pub mod argv;
pub mod guard;
pub mod rate;
pub mod relay;
pub mod remote;
pub mod rsync;
pub mod ssh;
mod tail;

pub use argv::Argv;
pub use guard::{Hold, HostGuard, Pulse, ShellGuard};
pub use rate::{RateLimit, Rates};
pub use relay::Relay;
pub use remote::{BoxStream, Output, Remote, Spawned, TransportError};
pub use rsync::{Rsync, RsyncError};
pub use ssh::{SshConfig, SshRemote};
