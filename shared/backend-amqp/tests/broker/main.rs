//! The adapter on a real RabbitMQ.

mod bad_input;
mod conformance;
mod dead;
mod demand;
mod faults;
mod feed;
mod refusals;
mod rig;
