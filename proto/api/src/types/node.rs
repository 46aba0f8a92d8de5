use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::words;

words! {
    /// The state of a node.
    NodeState {
        /// Connected, and its full state is known.
        Ready = "ready",
        /// Connected; its full state is awaited.
        Joining = "joining",
        /// Connected, and about to end: it finishes what it runs and gets nothing more.
        Draining = "draining",
        /// Silent for less than the node timeout.
        Silent = "silent",
        /// Silent for longer; its work was placed elsewhere.
        Lost = "lost",
    }
}

/// A machine with an executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its name, from its certificate.
    pub id: String,
    /// Its state.
    pub state: NodeState,
    /// The starts of its daemon.
    pub incarnation: u64,
    /// What it says about itself, such as `arch` and `os`, and its labels.
    pub attributes: BTreeMap<String, String>,
    /// The labels that its operator gave it here; each replaces an attribute of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its operator wants no new work on it.
    #[serde(default)]
    pub cordoned: bool,
    /// How it is being emptied, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<NodeDrain>,
    /// The directories that it publishes, by name.
    #[serde(default)]
    pub published: Vec<String>,
    /// What it offers.
    pub capacity: NodeTotals,
    /// What is reserved for tasks.
    pub allocated: NodeTotals,
    /// Tasks that execute.
    pub running: u64,
    /// Fuel for each second of CPU time of its attempts, over those that ended lately; missing until enough have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_per_s: Option<u64>,
    /// When it was heard last, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// For how long nothing was heard of it, in milliseconds, if that is longer than one that is well is silent. Its state
    /// follows once its connection is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// The version of its daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Resources of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeTotals {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Attempts at one time; 0 in the capacity of a node that has not connected yet.
    pub slots: u64,
}

/// How a node is emptied, and how far that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeDrain {
    /// When it was asked for, in milliseconds since 1970.
    pub since_ms: u64,
    /// When tasks that may end by themselves are stopped, in milliseconds since 1970; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// The tasks of system jobs stay.
    #[serde(default)]
    pub ignore_system: bool,
    /// Why, as its operator said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Nothing is left that has to go.
    #[serde(default)]
    pub done: bool,
}
