use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{TaskState, Usage};
use crate::words::words;

words! {
    /// The state of a run.
    RunState {
        /// No task has started.
        Pending = "pending",
        /// Some tasks are open.
        Running = "running",
        /// Was asked to stop; some tasks still execute.
        Stopping = "stopping",
        /// Every task succeeded.
        Succeeded = "succeeded",
        /// Every task ended, and some did not succeed.
        Failed = "failed",
        /// Was stopped before every task had ended.
        Killed = "killed",
    }
}

impl RunState {
    /// Whether the state is final.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Stopping => false,
            Self::Succeeded | Self::Failed | Self::Killed => true,
        }
    }
}

/// One execution of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// 13 characters of Crockford's base 32.
    pub id: String,
    /// The namespace.
    pub namespace: String,
    /// The job.
    pub job: String,
    /// The version of the job.
    pub version: u32,
    /// Its state.
    pub state: RunState,
    /// The number of tasks.
    pub count: u32,
    /// Tasks by state.
    pub tasks: TaskCounts,
    /// Failed attempts that were tried again.
    #[serde(default)]
    pub retries: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its last task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// What its attempts used.
    #[serde(default)]
    pub usage: RunUsage,
    /// The digest of its module.
    pub module: String,
    /// The store revision of this state.
    #[serde(default)]
    pub revision: u64,
}

/// Tasks of a run by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TaskCounts {
    /// Waiting for a node or for the next attempt.
    pub pending: u64,
    /// Granted to a node, not started.
    pub assigned: u64,
    /// Executing.
    pub running: u64,
    /// Asked to stop.
    pub stopping: u64,
    /// On a node that does not answer.
    pub unknown: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Failed for good.
    pub failed: u64,
    /// Stopped.
    pub killed: u64,
    /// Lost with their node.
    pub lost: u64,
    /// Never started.
    pub rejected: u64,
}

impl TaskCounts {
    /// The count of one state.
    pub const fn get(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Pending => self.pending,
            TaskState::Assigned => self.assigned,
            TaskState::Running => self.running,
            TaskState::Stopping => self.stopping,
            TaskState::Unknown => self.unknown,
            TaskState::Succeeded => self.succeeded,
            TaskState::Failed => self.failed,
            TaskState::Killed => self.killed,
            TaskState::Lost => self.lost,
            TaskState::Rejected => self.rejected,
        }
    }

    /// The count of all final states.
    pub fn terminal(&self) -> u64 {
        TaskState::ALL.iter().filter(|state| state.is_terminal()).map(|state| self.get(*state)).sum()
    }
}

/// What the attempts of a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RunUsage {
    /// All attempts together; peaks do not add up, so `peak_memory` is the largest.
    pub sum: Usage,
    /// The largest of each, not necessarily of one attempt.
    pub max: UsageMax,
}

/// The largest of each of what the attempts of a run used; what is not kept is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageMax {
    /// Fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Microseconds of CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Microseconds of wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_us: Option<u64>,
    /// The most bytes of memory at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Bytes of captured output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
}

words! {
    /// What a blocking read waits for.
    Until {
        /// The run has ended.
        Terminal = "terminal",
        /// Some task executes, or the run has ended.
        Running = "running",
    }
}

/// How long a read of one run may block, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Answer once the state is at least this new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
    /// The longest wait, such as `30s`; at most 60 s. What is true by then is the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Answer once the run has come this far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}
