//! What is to be run: the immutable content of a job version, and of a run.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::time::Duration;

use crate::{
    codec::{Error, Reader, Wire},
    id::{Digest, JobName, JobVersion, Namespace, RunId},
    kind::{Dependency, Execution, Kind, Pairs, RunDependency, Tier},
    outcome::BlobRef,
    placement::Placement,
    resources::Resources,
    units::Fuel,
    wire_enum, wire_struct,
};

/// Budgets of one attempt. All of them are enforced by the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// CPU rate and memory, reserved on the node while an attempt runs. The memory includes [`Capabilities::scratch`].
    pub resources: Resources,
    /// Total fuel.
    pub fuel: Fuel,
    /// Wall-clock time; without one, an attempt may take as long as it takes.
    pub timeout: Option<Duration>,
    /// Bytes of stdout, stderr and log together.
    pub output: u64,
}
wire_struct!(Budgets { resources, fuel, timeout, output });

/// A directory that the node's operator published, mounted for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirGrant {
    /// The name under which it is published.
    pub name: String,
    /// Where the guest sees it.
    pub guest_path: String,
    /// Whether the guest may write.
    pub writable: bool,
}
wire_struct!(DirGrant { name, guest_path, writable });

/// What a guest may use beyond its budgets and directories, or does without. All of it needs a session of wire version 2.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Capabilities {
    /// Clocks and random numbers are the same at every attempt of a task.
    pub deterministic: bool,
    /// Bytes of a directory that is made for each attempt and removed after it; none without them. They are a part of
    /// the memory in [`Budgets::resources`].
    pub scratch: u64,
    /// What guests may connect to.
    pub nets: Vec<NetGrant>,
}
wire_struct!(Capabilities { deterministic, scratch, nets });

/// Where a guest may connect to over TCP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetGrant {
    /// A name, or an IP address.
    pub host: String,
    /// 1 to 65,535.
    pub port: u32,
}
wire_struct!(NetGrant { host, port });

impl Capabilities {
    /// Those of a guest that asks for nothing of it.
    pub const NONE: Self = Self { deterministic: false, scratch: 0, nets: Vec::new() };

    /// The lowest wire version of a session in which a run with them can be defined.
    #[must_use]
    pub fn wire_min(&self) -> u32 {
        if *self == Self::NONE { 1 } else { 2 }
    }
}

/// How failed attempts are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts that count, the first included; at least 1.
    pub attempts: u32,
    /// Delay after the first failure; doubled for each further one.
    pub backoff_min: Duration,
    /// Longest delay.
    pub backoff_max: Duration,
    /// Whether deterministic failures are repeated too.
    pub retry_deterministic: bool,
}
wire_struct!(RetryPolicy { attempts, backoff_min, backoff_max, retry_deterministic });

/// A job's spec as it is stored: immutable, one per version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The namespace.
    pub namespace: Namespace,
    /// The job.
    pub job: JobName,
    /// The version, from 1.
    pub version: JobVersion,
    /// What sort of work it is.
    pub kind: Kind,
    /// The module.
    pub module: Digest,
    /// Arguments after the program name.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Budgets of each attempt.
    pub budgets: Budgets,
    /// Directories.
    pub dirs: Vec<DirGrant>,
    /// What else its guests may use.
    pub capabilities: Capabilities,
    /// Tasks of a run unless the run says otherwise; of a service, how many are kept running.
    pub count: u32,
    /// Most tasks of a run at the same time; 0 means no limit.
    pub max_running: u32,
    /// 0 to 100, higher first.
    pub priority: u8,
    /// How firmly it holds its place.
    pub tier: Tier,
    /// A run is ended early when more than this many of its tasks have failed for good.
    pub max_failed: Option<u32>,
    /// A task that was not started this long after its submission is not started at all.
    pub start_deadline: Option<Duration>,
    /// Jobs whose runs have to end first.
    pub after: Vec<Dependency>,
    /// The job of `after` whose results become the payload.
    pub input_from: Option<JobName>,
    /// How often attempts may execute.
    pub execution: Execution,
    /// Retries; of long-running kinds, the back-off between starts.
    pub retry: RetryPolicy,
    /// Where it may run.
    pub placement: Placement,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// The author's note.
    pub message: String,
}
wire_struct!(JobRecord {
    namespace,
    job,
    version,
    kind,
    module,
    args,
    env,
    budgets,
    dirs,
    capabilities,
    count,
    max_running,
    priority,
    tier,
    max_failed,
    start_deadline,
    after,
    input_from,
    execution,
    retry,
    placement,
    created_ms,
    message,
});

