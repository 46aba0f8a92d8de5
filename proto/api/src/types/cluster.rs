use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words::words;

words! {
    /// The kind of a cluster's store.
    StoreKind {
        /// An etcd cluster.
        Etcd = "etcd",
        /// A file of this control plane.
        Embedded = "embedded",
    }
}

words! {
    /// How the store is doing.
    StoreStatus {
        /// It answers, and takes what is written.
        Ok = "ok",
        /// It answers; whether it takes anything is known to a leader only.
        Answers = "answers",
        /// Nothing was heard of it yet.
        Unknown = "unknown",
        /// It does not; the control plane keeps trying.
        Retrying = "retrying",
    }
}

/// What a cluster is and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterInfo {
    /// Its name.
    pub cluster: String,
    /// The version of the control plane.
    pub version: String,
    /// The leader's address; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Why there is none, as the replica that was asked sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_leader: Option<NoLeader>,
    /// The leader's term; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// Its store.
    pub store: StoreInfo,
    /// The store revision of the last applied transaction; absent while nobody leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Sums over its objects; absent while nobody leads, since only a leader knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<ClusterTotals>,
}

/// What a replica that does not lead knows of why nobody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoLeader {
    /// Since when it knows of nobody who leads and answers, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why, and why it does not lead itself.
    pub reason: String,
    /// The address of the last leader that it knows of, which may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_leader: Option<String>,
}

/// The store of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreInfo {
    /// Its kind.
    pub kind: StoreKind,
    /// Its own version, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How it is doing.
    pub status: StoreStatus,
    /// Since when it is being retried, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// The latest error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Sums over a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClusterTotals {
    /// Jobs.
    pub jobs: u64,
    /// Runs that have not ended.
    pub open_runs: u64,
    /// Tasks that wait.
    pub pending_tasks: u64,
    /// Tasks that execute.
    pub running_tasks: u64,
    /// Tasks on nodes that do not answer.
    pub unknown_tasks: u64,
    /// Nodes that are ready.
    pub ready_nodes: u64,
    /// All nodes.
    pub nodes: u64,
    /// Of these, those that are silent and whose work is not replaced, as many vanished at once: the brake is on.
    pub held_nodes: u64,
    /// The brake is on.
    pub brake: bool,
}

/// What objects of the blob store are deleted: those that nothing needs and that are old enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GcRequest {
    /// Only count, and delete nothing.
    pub dry_run: bool,
    /// Objects that were stored within this time stay, as a duration such as `24h`, which is the default; at least `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<String>,
    /// Why, for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What was found in the blob store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GcReport {
    /// Nothing was deleted; the numbers are what would be.
    pub dry_run: bool,
    /// Objects that were deleted.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Files of uploads that were cut off, which were deleted as well.
    pub partial_files: u64,
    /// Their bytes.
    pub partial_bytes: u64,
    /// Objects that nothing needs, but that are not old enough.
    pub young_objects: u64,
    /// Their bytes.
    pub young_bytes: u64,
    /// Objects that are needed.
    pub needed_objects: u64,
    /// Their bytes.
    pub needed_bytes: u64,
}

/// What is to be in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SnapshotQuery {
    /// Whether the objects of the blob store are in it; they are, unless this is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<bool>,
}
