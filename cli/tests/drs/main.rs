//! The `drs` binary from the outside, on simulated hosts: answers, messages, exit codes.

mod bench;
mod hosts;
mod jobs;
mod points;
mod refusals;
mod serve;
