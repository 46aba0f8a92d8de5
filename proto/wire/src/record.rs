//! The values in the store. Each is a [`Document`] with a format version of its own.

use alloc::{string::String, vec::Vec};

use crate::{
    codec::{Document, Error, Reader},
    ended::EndedRanges,
    exceptions::ExceptionTable,
    id::{GrantSeq, JobName, Namespace, NodeId, RunId, Seq, Term},
    node::NodeRecord,
    outcome::{Failure, Usage},
    previous,
    segment::Entry,
    task::{Reason, Status},
    units::{CpuMillis, Fuel, MemBytes},
    wire_struct,
    work::{JobRecord, RunRecord},
};

impl Document for JobRecord {
    const NAME: &'static str = "job record";
    const FORMAT: u8 = 2;

    fn decode_earlier(format: u8, input: &mut Reader<'_>) -> Result<Option<Self>, Error> {
        if format == 1 { previous::job_record(input).map(Some) } else { Ok(None) }
    }
}

impl Document for NodeRecord {
    const NAME: &'static str = "node record";
    const FORMAT: u8 = 1;
}

/// The value of [`crate::key::HEAD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last log transaction.
    pub seq: Seq,
}
wire_struct!(Head { seq });
impl Document for Head {
    const NAME: &'static str = "head";
    const FORMAT: u8 = 1;
}

/// The value of [`crate::key::LEADER`]: where the leader is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leader {
    /// The URL of its HTTP API.
    pub http: String,
    /// Host and port of its link to executors.
    pub link: String,
}
wire_struct!(Leader { http, link });
impl Document for Leader {
    const NAME: &'static str = "leader";
    const FORMAT: u8 = 1;
}

/// The value of [`crate::key::BLOB_STORE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobStore {
    /// The content of the blob store's object [`crate::blob::STORE_ID`].
    pub id: String,
}
wire_struct!(BlobStore { id });
impl Document for BlobStore {
    const NAME: &'static str = "blob store";
    const FORMAT: u8 = 1;
}

/// Submissions committed together; item i becomes run `RunId::from_segment(seq, i)`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmissionSegment {
    /// The runs.
    pub runs: Vec<RunRecord>,
    /// Idempotency keys of these submissions.
    pub keys: Vec<IdempotencyRecord>,
}
wire_struct!(SubmissionSegment { runs, keys });
impl Document for SubmissionSegment {
    const NAME: &'static str = "submission segment";
    const FORMAT: u8 = 1;
}

/// One idempotency key: a repeated request finds its runs instead of making new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The key as the client sent it, behind its namespace and a slash.
    pub key: String,
    /// A hash of the request: the same key with another request is a conflict.
    pub fingerprint: u64,
    /// The first item of this request in the segment.
    pub first: u32,
    /// The number of its items.
    pub count: u32,
}
wire_struct!(IdempotencyRecord { key, fingerprint, first, count });

/// One batch of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The leader that wrote it: part of the name of its segment object.
    pub term: Term,
    /// When it was put together, Unix milliseconds.
    pub wall_ms: u64,
    /// The changes by run.
    pub runs: Vec<RunDelta>,
}
wire_struct!(Delta { term, wall_ms, runs });
impl Document for Delta {
    const NAME: &'static str = "delta";
    const FORMAT: u8 = 2;

    fn decode_earlier(format: u8, input: &mut Reader<'_>) -> Result<Option<Self>, Error> {
        if format == 1 { previous::delta(input).map(Some) } else { Ok(None) }
    }
}

/// The changes of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDelta {
    /// The run.
    pub run: RunId,
    /// Tasks that ended, as ranges; the first failed, killed, lost and rejected ones are in `exceptions` too.
    pub ended: EndedRanges,
    /// Failures, of tasks that ended and of tasks that are tried again.
    pub exceptions: ExceptionTable,
    /// What the attempts behind this delta used.
    pub usage: UsageSum,
    /// A stop was asked for.
    pub stop: Option<Reason>,
    /// Results and logs that are few and small.
    pub inline: Vec<Entry>,
    /// Results, logs and usage are in the segment object of this sequence number.
    pub in_segment: bool,
    /// How many tasks of a service are kept running from here on; those above are not wanted.
    pub desired: Option<u32>,
    /// How many tasks of a service are to be kept running in the end: `desired` moves there during an update.
    pub target: Option<u32>,
    /// Nodes of tasks of a system job: the table grows by these, or a task moves from a node that was removed.
    pub pins: Vec<Pin>,
    /// Fenced grants, stored before they are sent.
    pub fenced: Vec<Fenced>,
    /// Tasks whose fenced grant is over while they are open: it came back without having been started, or its attempt
    /// ended and the task is tried again. Applied before `fenced`.
    pub unfenced: Vec<u32>,
}
wire_struct!(RunDelta {
    run,
    ended,
    exceptions,
    usage,
    stop,
    inline,
    in_segment,
    desired,
    target,
    pins,
    fenced,
    unfenced
});

/// The node of a task of a system job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The task.
    pub index: u32,
    /// Where it runs.
    pub node: NodeId,
}
wire_struct!(Pin { index, node });

