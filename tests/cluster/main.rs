//! The product as a cluster: real RabbitMQ, Redis and PostgreSQL, roles as processes that are killed, frozen
//! and told to end.
#![allow(clippy::disallowed_methods)] // these tests start the product, and read how long they may take

mod bad_input;
mod kills;
mod roles;
mod schedules;
mod takeover;
