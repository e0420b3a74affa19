//! What a process needs around its work: configuration, the data directory, telemetry, shutdown.
//!
//! Here, and nowhere else, the wall clock ([`clock`]) and the environment ([`environment`]) are read.

pub mod clock;
pub mod config;
pub mod data_dir;
pub mod environment;
pub mod http;
pub mod shutdown;
pub mod signals;
pub mod telemetry;
pub mod trace;

pub use config::{Config, ConfigError, LogFormat};
pub use data_dir::{DataDir, DataDirError, DeadWorker, ServeLock, WorkerLock};
pub use shutdown::Shutdown;
pub use telemetry::{Telemetry, Voice};
