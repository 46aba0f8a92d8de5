use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words::words;

words! {
    /// The kind of an object that a search found.
    FoundKind {
        /// A job, by name.
        Job = "job",
        /// A run, by id.
        Run = "run",
        /// A node, by name.
        Node = "node",
        /// A module, by digest.
        Module = "module",
    }
}

/// What to search for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// The start of an id or name; a digest with or without `sha256:`. Empty finds everything.
    #[serde(default)]
    pub prefix: String,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FoundKind>,
    /// Only this namespace's jobs and runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The most results; default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SearchResult {
    /// The objects, an exact match first.
    pub items: Vec<Found>,
    /// Whether there are more.
    #[serde(default)]
    pub truncated: bool,
}

/// One object that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// Its id or name.
    pub id: String,
    /// Its namespace, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its job, for a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}
