//! Many jobs at once, failing parts and dying processes, on simulated hosts.

mod cancel;
mod exclusive;
mod faults;
mod parallel;
mod saga;
mod takeover;
