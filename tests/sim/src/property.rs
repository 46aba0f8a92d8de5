//! The named properties, and how a broken one is reported.

use std::fmt;

/// What every run of the system must keep. `docs/SIMULATOR.md` says how each is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// S1: a task has one recorded outcome at most, and of a fenced task at most one attempt runs at any instant.
    Once,
    /// S2: what runs and what is reserved on a node never exceeds its capacity.
    Capacity,
    /// S3: a terminal status never changes, and is the right one.
    Terminal,
    /// S4: what was accepted or acknowledged is durable and never forgotten.
    Accepted,
    /// S5: nothing of an older term takes effect.
    Term,
    /// S6: queues, frames and transactions stay within their limits.
    Limits,
    /// S7: the durable part of a leader's view equals a rebuild from the store, the soft part what executors hold.
    View,
    /// Q: production never gets more than the quota of its namespace.
    Quota,
    /// P: nothing is granted what a waiting run of a better tier or priority could have had.
    Priority,
    /// F: a namespace does not wait behind one that has more than twice its share.
    Fair,
    /// D: what the cluster itself ends costs a task none of its attempts.
    Free,
    /// R: what runs and is wanted is not stopped to be started anew.
    Restart,
    /// K: no instant of a cron job is fired twice, early or not at all.
    Cron,
    /// E: nothing starts before what it waits for has ended as it has to.
    After,
    /// C: the cores keep their own invariants: no panic, no ERROR event, no unexpected exit.
    Crash,
    /// L1: once faults are healed, all feasible work ends in bounded time.
    Ends,
    /// L2: nothing outlives its use: no orphan attempt, no grant, no outcome is left once all work has ended.
    NoOrphan,
    /// L3: plans reach a fixpoint: an unchanged cluster plans nothing, and nothing spins.
    Fixpoint,
    /// L4: once healed, long-running jobs run as they should: each wanted task once, of the newest version.
    Converges,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Once,
        Self::Capacity,
        Self::Terminal,
        Self::Accepted,
        Self::Term,
        Self::Limits,
        Self::View,
        Self::Quota,
        Self::Priority,
        Self::Fair,
        Self::Free,
        Self::Restart,
        Self::Cron,
        Self::After,
        Self::Crash,
        Self::Ends,
        Self::NoOrphan,
        Self::Fixpoint,
        Self::Converges,
    ];

    /// Its number in the design.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Once => "S1",
            Self::Capacity => "S2",
            Self::Terminal => "S3",
            Self::Accepted => "S4",
            Self::Term => "S5",
            Self::Limits => "S6",
            Self::View => "S7",
            Self::Quota => "Q",
            Self::Priority => "P",
            Self::Fair => "F",
            Self::Free => "D",
            Self::Restart => "R",
            Self::Cron => "K",
            Self::After => "E",
            Self::Crash => "C",
            Self::Ends => "L1",
            Self::NoOrphan => "L2",
            Self::Fixpoint => "L3",
            Self::Converges => "L4",
        }
    }

    /// Whether it is about progress; the others are about correctness.
    #[must_use]
    pub const fn is_liveness(self) -> bool {
        matches!(self, Self::Ends | Self::NoOrphan | Self::Fixpoint | Self::Converges)
    }
}

/// A property that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub property: Property,
    /// When, nanoseconds of simulated time.
    pub at_ns: u64,
    /// How.
    pub message: String,
}

impl Violation {
    /// Whether another one is the same finding: for a crash, at the same place in the code.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let place = |message: &str| message.split(": ").next().unwrap_or_default().to_owned();
        self.property == other.property
            && (self.property != Property::Crash || place(&self.message) == place(&other.message))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, at) = (self.property.code(), crate::trace::Seconds(self.at_ns));
        write!(f, "{code} {:?} broken at {at} s: {}", self.property, self.message)
    }
}

/// A property, and how it was broken.
pub(crate) type Broken = (Property, String);

pub(crate) type Check = Result<(), Broken>;

pub(crate) fn broken<T>(property: Property, message: impl Into<String>) -> Result<T, Broken> {
    Err((property, message.into()))
}
