//! The nouns and rules of DR Switch: pure data, no I/O, no clock, no randomness.
//!
//! Everything that crosses a crate border is named here once: who a machine is ([`Host`], [`Site`],
//! [`VmRef`]), what it is made of ([`VmSpec`]), what is to be done ([`JobSpec`]), what a job needs
//! while it is done ([`Need`]), where it stands ([`JobState`]), what is kept ([`RecoveryPoint`])
//! and what went wrong ([`Fault`]).
//!
//! # Invariants
//! - A name that was built from text has passed its rules ([`names`]); no code behind this crate
//!   checks a VM name again.
//! - A job changes its state through [`JobState::apply`] and nowhere else.
//! - A time is always an argument; nothing here asks what time it is.
//!
//! Deliberately absent: storage, transport, retry, telemetry, anything that can fail for an outside
//! reason.

pub mod extent;
pub mod fault;
pub mod guard;
pub mod host;
pub mod job;
pub mod names;
pub mod nearest;
pub mod pair;
pub mod point;
pub mod progress;
pub mod resource;
pub mod schedule;
pub mod secret;
pub mod trace;
pub mod vm;

pub use extent::{Extent, Piece};
pub use fault::{Fault, FaultClass, FaultCode};
pub use guard::{FencingToken, Grip, GuardAnswer, GuardStatus};
pub use host::{DiskPlace, Host, HypervisorKind, Site};
pub use job::saga::{StepMark, StepRecord};
pub use job::spec::{
    JobKind, JobSpec, PowerAction, ReplacePolicy, RestoreTarget, Transfer, TransferMethod,
};
pub use job::state::{IllegalTransition, JobEvent, JobState, Phase};
pub use job::{Job, JobClass, JobId};
pub use names::{HostName, InvalidName, Lane, PairName, ScheduleName, SiteName, VmName};
pub use nearest::nearest;
pub use pair::{NetworkMap, ReplicationPair, StorageMap};
pub use point::{Consistency, DiskContent, PointId, PointState, RecoveryPoint};
pub use progress::{LogLevel, LogLine, Progress};
pub use resource::{Need, Resource};
pub use schedule::{Calendar, Fire, FireOutcome, InvalidCalendar, Schedule, Subject, Work};
pub use secret::Secret;
pub use trace::TraceContext;
pub use vm::{Content, Disk, Firmware, Nic, PowerState, VmForm, VmRef, VmSpec, VmSummary};

/// Time. Never read from a clock in this crate: it is always handed in.
pub use jiff::{SignedDuration, Timestamp, tz::TimeZone};
