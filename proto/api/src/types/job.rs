use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RunState;
use crate::spec::{Change, Document};

/// A job as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// The namespace.
    pub namespace: String,
    /// The name, unique in the namespace.
    pub name: String,
    /// The kind: `batch`, `service`, `cron`, `system` or `function`.
    pub kind: String,
    /// The latest version of its spec, from 1.
    pub version: u32,
    /// The module's digest.
    pub module: String,
    /// Tasks of a run by its latest version; of a service that runs, the number to which it is scaled.
    pub count: u32,
    /// When the latest version was made, in milliseconds since 1970.
    pub updated_ms: u64,
    /// None of its tasks is started, and it is not fired.
    #[serde(default)]
    pub paused: bool,
    /// The schedule of a cron job with its time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// When a cron job fires next, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// Its latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// The state of its latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_state: Option<RunState>,
}

/// One immutable version of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobVersion {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The version, from 1; also its `ETag`.
    pub version: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Why it was made, as its author said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether this request made the version; false when the spec was that of the latest one already, and in reads.
    #[serde(default)]
    pub changed: bool,
    /// The spec with every default written out.
    #[schema(value_type = crate::spec::Document)]
    pub spec: Document,
}

/// What differs between two versions of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobDiff {
    /// The namespace.
    pub namespace: String,
    /// The job.
    pub job: String,
    /// The older version; 0 when the job does not exist.
    pub from: u32,
    /// The newer version; 0 when it is not stored.
    pub to: u32,
    /// The keys that differ.
    pub changes: Vec<Change>,
}
