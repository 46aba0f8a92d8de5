use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a namespace may use, and its share of what is scarce.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    /// The namespace.
    pub namespace: String,
    /// Its limits and weight.
    #[serde(flatten)]
    pub limits: QuotaLimits,
    /// What its open production runs ask for.
    #[serde(default)]
    pub used: QuotaUse,
}

/// The limits of a namespace's production tasks, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaLimits {
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u32>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Tasks at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Its share between namespaces, 1 to 1,000; 100 by default.
    #[serde(default = "weight_default")]
    pub weight: u32,
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self { cpu_milli: None, memory_bytes: None, running: None, weight: weight_default() }
    }
}

const fn weight_default() -> u32 {
    100
}

/// What the open production runs of a namespace ask for at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QuotaUse {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Tasks.
    pub running: u64,
}

/// A namespace with what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamespaceInfo {
    /// Its name.
    pub name: String,
    /// Its jobs.
    pub jobs: u64,
    /// Its limits, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaLimits>,
}
