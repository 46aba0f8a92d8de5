use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words::words;

words! {
    /// The state of a task.
    TaskState {
        /// Waits for a node, or for its next attempt.
        Pending = "pending",
        /// Granted to a node, not started.
        Assigned = "assigned",
        /// Executes.
        Running = "running",
        /// Was asked to stop.
        Stopping = "stopping",
        /// Its node does not answer.
        Unknown = "unknown",
        /// Ended well.
        Succeeded = "succeeded",
        /// Ended in a failure that is not tried again.
        Failed = "failed",
        /// Was stopped.
        Killed = "killed",
        /// Its node was lost and it is not tried again.
        Lost = "lost",
        /// Was never started.
        Rejected = "rejected",
    }
}

words! {
    /// Why a task or attempt ended.
    Reason {
        /// The guest ended with an exit code other than 0, or an error.
        ExitNonzero = "exit_nonzero",
        /// The guest trapped.
        Trap = "trap",
        /// The fuel was used up.
        FuelExhausted = "fuel_exhausted",
        /// The memory limit was passed.
        MemoryLimit = "memory_limit",
        /// The table limit was passed.
        TableLimit = "table_limit",
        /// The stack was used up.
        StackOverflow = "stack_overflow",
        /// The wall clock budget was used up.
        WallTimeout = "wall_timeout",
        /// The output budget was passed.
        OutputLimit = "output_limit",
        /// The module cannot be executed.
        ModuleInvalid = "module_invalid",
        /// The spec asks for something that the node does not grant.
        CapabilityDenied = "capability_denied",
        /// It did not start in time.
        StartDeadline = "start_deadline",
        /// Work of a higher priority took its place.
        Preempted = "preempted",
        /// Its node was drained.
        Drained = "drained",
        /// Its node was lost.
        NodeLost = "node_lost",
        /// Its executor was restarted.
        ExecutorRestarted = "executor_restarted",
        /// The node failed, not the guest.
        HostError = "host_error",
        /// A person or another task stopped it.
        Cancelled = "cancelled",
        /// Something that it depends on failed.
        DependencyFailed = "dependency_failed",
    }
}

words! {
    /// Who decided that a task ended.
    Source {
        /// The control plane.
        Control = "control",
        /// The executor.
        Executor = "executor",
        /// The guest.
        Guest = "guest",
    }
}

impl TaskState {
    /// Whether the state is final.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Assigned | Self::Running | Self::Stopping | Self::Unknown => false,
            Self::Succeeded | Self::Failed | Self::Killed | Self::Lost | Self::Rejected => true,
        }
    }
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Fuel.
    pub fuel: u64,
    /// Microseconds of CPU time.
    pub cpu_us: u64,
    /// Microseconds of wall clock.
    pub wall_us: u64,
    /// The most bytes of memory at one time.
    pub peak_memory: u64,
    /// Bytes of captured output.
    pub output_bytes: u64,
}

/// The trap that ended an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trap {
    /// What happened.
    pub message: String,
    /// The Wasm stack by name, innermost first.
    #[serde(default)]
    pub backtrace: Vec<String>,
}

/// One task of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// `<run>.<index>`.
    pub id: String,
    /// The run.
    pub run: String,
    /// The job.
    pub job: String,
    /// The namespace.
    pub namespace: String,
    /// Its place in the run, from 0.
    pub index: u32,
    /// Its state.
    pub state: TaskState,
    /// Why it ended, or why its latest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Who decided that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Recorded failed attempts + 1; 0 of a task that has ended without one.
    pub attempt: u32,
    /// The guest's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Where it runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What its final attempt used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The trap that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<Trap>,
    /// The guest's own error message, or the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Bytes of its result, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_size: Option<u64>,
    /// Bytes of its stored log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_size: Option<u64>,
    /// How far it says it is: done and total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(u64, u64)>,
    /// When its next attempt is due, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry_ms: Option<u64>,
    /// Of a service or system job, why it is not wanted at this moment, if it is not; it does not wait for a place then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dormant: Option<String>,
}

/// Which tasks of a run are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TasksQuery {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most entries; 1 to 10,000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only tasks in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Stay until the task ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Only what the guest wrote to stdout; with `stderr` both. Everything without either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdout: bool,
    /// Only what the guest wrote to stderr, its log records included.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stderr: bool,
    /// Only the last records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
}
