//! Every key of the configuration file, in one table.

use std::collections::BTreeMap;
use std::path::Path;

use drs_model::Lane;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// A whole number from the first to the second.
    Integer(u32, u32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A path that begins with `/`.
    AbsolutePath,
    /// A URL that begins with one of these.
    Url(&'static [&'static str]),
    /// A list of lanes.
    Lanes,
    /// An IP address and a port.
    Socket,
}

/// One key.
pub(super) struct Key {
    /// The table it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What its value must be.
    pub rule: Rule,
}

const fn key(section: &'static str, name: &'static str, rule: Rule) -> Key {
    Key { section, name, rule }
}

const REDIS: [&str; 4] = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://"];

/// What [`Rule::Socket`] wants.
pub(super) const SOCKET: &str = "an IP address and a port, as in \"127.0.0.1:9464\"";

/// The whole file.
pub(super) const KEYS: &[Key] = &[
    key("worker", "slots", Rule::Integer(1, 256)),
    key("worker", "critical_slots", Rule::Integer(0, 64)),
    key("worker", "lease_seconds", Rule::Integer(3, 3600)),
    key("worker", "attempts_max", Rule::Integer(1, 100)),
    key("scheduler", "lease_seconds", Rule::Integer(3, 600)),
    key("vault", "path", Rule::AbsolutePath),
    key("cluster", "amqp", Rule::Url(&["amqp://", "amqps://"])),
    key("cluster", "amqp_password_file", Rule::AbsolutePath),
    key("cluster", "redis", Rule::Url(&REDIS)),
    key("cluster", "redis_password_file", Rule::AbsolutePath),
    key("cluster", "postgres", Rule::Url(&["postgres://", "postgresql://"])),
    key("cluster", "postgres_password_file", Rule::AbsolutePath),
    key("cluster", "ca_file", Rule::AbsolutePath),
    key("cluster", "lanes", Rule::Lanes),
    key("log", "level", Rule::OneOf(&["error", "warn", "info", "debug", "trace"])),
    key("log", "format", Rule::OneOf(&["text", "json"])),
    key("telemetry", "otlp", Rule::Url(&["http://", "https://"])),
    key("telemetry", "metrics", Rule::Socket),
];

/// The file that `drs init` writes: every key with its default, commented out, but for the vault's
/// path when one is given. `None` when that path is no text.
#[must_use]
pub fn template(vault: Option<&Path>) -> Option<String> {
    let Some(path) = vault else { return Some(TEMPLATE.to_owned()) };
    let line = format!("path = {}\n", toml::Value::from(path.to_str()?));
    Some(TEMPLATE.replace(EXAMPLE_PATH, &line))
}

/// The template's line about the vault's path.
const EXAMPLE_PATH: &str = "#path = \"/srv/drs-vault\"\n";

pub(super) const TEMPLATE: &str = "\
# Configuration of DR Switch. Every key is optional; the values shown are the defaults.

[worker]
# Jobs at one time, and more slots that only restores and power jobs may use.
#slots = 4
#critical_slots = 1
# A job whose worker gave no sign of life for so long is taken over by another worker.
#lease_seconds = 60
# Attempts before a job fails for good.
#attempts_max = 5

[scheduler]
# A scheduler that leads and gave no sign of life for so long is followed by another one.
#lease_seconds = 15

[vault]
# Where recovery points are kept; without it: `vault` beside this file.
#path = \"/srv/drs-vault\"

[cluster]
# RabbitMQ, Redis and PostgreSQL in place of the file drs.sqlite: all three or none. No password in a URL:
# it is the first line of its file, or in DRS_AMQP_PASSWORD, DRS_REDIS_PASSWORD, DRS_POSTGRES_PASSWORD.
#amqp = \"amqps://drs@rabbitmq.example/drs\"
#amqp_password_file = \"/etc/drs/amqp-password\"
#redis = \"rediss://drs@redis.example\"
#redis_password_file = \"/etc/drs/redis-password\"
#postgres = \"postgres://drs@postgres.example/drs?sslmode=require\"
#postgres_password_file = \"/etc/drs/postgres-password\"
# Whose signatures are trusted, and nobody else's; without it: the authorities of this machine. Or DRS_CA_FILE.
#ca_file = \"/etc/drs/ca.pem\"
# Whose jobs the worker of this machine takes; see `drs site edit --lane`.
#lanes = [\"main\"]

[log]
# error, warn, info, debug or trace; and text or json.
#level = \"info\"
#format = \"text\"

[telemetry]
# Where traces go (OTLP over HTTP), and where a role answers /metrics, /healthz and /readyz; without them:
# nowhere. A second role beside this file takes its address from DRS_METRICS.
#otlp = \"http://collector.example:4318\"
#metrics = \"127.0.0.1:9464\"
";

/// A value that keeps its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(u32),
    Text(String),
    Lanes(Vec<Lane>),
}

/// The values of a file without mistakes.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<(&'static str, &'static str), Value>);

impl Values {
    pub(super) fn put(&mut self, key: &Key, value: Value) {
        self.0.insert((key.section, key.name), value);
    }

    pub(super) fn integer(&self, section: &'static str, name: &'static str, default: u32) -> u32 {
        match self.0.get(&(section, name)) {
            Some(Value::Integer(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn lanes(&self, section: &'static str, name: &'static str) -> Option<Vec<Lane>> {
        match self.0.get(&(section, name)) {
            Some(Value::Lanes(lanes)) => Some(lanes.clone()),
            _ => None,
        }
    }

    pub(super) fn text(&self, section: &'static str, name: &'static str) -> Option<&str> {
        match self.0.get(&(section, name)) {
            Some(Value::Text(value)) => Some(value),
            _ => None,
        }
    }
}
