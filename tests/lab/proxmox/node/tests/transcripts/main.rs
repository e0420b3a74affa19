//! Holds the stand-in against transcripts of the real commands: same code, same streams, same lines.

#![expect(clippy::disallowed_methods, reason = "the commands under test are programs")]

mod archives;
mod json;
mod normal;
mod pct;
mod qm;
mod qmrestore;
mod scratch;
mod vzdump;