/// The payload of a run's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Input {
    /// No payload.
    #[default]
    None,
    /// The same bytes for every task; at most [`crate::limits::INLINE_PAYLOAD_MAX`].
    Inline(Box<[u8]>),
    /// The same blob for every task.
    Blob(BlobRef),
    /// An [`crate::items`] blob: item i for task i.
    Items(BlobRef),
}
wire_enum!(Input { 0 => None, 1 => Inline(bytes), 2 => Blob(blob), 3 => Items(blob) });

/// One run as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The namespace.
    pub namespace: Namespace,
    /// The job.
    pub job: JobName,
    /// Its version.
    pub version: JobVersion,
    /// The number of tasks.
    pub count: u32,
    /// Arguments in place of the job's, if any were given.
    pub args: Option<Vec<String>>,
    /// The payload.
    pub input: Input,
    /// Names and values of its submitter, which its tasks see.
    pub meta: Pairs,
    /// Runs that have to end first, in the order of the job's dependencies.
    pub after: Vec<RunDependency>,
    /// The place in `after` of the run whose results become the payload.
    pub input_from: Option<u32>,
    /// The instant for which a cron job is fired, Unix milliseconds.
    pub scheduled_ms: Option<u64>,
    /// When it was submitted, Unix milliseconds.
    pub submitted_ms: u64,
}
wire_struct!(RunRecord {
    namespace,
    job,
    version,
    count,
    args,
    input,
    meta,
    after,
    input_from,
    scheduled_ms,
    submitted_ms
});

/// All an executor needs to run tasks of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkSpec {
    /// The run.
    pub run: RunId,
    /// The namespace.
    pub namespace: Namespace,
    /// The job.
    pub job: JobName,
    /// The number of tasks in the run.
    pub count: u32,
    /// Tasks are meant to run until they are stopped.
    pub long_running: bool,
    /// How firmly it holds its place.
    pub tier: Tier,
    /// 0 to 100, higher first.
    pub priority: u8,
    /// How often attempts may execute.
    pub execution: Execution,
    /// The module.
    pub module: Digest,
    /// Arguments after the program name.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Budgets of each attempt.
    pub budgets: Budgets,
    /// Directories.
    pub dirs: Vec<DirGrant>,
    /// The payload.
    pub input: Input,
    /// What else its guests may use.
    pub capabilities: Capabilities,
}
impl Wire for WorkSpec {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_without_capabilities(out);
        self.capabilities.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let work = Self::decode_without_capabilities(input)?;
        Ok(Self { capabilities: Wire::decode(input)?, ..work })
    }
}

impl WorkSpec {
    /// Appends the form of wire version 1.
    pub(crate) fn encode_without_capabilities(&self, out: &mut Vec<u8>) {
        self.run.encode(out);
        self.namespace.encode(out);
        self.job.encode(out);
        self.count.encode(out);
        self.long_running.encode(out);
        self.tier.encode(out);
        self.priority.encode(out);
        self.execution.encode(out);
        self.module.encode(out);
        self.args.encode(out);
        self.env.encode(out);
        self.budgets.encode(out);
        self.dirs.encode(out);
        self.input.encode(out);
    }

    /// Reads the form of wire version 1.
    pub(crate) fn decode_without_capabilities(input: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            run: Wire::decode(input)?,
            namespace: Wire::decode(input)?,
            job: Wire::decode(input)?,
            count: Wire::decode(input)?,
            long_running: Wire::decode(input)?,
            tier: Wire::decode(input)?,
            priority: Wire::decode(input)?,
            execution: Wire::decode(input)?,
            module: Wire::decode(input)?,
            args: Wire::decode(input)?,
            env: Wire::decode(input)?,
            budgets: Wire::decode(input)?,
            dirs: Wire::decode(input)?,
            input: Wire::decode(input)?,
            capabilities: Capabilities::NONE,
        })
    }
}

impl WorkSpec {
    /// Joins a run with its job's spec; the run's metadata becomes `WEIR_META_…` in the environment.
    #[must_use]
    pub fn new(run: RunId, record: &RunRecord, job: &JobRecord) -> Self {
        let meta = record.meta.iter().map(|(name, value)| (format!("WEIR_META_{name}"), value.clone()));
        Self {
            run,
            namespace: record.namespace.clone(),
            job: record.job.clone(),
            count: record.count,
            long_running: job.kind.is_long_running(),
            tier: job.tier,
            priority: job.priority,
            execution: job.execution,
            module: job.module,
            args: record.args.clone().unwrap_or_else(|| job.args.clone()),
            env: job.env.iter().cloned().chain(meta).collect(),
            budgets: job.budgets,
            dirs: job.dirs.clone(),
            input: record.input.clone(),
            capabilities: job.capabilities.clone(),
        }
    }
}