/// A fenced grant of one task. It holds until the task ends or a delta says that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// The task.
    pub index: u32,
    /// The term of the grant.
    pub term: Term,
    /// The grant.
    pub grant: GrantSeq,
    /// The node.
    pub node: NodeId,
    /// The node's installation: another one may be another machine, and says nothing about this grant.
    pub installation: u64,
    /// The start of its daemon: only that one can have the attempt, and another one proves that it is gone.
    pub boot: u64,
}
wire_struct!(Fenced { index, term, grant, node, installation, boot });

/// Neighbouring tasks with the same terminal status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRange {
    /// First task.
    pub first: u32,
    /// Number of tasks.
    pub len: u32,
    /// How they ended.
    pub status: Status,
}
wire_struct!(EndedRange { first, len, status });

/// What is known about a task that did not simply succeed at its first attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The task.
    pub index: u32,
    /// Failed attempts that count.
    pub failures: u32,
    /// Terminal status, or none while the task is open.
    pub status: Option<Status>,
    /// The newest failure.
    pub failure: Failure,
    /// Where that happened.
    pub node: Option<NodeId>,
}

/// Usage summed over attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageSum {
    /// Attempts counted.
    pub attempts: u64,
    /// Fuel.
    pub fuel: Fuel,
    /// CPU time, microseconds.
    pub cpu_us: u64,
    /// Wall-clock time, microseconds.
    pub wall_us: u64,
    /// The highest of all peaks.
    pub peak_memory_max: MemBytes,
    /// Output bytes.
    pub output_bytes: u64,
}
wire_struct!(UsageSum { attempts, fuel, cpu_us, wall_us, peak_memory_max, output_bytes });

impl UsageSum {
    /// Adds one attempt; saturates.
    pub fn add(&mut self, usage: &Usage) {
        self.merge(&Self {
            attempts: 1,
            fuel: usage.fuel,
            cpu_us: usage.cpu_us,
            wall_us: usage.wall_us,
            peak_memory_max: usage.peak_memory,
            output_bytes: usage.output_bytes,
        });
    }

    /// Adds another sum; saturates.
    pub fn merge(&mut self, other: &Self) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.fuel.0 = self.fuel.0.saturating_add(other.fuel.0);
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.wall_us = self.wall_us.saturating_add(other.wall_us);
        self.peak_memory_max = self.peak_memory_max.max(other.peak_memory_max);
        self.output_bytes = self.output_bytes.saturating_add(other.output_bytes);
    }
}

/// The state of [`crate::limits::BLOCK_LEN`] tasks of a run, with all deltas through `applied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The last delta in it.
    pub applied: Seq,
    /// Tasks in this block.
    pub len: u32,
    /// Run-length code of the tasks' states: 0 is open, others are [`Status`] numbers.
    pub states: Vec<(u32, u8)>,
    /// Exceptions of its tasks.
    pub exceptions: ExceptionTable,
    /// Results and logs kept in line.
    pub inline: Vec<Entry>,
    /// Fenced grants that hold.
    pub fenced: Vec<Fenced>,
}
wire_struct!(Block { applied, len, states, exceptions, inline, fenced });
impl Document for Block {
    const NAME: &'static str = "state block";
    const FORMAT: u8 = 1;
}

/// What a run's checkpoint holds besides its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMeta {
    /// The last delta in it.
    pub applied: Seq,
    /// Usage so far.
    pub usage: UsageSum,
    /// A stop was asked for.
    pub stop: Option<Reason>,
    /// When the last task ended, Unix milliseconds.
    pub ended_ms: Option<u64>,
    /// The segments that hold results of this run.
    pub segments: Vec<SegmentRef>,
    /// How many tasks of a service are kept running, if that was changed.
    pub desired: Option<u32>,
    /// How many are to be kept running in the end, if that was changed.
    pub target: Option<u32>,
    /// Nodes of tasks of a system job.
    pub pins: Vec<Pin>,
}
wire_struct!(RunMeta { applied, usage, stop, ended_ms, segments, desired, target, pins });
impl Document for RunMeta {
    const NAME: &'static str = "run checkpoint";
    const FORMAT: u8 = 1;
}

/// A segment object and the tasks of one run that it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRef {
    /// The sequence number in its name.
    pub seq: Seq,
    /// The term in its name.
    pub term: Term,
    /// Lowest task in it.
    pub first: u32,
    /// Highest task in it.
    pub last: u32,
}
wire_struct!(SegmentRef { seq, term, first, last });

/// What is known of a job beside its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// The namespace.
    pub namespace: Namespace,
    /// The job.
    pub job: JobName,
    /// None of its tasks is started, and it is not fired.
    pub paused: bool,
    /// All instants of a cron job through this one are dealt with: fired, or passed over. Unix milliseconds.
    pub cron_through_ms: u64,
}
wire_struct!(JobState { namespace, job, paused, cron_through_ms });
impl Document for JobState {
    const NAME: &'static str = "job state";
    const FORMAT: u8 = 1;
}

/// What a namespace may use, and its share of what is scarce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The namespace.
    pub namespace: Namespace,
    /// Its weight between namespaces, 1 to 1,000; others have 100.
    pub weight: u32,
    /// Most CPU of its production tasks.
    pub cpu: Option<CpuMillis>,
    /// Most memory of its production tasks.
    pub memory: Option<MemBytes>,
    /// Most of its production tasks at one time.
    pub running: Option<u32>,
}
wire_struct!(Quota { namespace, weight, cpu, memory, running });
impl Document for Quota {
    const NAME: &'static str = "quota";
    const FORMAT: u8 = 1;
}
