//! What a process needs around its work: configuration, the data directory, telemetry, shutdown.

pub mod clock;
pub mod shutdown;

pub use shutdown::Shutdown;
