//! What sort of work a job is, and how firmly it holds its place.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::{
    id::{JobName, RunId},
    wire_enum, wire_struct,
};

/// What sort of work a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kind {
    /// A number of tasks, each run until it has ended for good.
    #[default]
    Batch,
    /// A number of tasks that are started again whenever they end.
    Service(Service),
    /// A batch that is started at certain instants.
    Cron(Cron),
    /// One task on each node that matches, started again whenever it ends.
    System,
    /// One task per dispatch, whose result somebody waits for.
    Function,
}
wire_enum!(Kind { 1 => Batch, 2 => Service(service), 3 => Cron(cron), 4 => System, 5 => Function });

impl Kind {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Service(_) => "service",
            Self::Cron(_) => "cron",
            Self::System => "system",
            Self::Function => "function",
        }
    }

    /// Whether its tasks are started again whenever they end, whatever their exit code.
    #[must_use]
    pub const fn is_long_running(&self) -> bool {
        matches!(self, Self::Service(_) | Self::System)
    }
}

/// What a service has beside its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// A task counts as healthy once it has run for this long; an update goes on then, and a crash loop is over.
    pub healthy_after: Duration,
}
wire_struct!(Service { healthy_after });

/// When a cron job is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// Five or six fields, or a name such as `@hourly`; checked before it is stored.
    pub schedule: String,
    /// An IANA time zone.
    pub time_zone: String,
    /// What happens when the previous firing has not ended.
    pub overlap: Overlap,
    /// How late a missed firing may still start.
    pub start_deadline: Duration,
}
wire_struct!(Cron { schedule, time_zone, overlap, start_deadline });

/// What happens at an instant while an earlier firing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Both run.
    Allow,
    /// The new one is skipped.
    #[default]
    Forbid,
    /// The old one is stopped.
    Replace,
}
wire_enum!(Overlap { 1 => Allow, 2 => Forbid, 3 => Replace });

impl Overlap {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Replace => "replace",
        }
    }
}

/// How firmly work holds its place; the order is that of placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tier {
    /// Placed first, and makes room for itself.
    Production,
    /// Makes room for production.
    #[default]
    Preemptible,
    /// Uses what others have reserved and do not use, and goes first.
    Revocable,
}
wire_enum!(Tier { 1 => Production, 2 => Preemptible, 3 => Revocable });

impl Tier {
    /// All tiers, in the order of placement.
    pub const ALL: [Self; 3] = [Self::Production, Self::Preemptible, Self::Revocable];

    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preemptible => "preemptible",
            Self::Revocable => "revocable",
        }
    }
}

/// How often an attempt may execute, and what it does without the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Execution {
    /// A task is never executed twice: its only grant is stored before it is sent.
    pub at_most_once: bool,
    /// Two copies never run at once: each grant is stored before it is sent, and replaced only after its fence.
    pub fenced: bool,
    /// An executor whose lease has lapsed stops it; always so when fenced.
    pub stop_on_disconnect: bool,
}
wire_struct!(Execution { at_most_once, fenced, stop_on_disconnect });

impl Execution {
    /// Whether grants are committed before they are sent.
    #[must_use]
    pub const fn is_fenced(self) -> bool {
        self.at_most_once || self.fenced
    }

    /// Whether an executor stops it when its lease lapses.
    #[must_use]
    pub const fn stops_on_disconnect(self) -> bool {
        self.is_fenced() || self.stop_on_disconnect
    }
}

/// A job that has to end first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The job, in the same namespace.
    pub job: JobName,
    /// How it has to end.
    pub condition: Condition,
}
wire_struct!(Dependency { job, condition });

/// How something that is depended on has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// All of its tasks succeeded.
    #[default]
    Success,
    /// It ended otherwise.
    Failure,
    /// It ended.
    Any,
}
wire_enum!(Condition { 1 => Success, 2 => Failure, 3 => Any });

impl Condition {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Any => "any",
        }
    }
}

/// A run that has to end before another one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunDependency {
    /// Which one.
    pub upstream: Upstream,
    /// How it has to end.
    pub condition: Condition,
}
wire_struct!(RunDependency { upstream, condition });

/// A run that is depended on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// A run that exists.
    Run(RunId),
    /// An earlier item of the same submission segment.
    Item(u32),
}
wire_enum!(Upstream { 1 => Run(run), 2 => Item(item) });

/// Names and values, in the order given.
pub type Pairs = Vec<(String, String)>;
