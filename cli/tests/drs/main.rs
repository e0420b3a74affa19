//! The `drs` binary from the outside, on simulated hosts: answers, messages, exit codes.

mod archive;
mod bench;
mod hosts;
mod jobs;
mod points;
mod refusals;
mod replace;
mod rsh;
mod schedules;
mod serve;
