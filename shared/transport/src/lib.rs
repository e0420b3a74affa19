//! Runs argv and streams bytes on a host over SSH, and holds the host guard.
//!
//! # Invariants
//! - A command is an [`Argv`]; it is quoted for the remote shell in one place, and nowhere else is a
//!   shell line built. The few constant scripts (the guard, a driver's own) get their values as
//!   arguments, never by text substitution.
//! - A host whose key is not pinned, or has changed, is never spoken to beyond the key exchange.
//! - Nothing here retries; errors are classified and go up.

pub mod argv;
pub mod guard;
pub mod remote;
pub mod ssh;

pub use argv::Argv;
pub use guard::{Hold, HostGuard, ShellGuard};
pub use remote::{BoxStream, Output, Remote, Spawned, TransportError};
pub use ssh::{SshConfig, SshRemote};
