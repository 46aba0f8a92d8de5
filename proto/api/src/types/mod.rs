//! The bodies of the HTTP API, one file a noun.
//!
//! Every body that is an object is sent as [`Versioned`], which puts `"api": "v1"` at its top level. Clients ignore
//! fields that they do not know; fields are only ever added.

mod cluster;
mod job;
mod log;
mod module;
mod node;
mod page;
mod problem;
mod result;
mod run;
mod search;
mod submit;
mod task;
mod version;
mod why;

pub use cluster::{ClusterInfo, ClusterTotals, StoreInfo, StoreKind, StoreStatus};
pub use job::{Job, JobVersion};
pub use log::{LogLevel, LogRecord, LogStream};
pub use module::{Blob, Import, Module, ModuleKind};
pub use node::{Node, NodeState, NodeTotals};
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Page, PageQuery};
pub use problem::{Code, Detail, Problem};
pub use result::TaskResult;
pub use run::{Run, RunQuery, RunState, RunUsage, TaskCounts, Until, UsageMax};
pub use search::{Found, FoundKind, SearchQuery, SearchResult};
pub use submit::{
    BATCH_ITEMS_MAX, BatchItem, BatchRequest, BatchResult, PAYLOAD_INLINE_BYTES_MAX, Payload, RunRequest, StopRequest,
};
pub use task::{LogsQuery, Reason, Source, Task, TaskState, TasksQuery, Trap, Usage};
pub use version::{ApiVersion, Versioned};
pub use why::{Dimension, WhyPending};
