//! What people see of the scheduler: plain data, made when somebody asks.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    id::{Incarnation, JobName, JobVersion, Namespace, NodeId, RunId},
    kind::{Condition, Pairs, Tier},
    outcome::Failure,
    record::UsageSum,
    resources::Resources,
    segment::Entry,
    task::TaskState,
    work::JobRecord,
};

use crate::output::RequestError;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Has tasks that have not ended.
    Active,
    /// Was asked to stop, and has tasks that have not ended.
    Stopping,
    /// All tasks succeeded.
    Succeeded,
    /// All tasks ended, and one or more did not succeed.
    Failed,
    /// Was stopped, and all tasks ended.
    Stopped,
}

impl RunState {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether all tasks have ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }
}

/// Tasks of a run by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a place.
    pub pending: u32,
    /// Waiting for a back-off to pass; part of `pending`.
    pub backoff: u32,
    /// In a grant, not seen running.
    pub assigned: u32,
    /// Seen running.
    pub running: u32,
    /// Asked to stop.
    pub stopping: u32,
    /// Their node does not answer.
    pub unknown: u32,
    /// Of a long-running job, not wanted: above what it is scaled to, or of a node that is away.
    pub dormant: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
    /// Ended by request.
    pub killed: u32,
    /// Lost with their node.
    pub lost: u32,
    /// Could not be run.
    pub rejected: u32,
}

/// A run.
#[derive(Debug, Clone)]
pub struct RunView {
    /// Its id.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its job.
    pub job: JobName,
    /// The version of the job.
    pub version: JobVersion,
    /// The word for its job's kind.
    pub kind: &'static str,
    /// How firmly it holds its place.
    pub tier: Tier,
    /// Its state.
    pub state: RunState,
    /// The number of tasks; of a long-running job, those that are wanted.
    pub count: u32,
    /// Of a service, how many tasks it is scaled to.
    pub target: Option<u32>,
    /// Of a system job that goes on, how many nodes match and take work, or have a task.
    pub nodes_wanted: Option<u32>,
    /// Of a service, how many tasks are kept at the moment: during an update not `target`, and none once it is stopped.
    pub desired: Option<u32>,
    /// Of a long-running job, the tasks that are wanted and have run for as long as makes them healthy.
    pub healthy: Option<u32>,
    /// Attempts of a long-running job that have ended: their tasks were started again.
    pub restarts: u64,
    /// The instant for which a cron job was fired, Unix milliseconds.
    pub scheduled_ms: Option<u64>,
    /// Its job is paused.
    pub paused: bool,
    /// Its `max_failed`, if more tasks than that have failed, for which it is stopped.
    pub failed_too_often: Option<u32>,
    /// The runs that it waits for.
    pub waiting_for: Vec<DependencyView>,
    /// Tasks by state.
    pub counts: Counts,
    /// Usage of all ended attempts.
    pub usage: UsageSum,
    /// Unix milliseconds.
    pub submitted_ms: u64,
    /// Unix milliseconds.
    pub ended_ms: Option<u64>,
}

/// A run that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyView {
    /// Which one.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// How it has to end.
    pub condition: Condition,
    /// Its state; when it has ended, its results are being put together.
    pub state: RunState,
}

/// A job beside its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its newest version.
    pub version: JobVersion,
    /// How many versions there are.
    pub versions: usize,
    /// None of its tasks is started, and it is not fired.
    pub paused: bool,
    /// Of a cron job: all instants through this one are dealt with, Unix milliseconds.
    pub cron_through_ms: Option<u64>,
    /// Of a cron job: the next instant, Unix milliseconds, if it is known.
    pub next_ms: Option<u64>,
    /// The run that was submitted last.
    pub newest_run: Option<RunId>,
    /// Runs that are not over.
    pub open_runs: usize,
}

/// What production runs of a namespace demand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaUsage {
    /// CPU, thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Tasks at one time.
    pub tasks: u64,
}

/// A task.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: TaskState,
    /// The ordinal of the running or next attempt, or of the last one if it has ended; 0 if it has ended without any.
    pub attempt: u32,
    /// Failed attempts that count.
    pub failures: u32,
    /// The newest failure, also of a task that is tried again.
    pub failure: Option<Failure>,
    /// Where it runs, or where its newest failure happened.
    pub node: Option<NodeId>,
    /// Units done and in all, as the guest says.
    pub progress: Option<(u64, u64)>,
    /// How long until its back-off has passed, milliseconds.
    pub next_retry_ms: Option<u64>,
    /// Why it is not wanted, if it is not: of a long-running job.
    pub dormant: Option<&'static str>,
}

