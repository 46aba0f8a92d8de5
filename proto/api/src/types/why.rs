use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TaskState;

/// Why tasks of a run are pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyPending {
    /// The run.
    pub run: String,
    /// Tasks that wait.
    pub pending: u64,
    /// Those of them that wait for their next attempt's time.
    #[serde(default)]
    pub retrying: u64,
    /// Nodes that were looked at.
    pub nodes: u64,
    /// Nodes on which a task of this run could start at once.
    pub fitting: u64,
    /// One sentence.
    pub summary: String,
    /// What excludes nodes, most frequent first; a node can be counted in several.
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
}

/// One thing that excludes nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dimension {
    /// `cpu`, `memory`, `slots`, `not_ready`, `max_running`, `grant NAME`, or the constraint itself.
    pub dimension: String,
    /// Nodes that it excludes.
    pub nodes: u64,
    /// What is asked for and what is there.
    #[serde(default)]
    pub detail: String,
}

/// Why a task does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskWhy {
    /// The task.
    pub task: String,
    /// Its state.
    pub state: TaskState,
    /// One sentence.
    pub summary: String,
    /// When its next attempt may start, in milliseconds since 1970, if it has to wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry_ms: Option<u64>,
    /// Why tasks of its run are pending.
    pub run: WhyPending,
}
