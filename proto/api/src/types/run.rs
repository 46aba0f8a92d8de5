use std::collections::BTreeMap;

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
    /// Attempts that were followed by another one, also those that ended because of pre-emption, a drain or a lost node and
    /// use up none of the job's attempts.
    #[serde(default)]
    pub retries: u64,
    /// The kind of its job.
    #[serde(default)]
    pub kind: String,
    /// The tier of its job.
    #[serde(default)]
    pub tier: String,
    /// Of a service: how many tasks it is scaled to; during an update, fewer or more are kept. Of a system job: the nodes
    /// that match and take work, or have a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    /// Of a service or system job: the tasks that have run for as long as makes them healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<u32>,
    /// Its job is paused: none of its tasks is started.
    #[serde(default)]
    pub paused: bool,
    /// The instant for which a cron job was fired, in milliseconds since 1970; absent when it was triggered by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_ms: Option<u64>,
    /// The runs that have to end before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingFor>,
    /// Names and values of its submitter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// When it was accepted, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its last task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Its job's `max_failed`, if the run was stopped because more tasks than that have failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_too_often: Option<u32>,
    /// What its attempts used.
    #[serde(default)]
    pub usage: RunUsage,
    /// The digest of its module.
    pub module: String,
    /// The store revision of this state.
    #[serde(default)]
    pub revision: u64,
}

impl Run {
    /// Whether its tasks are started again whenever they end.
    pub fn is_long_running(&self) -> bool {
        self.kind == "service" || self.kind == "system"
    }

    /// Whether it has started, all of it if it is of a service or system job, or has ended.
    pub fn is_running(&self) -> bool {
        let wanted = self.target.unwrap_or(self.count);
        let all = !self.is_long_running() || self.tasks.running >= wanted.into();
        self.state.is_terminal() || (all && self.state != RunState::Pending)
    }

    /// Whether all of a service or system job has run for long enough; any other run, and one that has been replaced,
    /// has ended.
    pub fn is_healthy(&self) -> bool {
        let wanted = self.target.unwrap_or(self.count);
        let active = self.tasks.assigned + self.tasks.running + self.tasks.stopping + self.tasks.unknown;
        let all = self.is_long_running() && self.healthy.is_some_and(|healthy| healthy >= wanted);
        let all = all && active <= u64::from(wanted);
        self.state.is_terminal() || all
    }
}

/// A run that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingFor {
    /// Which one.
    pub run: String,
    /// Its job.
    pub job: String,
    /// How it has to end: `success`, `failure` or `any`.
    pub when: String,
    /// Its state.
    pub state: RunState,
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
        /// All tasks of a service or system job have run long enough and no earlier run of it is left; any other run has
        /// ended.
        Healthy = "healthy",
        /// Some task executes, or of a service or system job all that are wanted; or the run has ended.
        Running = "running",
    }
}

/// How long a read of one run may block, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
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
