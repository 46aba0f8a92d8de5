use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{QuotaLimits, QuotaUse};
use crate::spec::Change;

/// What putting a spec and starting a run of it would do at this moment; nothing is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobPlan {
    /// The namespace.
    pub namespace: String,
    /// The job.
    pub job: String,
    /// The latest version, to submit against; 0 when the job does not exist.
    pub version: u32,
    /// The version that the spec would be: the latest one if nothing differs.
    pub next_version: u32,
    /// The keys in which the spec differs from the latest version; all of them when the job does not exist.
    pub changes: Vec<Change>,
    /// The number of tasks of a run; of a service that is scaled, what it is scaled to unless the spec says another
    /// number than before.
    pub count: u32,
    /// The number of tasks that the spec says.
    #[serde(default)]
    pub specified: u32,
    /// Of a running service, the number of tasks that are kept at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u32>,
    /// The run of a service or system job that has this spec already: a deploy changes nothing, and it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on: Option<String>,
    /// The tasks that were tried: of a very large run, only some.
    pub tried: u32,
    /// Where they would go, by node; at most some nodes are named.
    pub placed: Vec<PlannedPlace>,
    /// Nodes that would get tasks and are not named.
    #[serde(default)]
    pub nodes_unnamed: u32,
    /// Tasks for which others would be asked to make room.
    #[serde(default)]
    pub by_eviction: u32,
    /// What would be asked to; at most some are named.
    pub victims: Vec<PlannedVictim>,
    /// Further ones that are not named.
    #[serde(default)]
    pub victims_unnamed: u32,
    /// Tasks that would wait.
    pub waiting: u32,
    /// Why they would, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why the job or its run would be refused, the quota aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What the run would do to the namespace's quota, if that has one and the job counts against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<PlannedQuota>,
}

/// Tasks that would go to one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedPlace {
    /// The node.
    pub node: String,
    /// The number of tasks.
    pub tasks: u32,
}

/// A task that would make room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedVictim {
    /// The task.
    pub task: String,
    /// Its namespace.
    pub namespace: String,
    /// Its job.
    pub job: String,
    /// Where it runs.
    pub node: String,
}

/// The quota of a namespace before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedQuota {
    /// What may be used.
    pub limits: QuotaLimits,
    /// What is used without the run.
    pub before: QuotaUse,
    /// What would be used with it.
    pub after: QuotaUse,
    /// The run would be refused.
    pub exceeded: bool,
}

impl JobPlan {
    /// Whether putting the spec would make a new version.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.next_version != self.version
    }
}
