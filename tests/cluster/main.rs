//! The product as a cluster: real RabbitMQ, Redis and PostgreSQL, roles as processes that are killed, frozen
//! and told to end.

mod bad_input;
mod kills;
mod roles;
mod schedules;
mod takeover;
