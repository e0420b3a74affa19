//! Private servers for tests: real brokers and databases on free ports, gone when their test is.
//!
//! [`RabbitMq`], [`Redis`] and [`Postgres`] are the machine's own programs, run in a temporary directory and
//! listening on 127.0.0.1 alone; no service of the machine is touched. Each is a [`Server`], which tests
//! stop, kill, freeze and start again on the same port with the same data.
//!
//! [`Proxy`] is a network that fails, [`OtlpReceiver`] takes the telemetry that a program exports.
//!
//! These are fixtures: what cannot be had is a panic that says why, so that a test that needs a server never
//! passes without it.
//!
//! **Nothing stays.** A server belongs to a keeper, a process that knows it by its directory and ends all of
//! it (daemons that it started, too) when the server is dropped or the test process dies, however it dies.

mod command;
mod keeper;
mod otlp;
mod port;
mod postgres;
mod proxy;
mod rabbitmq;
mod redis;
mod server;

pub use otlp::{OtlpReceiver, Span};
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
pub use server::Server;

/// The user that every server knows.
pub const USER: &str = "drs";

/// The password of [`USER`].
pub const PASSWORD: &str = "secret";
