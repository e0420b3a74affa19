//! The servers, as tests use them.

mod lifecycle;
mod network;
mod traces;
