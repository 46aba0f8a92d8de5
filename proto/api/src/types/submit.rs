use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Problem, Run};

/// The most items of one batch.
pub const BATCH_ITEMS_MAX: usize = 10_000;
/// The most names of one run's metadata.
pub const META_MAX: usize = 64;
/// The most bytes of one run's metadata, names and values together.
pub const META_BYTES_MAX: usize = 16 << 10;
/// The most bytes of an inline payload, before base64; larger ones are uploaded as a blob first.
pub const PAYLOAD_INLINE_BYTES_MAX: usize = 64 << 10;

/// Starts a run of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The job, in the namespace of the path.
    pub job: String,
    /// A version of it; the latest by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// A number of tasks that replaces the spec's; must be the number of items when `items` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Arguments in place of the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// What every task gets as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The digest of an uploaded items blob (`weir_wire::items`), whose item i is the input of task i; excludes `payload`.
    /// It decides the number of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Names and values that tasks see as `WEIR_META_NAME`; at most 64 of 16 KiB together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The input of every task of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Payload {
    /// The bytes themselves in base64; at most 64 KiB of bytes.
    Base64(String),
    /// The digest of an uploaded blob.
    Blob(String),
}

/// Calls a function: starts a run of one task whose result is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DispatchRequest {
    /// A version of the function; the latest by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Arguments in place of the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// What the task gets as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Names and values that the task sees as `WEIR_META_NAME`; at most 64 of 16 KiB together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Many submissions under one idempotency key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// At most 10,000; each succeeds or fails on its own.
    pub items: Vec<RunRequest>,
}

/// The results of a batch, in the order of its items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// One for each item.
    pub items: Vec<BatchItem>,
}

/// The result of one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchItem {
    /// It was accepted.
    Run(Box<Run>),
    /// It was refused.
    Error(Problem),
}

/// Stops a run or a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