/// Where the result, log and usage of an ended task are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryLocation {
    /// Right here.
    Inline(Entry),
    /// In one of these segment objects, newest first.
    Segments(Vec<String>),
    /// Nothing was kept: it never ran.
    None,
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Connected, and its state is known.
    Ready,
    /// Connected, and its state is not known yet.
    Joining,
    /// Connected, and about to end: it finishes what it runs and gets nothing more.
    Draining,
    /// Not connected, but not given up.
    Silent,
    /// Given up.
    Lost,
}

impl NodeState {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Joining => "joining",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its name.
    pub node: NodeId,
    /// Its state.
    pub state: NodeState,
    /// The start of its daemon.
    pub incarnation: Incarnation,
    /// The version of its software.
    pub version: String,
    /// Its attributes: what the machine says, and the labels of its operator, which go before that; sorted by name.
    pub attributes: Pairs,
    /// The labels that its operator gave it.
    pub labels: Pairs,
    /// Its operator wants no new work on it.
    pub cordoned: bool,
    /// How far its drain is, if it is drained.
    pub drain: Option<DrainView>,
    /// It is silent beyond its time, and is not given up while the brake is on.
    pub held: bool,
    /// It has a session.
    pub connected: bool,
    /// What it offers.
    pub capacity: Resources,
    /// Grants it can hold at one time.
    pub lanes_max: u32,
    /// What is reserved by grants.
    pub reserved: Resources,
    /// Grants it holds: each runs one task at a time.
    pub grants: usize,
    /// Fuel for each second of CPU time of its attempts, once it has said so.
    pub fuel_per_s: Option<u64>,
    /// Since it was last heard, milliseconds.
    pub silent_ms: u64,
    /// When it was first seen, Unix milliseconds.
    pub first_seen_ms: u64,
    /// When it was given up, Unix milliseconds, if it has not come back.
    pub gone_ms: Option<u64>,
}

/// How far the drain of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainView {
    /// When it was asked for, Unix milliseconds.
    pub since_ms: u64,
    /// How long batch, cron and function tasks may go on; none when they may end by themselves.
    pub deadline: Option<Duration>,
    /// What is left of that.
    pub left: Option<Duration>,
    /// System tasks stay.
    pub ignore_system: bool,
    /// The operator's note.
    pub message: String,
    /// Tasks that are still there.
    pub tasks: KindCounts,
    /// Nothing is there that is to leave.
    pub drained: bool,
}

/// Tasks by the kind of their job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindCounts {
    /// Of batches.
    pub batch: u32,
    /// Of services.
    pub service: u32,
    /// Of cron jobs.
    pub cron: u32,
    /// Of system jobs.
    pub system: u32,
    /// Of functions.
    pub function: u32,
}

impl KindCounts {
    /// All but those of system jobs.
    #[must_use]
    pub const fn without_system(&self) -> u32 {
        self.batch + self.service + self.cron + self.function
    }
}

