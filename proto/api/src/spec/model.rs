//! The parts of a validated job spec.

use super::Constraint;
use crate::words::words;

words! {
    /// The kind of a job.
    Kind {
        /// A number of tasks, run to completion.
        Batch = "batch",
        /// A number of tasks that are kept running, whatever their exit code.
        Service = "service",
        /// A batch that a schedule starts.
        Cron = "cron",
        /// One task on every matching node, kept running.
        System = "system",
        /// A task that is dispatched with a payload and returns bytes.
        Function = "function",
    }
}

impl Kind {
    /// Whether tasks are started again whenever they end.
    pub const fn restarts(self) -> bool {
        match self {
            Self::Service | Self::System => true,
            Self::Batch | Self::Cron | Self::Function => false,
        }
    }

    /// Whether a run has as many tasks as the spec says.
    pub const fn counts(self) -> bool {
        match self {
            Self::Batch | Self::Service | Self::Cron => true,
            Self::System | Self::Function => false,
        }
    }
}

words! {
    /// How firmly work keeps its place on a node.
    Tier {
        /// Takes the place of other tiers, and of lower priority in its own namespace; counts against the quota.
        Production = "production",
        /// Makes room for production work.
        Preemptible = "preemptible",
        /// May use what others have reserved and do not use, and is the first to make room.
        Revocable = "revocable",
    }
}

words! {
    /// How often an attempt may execute.
    Mode {
        /// A task whose node was lost is executed again.
        AtLeastOnce = "at_least_once",
        /// A task is never executed twice: when its node is lost, so is the task.
        AtMostOnce = "at_most_once",
    }
}

words! {
    /// What an executor that has lost the control plane for its lease does with an attempt.
    OnDisconnect {
        /// It goes on.
        Keep = "keep",
        /// It is stopped.
        Stop = "stop",
    }
}

words! {
    /// What has to become of a job before another one starts.
    When {
        /// Its latest run succeeded.
        Success = "success",
        /// Its latest run failed.
        Failure = "failure",
        /// Its latest run ended in any way.
        Any = "any",
    }
}

words! {
    /// What happens to a firing while the run of an earlier one goes on.
    Overlap {
        /// Both run.
        Allow = "allow",
        /// The new one is skipped.
        Forbid = "forbid",
        /// The earlier run is stopped first.
        Replace = "replace",
    }
}

/// A job that has to end first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The job, in the same namespace.
    pub job: String,
    /// How it has to end; default success.
    pub when: When,
}

/// When a cron job fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Five or six fields (the first of six are seconds), or a name such as `@hourly`.
    pub schedule: String,
    /// The IANA name of the time zone in which the schedule is meant; default `UTC`.
    pub time_zone: String,
    /// What happens while an earlier run goes on; default forbid.
    pub overlap: Overlap,
    /// How late a missed firing may still start; 1 s to 30 days, default 1 h.
    pub start_deadline_ms: u64,
}

/// How a service passes to a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// How long a new task has to run before it counts as healthy; up to 1 h, default 5 s.
    pub healthy_after_ms: u64,
}

/// The place of a Wasm binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRef {
    /// A file, relative to the spec's own directory; only a client can resolve it.
    Path(String),
    /// `sha256:` and 64 hexadecimal digits.
    Digest(String),
}

/// The budgets of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// A rate of CPU time in thousandths of a core; 10 to 1,000, default 100.
    pub cpu_milli: u32,
    /// The sum of linear memories, tables and stacks; 64 KiB to 4 GiB, default 64 MiB.
    pub memory_bytes: u64,
    /// The total fuel; default 10,000,000,000, and the most there is where no timeout is the default.
    pub fuel: u64,
    /// The wall clock of one attempt; 1 ms to 7 days or unlimited. Default 30 s for batch and cron jobs, which need one;
    /// unlimited for the others.
    pub timeout_ms: Option<u64>,
    /// The captured stdout and stderr, and the result; up to 64 MiB, default 1 MiB.
    pub output_bytes: u64,
    /// The directory `/tmp` of one attempt, removed after it; none, or 64 KiB to 4 GiB. It is reserved like memory, in
    /// addition to it.
    pub scratch_bytes: u64,
}

/// A directory that the node's operator published and the guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// The name under which nodes publish it.
    pub host: String,
    /// The absolute path at which the guest sees it.
    pub guest: String,
    /// Whether the guest may change it, where it is published so; default no.
    pub writable: bool,
}

/// Where the guest may connect to over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetGrant {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How often and under which fence attempts execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How often an attempt may execute; default at least once.
    pub mode: Mode,
    /// What happens to an attempt whose node has lost the control plane for its lease; default keep, and stop for fenced
    /// work.
    pub on_disconnect: OnDisconnect,
    /// Whether two copies must never run at once; at most once implies it.
    pub fenced: bool,
    /// Whether clocks and random numbers are the same at every attempt of a task; default no.
    pub deterministic: bool,
}

/// When and how often an ended attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts that may end in a failure that counts; 1 to 100, default 3. Absent for services and system
    /// jobs, which are always started again.
    pub attempts: Option<u32>,
    /// The wait before the second attempt; default 1 s.
    pub backoff_min_ms: u64,
    /// The longest wait between two attempts; default 30 s.
    pub backoff_max_ms: u64,
}

/// Where tasks may run, and where they would rather.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Conditions that a node has to meet, all of them.
    pub constraints: Vec<Constraint>,
    /// Conditions that make a node better or worse.
    pub affinities: Vec<Affinity>,
    /// The attribute over whose values the tasks of a run are spread.
    pub spread: Option<String>,
    /// The most tasks of a run on one node.
    pub max_per_node: Option<u32>,
    /// The dedicated nodes that the tasks run on; without it they run on nodes of no pool.
    pub pool: Option<String>,
}

/// A wish about nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// What is wished for.
    pub constraint: Constraint,
    /// How much: -100 to 100, not 0; a negative one keeps tasks away.
    pub weight: i8,
}
