//! The servers, as tests use them.

mod deployed;
mod lifecycle;
mod network;
mod telemetry;
mod traces;
