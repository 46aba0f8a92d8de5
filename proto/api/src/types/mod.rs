//! The bodies of the HTTP API, one file a noun.
//!
//! Every body that is an object is sent as [`Versioned`], which puts `"api": "v1"` at its top level. Clients ignore
//! fields that they do not know; fields are only ever added.

mod change;
mod cluster;
#[cfg(feature = "module")]
mod described;
mod graph;
mod job;
mod live;
mod log;
mod module;
mod node;
mod page;
mod plan;
mod problem;
mod quota;
mod result;
mod run;
mod search;
mod submit;
mod task;
mod version;
mod why;

pub use change::{ChangeRequest, DrainRequest, LabelsRequest, RevertRequest, ScaleRequest};
pub use cluster::{
    ClusterInfo, ClusterTotals, GcReport, GcRequest, NoLeader, SnapshotQuery, StoreInfo, StoreKind, StoreStatus,
};
pub use graph::{GraphEdge, GraphJob, JobGraph};
pub use job::{Job, JobDiff, JobVersion};
pub use live::{LiveCall, ProfileQuery, TaskLive};
pub use log::{LogLevel, LogRecord, LogStream};
pub use module::{Blob, Import, Module, ModuleKind, ModuleMemory, ModuleParts, ModuleTable};
pub use node::{Node, NodeDrain, NodeState, NodeTotals};
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Page, PageQuery};
pub use plan::{JobPlan, PlannedPlace, PlannedQuota, PlannedVictim};
pub use problem::{Code, Detail, Problem};
pub use quota::{NamespaceInfo, Quota, QuotaLimits, QuotaUse};
pub use result::TaskResult;
pub use run::{Run, RunQuery, RunState, RunUsage, TaskCounts, Until, UsageMax, WaitingFor};
pub use search::{Found, FoundKind, SearchQuery, SearchResult};
pub use submit::{
    BATCH_ITEMS_MAX, BatchItem, BatchRequest, BatchResult, DispatchRequest, META_BYTES_MAX, META_MAX,
    PAYLOAD_INLINE_BYTES_MAX, Payload, RunRequest, StopRequest,
};
pub use task::{LogsQuery, Reason, Source, Task, TaskState, TasksQuery, Trap, Usage};
pub use version::{ApiVersion, Versioned};
pub use why::{Dimension, TaskWhy, WhyPending};