/// Why tasks of a run wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WhyPending {
    /// Tasks that wait for a place.
    pub pending: u32,
    /// Of these, waiting for a back-off.
    pub backoff: u32,
    /// Tasks that have a place and are not known to have started.
    pub assigned: u32,
    /// When the first back-off passes, milliseconds.
    pub next_retry_ms: Option<u64>,
    /// The run's `max_running`, if it is what holds the rest back.
    pub max_running: Option<u32>,
    /// The cluster has just started, and waits for its nodes to say what they run.
    pub reconciling: bool,
    /// Many nodes vanished at once, and tasks of this run may be on them: how many nodes. Nothing of it is replaced until
    /// enough are back, or an operator releases the brake.
    pub brake: Option<u32>,
    /// Its job is paused.
    pub paused: bool,
    /// The runs that it waits for.
    pub dependency: Vec<DependencyView>,
    /// The results of one of them are being put together.
    pub assembling: bool,
    /// Of a system job, a task on one more node would exceed the namespace's quota.
    pub over_quota: bool,
    /// It is of a system job, which wants no task at this moment that has none.
    pub settled: bool,
    /// Nodes known.
    pub nodes: u32,
    /// Nodes that are not ready.
    pub nodes_not_ready: u32,
    /// Ready nodes that a constraint excludes, by constraint.
    pub excluded: Vec<(String, u32)>,
    /// Ready nodes that are too small even when empty, by dimension.
    pub too_small: Vec<(&'static str, u32)>,
    /// Ready nodes that are full, by dimension.
    pub exhausted: Vec<(&'static str, u32)>,
    /// Ready nodes of another pool, or of none.
    pub other_pool: u32,
    /// Ready nodes that have as many tasks of this run as one may have.
    pub max_per_node: u32,
    /// The parts of the namespace's quota that hold the run back.
    pub quota: Vec<QuotaUse>,
    /// Tasks of the run for which others were asked to make room.
    pub evicting: u32,
    /// Runs that are served before this one: of a higher tier or priority, or earlier in its namespace.
    pub ahead: u32,
    /// Their waiting tasks.
    pub ahead_tasks: u64,
    /// The same by tier, priority and namespace, in the order in which they are served, and the namespaces that it shares
    /// with; a limited number of them.
    pub ahead_of: Vec<Ahead>,
}

/// What would become of a run if it were submitted at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanView {
    /// Tasks that were tried: a limited number stands for very large runs.
    pub tried: u32,
    /// Of these, tasks for which there is room; work that waits already may take it first.
    pub placed: u32,
    /// Tasks by node; a limited number of nodes.
    pub nodes: Vec<(NodeId, u32)>,
    /// Nodes with tasks, beyond those named.
    pub nodes_unnamed: u32,
    /// Further tasks for which others would be asked to make room.
    pub placed_by_eviction: u32,
    /// Who would make room; a limited number.
    pub victims: Vec<VictimView>,
    /// Further ones that are not named.
    pub victims_unnamed: u32,
    /// Tasks that the namespace's quota would hold back.
    pub over_quota: u32,
    /// Why the job or its run would be refused, the quota aside.
    pub refused: Option<RequestError>,
    /// The parts of the quota that would do so, as they are used at this moment.
    pub quota: Vec<QuotaUse>,
    /// What the tasks that can run at one time take of a quota, if production.
    pub demand: QuotaUsage,
    /// What the quota is charged at this moment for runs that it would take over from.
    pub replaced: QuotaUsage,
    /// Why the rest would wait: numbers of nodes by cause, before any of these tasks is placed.
    pub why: WhyPending,
}

/// Work that would make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VictimView {
    /// The run.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its job.
    pub job: JobName,
    /// The first of its tasks there that has not ended.
    pub index: u32,
    /// The node.
    pub node: NodeId,
}

/// A part of a quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUse {
    /// `cpu` (thousandths of a core), `memory` (bytes) or `running` (tasks).
    pub part: &'static str,
    /// What production tasks of the namespace use.
    pub used: u64,
    /// What they would use with the first task that it does not allow.
    pub needed: u64,
    /// What they may use.
    pub limit: u64,
}

/// The run of a service or system job that its tasks are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRun {
    /// The run.
    pub run: RunId,
    /// The version of the job that it is of.
    pub version: JobVersion,
    /// Of a service, how many tasks it is to keep.
    pub target: Option<u32>,
    /// How many its version of the spec says.
    pub specified: u32,
}

impl KeptRun {
    /// How many tasks a further run keeps of a spec: as many as are kept, unless the spec says another number than before.
    #[must_use]
    pub fn count_of(&self, spec: &JobRecord) -> u32 {
        self.target.filter(|_| self.specified == spec.count).unwrap_or(spec.count)
    }
}

/// Runs of one tier, priority and namespace that are served before another one, or share with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The tier.
    pub tier: Tier,
    /// The priority.
    pub priority: u8,
    /// The namespace.
    pub namespace: String,
    /// Runs.
    pub runs: u32,
    /// Their waiting tasks.
    pub tasks: u64,
    /// They are of another namespace and of the same priority: room is shared with them by weight.
    pub shares: bool,
}

/// A segment object with results of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentObject {
    /// Its name in the blob store.
    pub name: String,
    /// Lowest task of the run in it.
    pub first: u32,
    /// Highest task of the run in it.
    pub last: u32,
}

/// Sizes and totals, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerStats {
    /// Runs with open tasks.
    pub open_runs: usize,
    /// Tasks that have not ended.
    pub open_tasks: u64,
    /// Grants held by nodes.
    pub grants: usize,
    /// Connected nodes.
    pub nodes_connected: usize,
    /// Many nodes vanished at once, and their work is not replaced.
    pub brake_on: bool,
    /// Nodes that are not given up only because of that.
    pub nodes_held: usize,
    /// Outcomes accepted in this term.
    pub outcomes: u64,
    /// Outcomes of superseded attempts that changed nothing.
    pub outcomes_ignored: u64,
    /// Transactions committed in this term.
    pub commits: u64,
    /// Batches waiting for the one in flight.
    pub batches_waiting: usize,
    /// Deltas in the log.
    pub log_len: usize,
}
