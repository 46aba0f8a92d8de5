use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The entries of a page when the request names no limit.
pub const LIMIT_DEFAULT: u32 = 100;
/// The most entries of a page; a larger limit is refused.
pub const LIMIT_MAX: u32 = 10_000;

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// The `next` of the page before; the first page without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most entries; 1 to 10,000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only entries that belong to this job, where the list is one of jobs or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}
