//! Everything that can happen to the scheduler.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    id::{JobName, JobVersion, Namespace, NodeId, RunId, Seq, Term},
    message::ToControl,
    node::{Drain, Hello, NodeRecord},
    outcome::BlobRef,
    record::{Block, Delta, JobState, Quota, RunMeta, SubmissionSegment},
    task::Reason,
    txn::CommitResult,
    units::Instant,
    work::{JobRecord, RunRecord},
};

/// A connection of an executor, numbered by the driver and never re-used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A request, numbered by the driver and never re-used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// This process leads, and has read the whole store since.
    Elected {
        /// The term.
        term: Term,
        /// The content of the store.
        loaded: Box<Loaded>,
    },
    /// This process leads no more: all state is dropped, open requests are answered as such.
    Deposed,
    /// Renewals of executors may be answered until then.
    LeadershipUntil(Instant),
    /// What became of the transaction in flight. Answers to transactions of an earlier term of the same process are not
    /// handed in: their numbers may come again.
    CommitDone {
        /// Its number.
        seq: Seq,
        /// The result; never [`CommitResult::Gap`] unless the store lost data.
        result: CommitResult,
    },
    /// A user asks for something.
    Request {
        /// Its number, for the answer.
        id: RequestId,
        /// What is asked for.
        request: Request,
    },
    /// An executor connected and said who it is; its name was checked against its certificate.
    NodeConnected {
        /// The connection.
        session: SessionId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// An executor sent something else.
    NodeMessage {
        /// The connection.
        session: SessionId,
        /// The message.
        message: Box<ToControl>,
    },
    /// A connection is gone.
    NodeDisconnected {
        /// The connection.
        session: SessionId,
    },
    /// The answer to [`crate::Output::NextInstant`].
    NextInstant {
        /// The namespace.
        namespace: Namespace,
        /// The job.
        job: JobName,
        /// The version that was asked about.
        version: JobVersion,
        /// The instant after which was asked, Unix milliseconds.
        after_ms: u64,
        /// The first instant after that; none if there never is one.
        at_ms: Option<u64>,
    },
    /// The answer to [`crate::Output::AssembleInput`].
    InputAssembled {
        /// The run that waits for it.
        run: RunId,
        /// The blob, or why it could not be made; it is asked for again then.
        result: Result<BlobRef, String>,
    },
    /// The deadline of [`crate::Scheduler::poll_deadline`] has come.
    Tick,
}

/// The content of the store, as read at the start of a term.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The last log transaction.
    pub head: Seq,
    /// All job specs.
    pub jobs: Vec<JobRecord>,
    /// All submission segments, by sequence number.
    pub submissions: Vec<(Seq, SubmissionSegment)>,
    /// All run checkpoints.
    pub metas: Vec<(RunId, RunMeta)>,
    /// All state blocks.
    pub blocks: Vec<(RunId, u32, Block)>,
    /// The delta log, by sequence number.
    pub deltas: Vec<(Seq, Delta)>,
    /// The bytes of the delta log.
    pub log_bytes: usize,
    /// All node registrations.
    pub nodes: Vec<NodeRecord>,
    /// All states of jobs.
    pub job_states: Vec<JobState>,
    /// All quotas.
    pub quotas: Vec<Quota>,
}

/// What a user can ask the scheduler to change.
#[derive(Debug, Clone)]
pub enum Request {
    /// Create a job, or a new version of it if the spec differs from the newest.
    PutJob(Box<PutJob>),
    /// Start runs.
    Submit(Submit),
    /// Stop a run, or one task of it.
    Stop {
        /// The run.
        run: RunId,
        /// One task, or all.
        index: Option<u32>,
        /// The reason to record.
        reason: Reason,
    },
    /// Have the output of a running task sent as [`crate::Output::TaskOutput`], or no more.
    Follow {
        /// The run.
        run: RunId,
        /// The task.
        index: u32,
        /// On or off.
        on: bool,
    },
    /// Have a node look into a running task, and the answer, whose token is the request's number, given as
    /// [`crate::Output::Inspected`]. A node that does not answer is not waited for.
    Inspect {
        /// The run.
        run: RunId,
        /// The task.
        index: u32,
        /// Take a profile over some time instead of looking once.
        sample_for: Option<Duration>,
    },
    /// Keep another number of tasks of a service running.
    Scale {
        /// The namespace.
        namespace: Namespace,
        /// The job.
        job: JobName,
        /// How many; 0 is none, and the service stays.
        desired: u32,
    },
    /// Start the tasks of a long-running job anew, a few at a time.
    Restart {
        /// The namespace.
        namespace: Namespace,
        /// The job.
        job: JobName,
    },
    /// Start none of a job's tasks and do not fire it, or do so again. What runs goes on.
    Pause {
        /// The namespace.
        namespace: Namespace,
        /// The job.
        job: JobName,
        /// On or off.
        on: bool,
    },
    /// Allow no new work on a node, or allow it again, which also ends a drain.
    Cordon {
        /// The node.
        node: NodeId,
        /// On or off.
        on: bool,
    },
    /// Cordon a node and empty it.
    Drain {
        /// The node.
        node: NodeId,
        /// How.
        drain: Drain,
    },
    /// Set labels of a node, or remove them.
    Label {
        /// The node.
        node: NodeId,
        /// Names with their new values; `None` removes.
        labels: Vec<(String, Option<String>)>,
    },
    /// Forget a node that is not connected.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Set the quota and weight of a namespace.
    SetQuota(Quota),
    /// Remove the quota and weight of a namespace.
    RemoveQuota(Namespace),
    /// Replace the work of vanished nodes although many vanished at once.
    ReleaseBrake,
}

/// See [`Request::PutJob`].
#[derive(Debug, Clone)]
pub struct PutJob {
    /// The spec; its version is ignored.
    pub spec: JobRecord,
    /// Refuse unless the newest version is this one; 0 for a job that does not exist yet.
    pub expected: Option<JobVersion>,
    /// Refuse also where a run of so many tasks would be refused: for want of a quota, or of a run to come after.
    pub for_tasks: Option<u32>,
}

/// See [`Request::Submit`].
#[derive(Debug, Clone)]
pub struct Submit {
    /// The runs; all of them are started or none. At most [`crate::limits::SUBMISSION_ITEMS_MAX`].
    pub runs: Vec<RunRecord>,
    /// The idempotency key of the whole request, behind its namespace and a slash.
    pub key: Option<String>,
    /// A hash of the request, to tell a repeated request from a re-used key.
    pub fingerprint: u64,
}
