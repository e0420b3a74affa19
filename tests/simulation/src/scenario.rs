//! How a world is made, and what may go wrong in it.

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A worker dies and another starts later.
    Crash,
    /// A worker stands still for a while, up to seven minutes, and goes on as if nothing had been.
    Freeze,
    /// A worker is told to stop: it hands its jobs over.
    Terminate,
    /// The store cannot be reached by anybody for a while.
    StoreDown,
    /// The store loses everything.
    StoreWiped,
    /// The store loses its latest seconds.
    StoreRolledBack,
    /// The clock of the store jumps, by up to ten minutes either way.
    ClockJump,
    /// The broker is down for a while; what was not acknowledged comes again.
    BrokerDown,
    /// The broker loses every message.
    BrokerWiped,
    /// One worker's channel breaks: what it has not acknowledged comes again.
    ChannelLost,
    /// A worker cannot reach a host for a while.
    CutHost,
    /// A worker cannot reach the store for a while.
    CutStore,
    /// A worker cannot reach the broker for a while.
    CutBroker,
    /// A host restarts.
    Reboot,
    /// A host is off for a while.
    HostDown,
    /// A scheduler stands still for a while.
    SchedulerFrozen,
    /// A VM moves to another host behind our back.
    Migrate,
}

/// A world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What tests call it.
    pub name: &'static str,
    /// What may go wrong; one of these, about every `fault_every` seconds.
    pub faults: Vec<FaultKind>,
    /// Mean time between two faults, in seconds.
    pub fault_every: u64,
    /// For how long faults come, in seconds. Then all is healed and everything must come to its end.
    pub faulty_for: u64,
    /// Hosts, at least 2.
    pub hosts: usize,
    /// VMs of each host.
    pub vms: usize,
    /// Jobs, submitted during the first half of the time of faults.
    pub jobs: usize,
    /// Workers, each with two slots.
    pub workers: usize,
    /// Schedulers, each of which submits every scheduled job and keeps house.
    pub schedulers: usize,
    /// How many of a hundred commands to a host are late, and by how many seconds at most.
    pub late: (u64, u64),
}

use FaultKind as F;

impl Scenario {
    /// Everything goes wrong.
    #[must_use]
    pub fn all_faults() -> Self {
        let mut faults = Self::no_loss().faults;
        faults.extend([F::StoreWiped, F::StoreRolledBack, F::BrokerWiped]);
        Self { name: "all faults", faults, ..Self::no_loss() }
    }

    /// Everything goes wrong but that a server loses what it has confirmed.
    #[must_use]
    pub fn no_loss() -> Self {
        let faults = [
            [F::Crash, F::Crash, F::Freeze, F::Freeze, F::Terminate],
            [F::StoreDown, F::ClockJump, F::BrokerDown, F::ChannelLost, F::CutBroker],
            [F::CutHost, F::CutStore, F::Reboot, F::HostDown, F::Migrate],
        ];
        let faults = faults.into_iter().flatten().chain([F::SchedulerFrozen]).collect();
        Self {
            name: "no loss",
            faults,
            fault_every: 40,
            faulty_for: 3000,
            hosts: 2,
            vms: 3,
            jobs: 18,
            workers: 4,
            schedulers: 3,
            late: (10, 1500),
        }
    }

    /// The store forgets, over and over, while little else goes wrong.
    #[must_use]
    pub fn forgetful() -> Self {
        let faults = vec![
            F::StoreWiped,
            F::StoreWiped,
            F::StoreRolledBack,
            F::ClockJump,
            F::Crash,
            F::StoreDown,
            F::BrokerDown,
        ];
        Self { name: "forgetful", faults, ..Self::no_loss() }
    }

    /// The store's clock is wrong, and what it gave under it is forgotten.
    #[must_use]
    pub fn rewound() -> Self {
        let faults = vec![F::ClockJump, F::StoreWiped, F::StoreWiped];
        Self { name: "rewound", faults, late: (0, 1), ..Self::no_loss() }
    }

    /// The store is away more often than not, and has forgotten everything when it comes back.
    #[must_use]
    pub fn outages() -> Self {
        let faults = vec![F::StoreDown, F::StoreDown, F::StoreWiped];
        Self { name: "outages", faults, fault_every: 20, late: (0, 1), ..Self::no_loss() }
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn calm() -> Self {
        Self { name: "calm", faults: Vec::new(), late: (0, 1), ..Self::no_loss() }
    }
}
