//! Everything the scheduler can ask its driver to do.

use alloc::{boxed::Box, string::String, vec::Vec};

use weir_wire::{
    id::{JobName, JobVersion, Namespace, NodeId, RunId},
    inspect::Inspected,
    message::{self, ToExecutor},
    txn::Txn,
};

use crate::input::{RequestId, SessionId};

/// One thing to do.
#[derive(Debug)]
pub enum Output {
    /// Write the object, if there is one, to the blob store; when that is durable, commit the transaction; then give
    /// back [`crate::Input::CommitDone`]. A failed object write is retried, and counts as an unknown commit if given up.
    Commit {
        /// The transaction.
        txn: Box<Txn>,
        /// Name and content of a result segment.
        object: Option<(String, Vec<u8>)>,
    },
    /// Send a message to an executor. If the session's queue is full, close the session.
    Send {
        /// The connection.
        session: SessionId,
        /// The message.
        message: Box<ToExecutor>,
    },
    /// Close a connection once what was sent before has left.
    Close {
        /// The connection.
        session: SessionId,
    },
    /// The answer to a request.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        result: Result<Reply, RequestError>,
    },
    /// A piece of output of a followed task.
    TaskOutput(Box<message::Output>),
    /// What a node has seen of a task, for [`crate::Request::Inspect`].
    Inspected(Box<Inspected>),
    /// Compute the next instant of a cron job, and give it back as [`crate::Input::NextInstant`].
    NextInstant {
        /// The namespace.
        namespace: Namespace,
        /// The job.
        job: JobName,
        /// The version whose schedule is meant.
        version: JobVersion,
        /// The schedule.
        schedule: String,
        /// The time zone.
        time_zone: String,
        /// Strictly after this, Unix milliseconds.
        after_ms: u64,
    },
    /// Make the payload of a run from the results of another one, store it as a blob, and say so with
    /// [`crate::Input::InputAssembled`]: the same results always make the same bytes.
    AssembleInput {
        /// The run that waits for it.
        run: RunId,
        /// The run whose results are meant; it has ended.
        from: RunId,
        /// One item for each task, if both runs have the same number of tasks; else all results, one per line.
        items: bool,
    },
    /// The state that people see has changed: wake those who wait. The store's revision.
    Changed {
        /// The revision.
        revision: u64,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The newest version of a job, and whether this request made it.
    Job {
        /// The version.
        version: JobVersion,
        /// Whether it is new.
        created: bool,
    },
    /// The runs of a submission, in its order.
    Runs {
        /// The runs.
        runs: Vec<RunId>,
        /// They were started by an earlier request with the same idempotency key.
        repeated: bool,
    },
    /// A stop was recorded; tasks that were running end soon.
    Stopping,
    /// Following is on or off; false when the task is not running.
    Following(bool),
    /// A node was asked; what it sees comes as [`Output::Inspected`].
    Inspecting,
    /// What was asked for is recorded.
    Done,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// This process does not lead.
    #[error("this replica is not the leader")]
    NotLeader,
    /// Leadership was lost before the outcome was known; the same request with its idempotency key is safe to repeat.
    #[error("leadership was lost before the outcome of the request was known")]
    Interrupted,
    /// There is no such job, or no such version of it.
    #[error("job {job:?} has no version {version}")]
    NoSuchJob {
        /// The job.
        job: JobName,
        /// The version.
        version: JobVersion,
    },
    /// There is no such run.
    #[error("no such run")]
    NoSuchRun,
    /// There is no such job.
    #[error("there is no job {0}")]
    UnknownJob(JobName),
    /// There is no such node.
    #[error("there is no node {0}")]
    NoSuchNode(NodeId),
    /// The namespace's quota does not allow it.
    #[error("the quota of the namespace does not allow it: {0}")]
    Quota(String),
    /// It cannot be done in this state.
    #[error("{0}")]
    Conflict(String),
    /// The request contradicts itself or the job.
    #[error("{0}")]
    Invalid(String),
    /// A spec breaks a rule, or contradicts those of other jobs.
    #[error("{0}")]
    InvalidSpec(String),
    /// The run has no such task.
    #[error("the run has {count} task{}, so there is no task {index}", if *count == 1 { "" } else { "s" })]
    NoSuchTask {
        /// The index asked for.
        index: u32,
        /// The number of tasks.
        count: u32,
    },
    /// The newest version is not the expected one.
    #[error("the newest version of the job is {newest}, not the expected {expected}")]
    VersionConflict {
        /// The newest version; 0 for none.
        newest: JobVersion,
        /// The expected one.
        expected: JobVersion,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// Too much is waiting.
    #[error("the cluster is busy: {0}")]
    Busy(&'static str),
    /// As many tasks are open as may be.
    #[error(
        "the queue is full: {open} tasks are open, {asked} more are asked for, and {max} is the limit, so nothing was done; \
         wait for some to end, or stop some"
    )]
    QueueFull {
        /// Tasks that have not ended.
        open: u64,
        /// Tasks of the submission.
        asked: u64,
        /// The limit.
        max: u64,
    },
    /// Outside the limits; validation before this point should have said so.
    #[error("the request is outside the limits: {0}")]
    Limit(&'static str),
}
