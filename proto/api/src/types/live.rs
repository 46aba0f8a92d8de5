use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a running task does at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskLive {
    /// Fuel used so far; missing while it is in a host call that cannot be looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// The fuel that it may use; missing where its job sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_max: Option<u64>,
    /// Microseconds of CPU time so far.
    pub cpu_us: u64,
    /// Microseconds since the attempt began.
    pub wall_us: u64,
    /// Bytes of its memories and tables; missing like the fuel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The host call that it waits in, if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_call: Option<LiveCall>,
    /// The Wasm stack by name, innermost first; empty like the fuel.
    #[serde(default)]
    pub backtrace: Vec<String>,
}

/// A host call that a task waits in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveCall {
    /// Its name, if it is one of those that wait for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For how many microseconds at least.
    pub for_us: u64,
}

/// How a profile is to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ProfileQuery {
    /// For how many milliseconds the task is sampled; 1 to 60,000, default 5,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u32>,
}
