//! The transport against a real sshd: connections, commands, streams, and the host guard.

mod full;
mod guard;
mod rsync;
mod silence;
mod spans;
mod ssh;
mod sshd;
mod tidy;
