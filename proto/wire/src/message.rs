//! The messages between control plane and executors.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use crate::{
    codec::Document,
    id::{AttemptId, Digest, GrantSeq, RunId, Term},
    inspect::{Inspect, Inspected},
    log::Stream,
    node::Hello,
    outcome::Outcome,
    resources::Resources,
    task::Reason,
    wire_enum, wire_struct,
    work::WorkSpec,
};

/// The wire versions that this build speaks.
pub const WIRE_MIN: u32 = 1;
/// See [`WIRE_MIN`].
pub const WIRE_MAX: u32 = 2;

/// The code with which an executor closes its session with a control plane of a lower term than it has seen.
pub const CLOSE_STALE_TERM: u32 = 1;

/// Control plane → executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToExecutor {
    /// The session is accepted.
    Welcome(Welcome),
    /// The session is refused; the executor says why and, unless the refusal is final, tries again.
    Refuse(Refuse),
    /// A run whose grants may follow.
    Define(Arc<WorkSpec>),
    /// Run a range of tasks.
    Grant(Grant),
    /// End attempts.
    Stop(Stop),
    /// All outcomes up to this outbox number are recorded for ever.
    Ack(Ack),
    /// The answer to [`ToControl::Renew`]: the lease runs from when that was sent.
    Renewed(Renewed),
    /// No more grants of this run will follow.
    Forget(RunId),
    /// Present the full state again. As the first message of a session, before anything was heard: this replica leads,
    /// so say who is there.
    Present,
    /// Send the output of a running attempt, or stop doing so.
    Follow(Follow),
    /// The same as [`Self::Define`] for a run whose guests may use more; in sessions of wire version 2 or later.
    DefineMore(Extended),
    /// Look into a running attempt. From wire version 2 on.
    Inspect(Inspect),
}
wire_enum!(ToExecutor {
    1 => Welcome(welcome), 2 => Refuse(refuse), 3 => Define(work), 4 => Grant(grant), 5 => Stop(stop), 6 => Ack(ack),
    7 => Renewed(renewed), 8 => Forget(run), 9 => Present, 10 => Follow(follow),
    11 => DefineMore(work), 13 => Inspect(inspect),
});
impl Document for ToExecutor {
    const NAME: &'static str = "message to an executor";
    const FORMAT: u8 = 1;
}

impl ToExecutor {
    /// The definition of a run, as a message that sessions of [`crate::work::Capabilities::wire_min`] have.
    #[must_use]
    pub fn define(work: Arc<WorkSpec>) -> Self {
        if work.capabilities.wire_min() > 1 { Self::DefineMore(Extended(work)) } else { Self::Define(work) }
    }
}

/// Executor → control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToControl {
    /// Who is there; always first.
    Hello(Box<Hello>),
    /// All that the executor holds; after [`ToExecutor::Welcome`] and on request.
    State(FullState),
    /// What happened since the last report.
    Report(Report),
    /// A sign of life, to be answered by [`ToExecutor::Renewed`].
    Renew(Renew),
    /// Output of a followed attempt.
    Output(Output),
    /// The executor is to end: it takes no more grants, and what it runs may finish. Holds until the session ends.
    Draining,
    /// What was seen of an attempt. From wire version 2 on.
    Inspected(Inspected),
    /// How fast attempts here are. From wire version 2 on.
    Speed(Speed),
}
wire_enum!(ToControl {
    1 => Hello(hello), 2 => State(state), 3 => Report(report), 4 => Renew(renew), 5 => Output(output), 6 => Draining,
    7 => Inspected(inspected), 8 => Speed(speed),
});
impl Document for ToControl {
    const NAME: &'static str = "message to the control plane";
    const FORMAT: u8 = 1;
}

/// See [`ToExecutor::Welcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The wire version of this session.
    pub wire: u32,
    /// The leader's term; grants of a lower one are refused from here on.
    pub term: Term,
    /// How long a renewal holds.
    pub lease: Duration,
    /// How often to renew.
    pub renew_every: Duration,
}
wire_struct!(Welcome { wire, term, lease, renew_every });

/// See [`ToExecutor::Refuse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refuse {
    /// Why.
    pub code: RefuseCode,
    /// For people.
    pub message: String,
}
wire_struct!(Refuse { code, message });

/// Why a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseCode {
    /// Not the leader, or not ready yet: try again, perhaps elsewhere.
    NotLeader,
    /// No wire version in common. Final until one side is upgraded.
    WireVersion,
    /// Another cluster. Final.
    Cluster,
    /// A higher incarnation of this node is known: this one must stop its attempts and exit. Final.
    Superseded,
    /// The name in the message is not the one in the certificate. Final.
    Identity,
    /// Malformed first message. Final.
    Malformed,
}
wire_enum!(RefuseCode { 1 => NotLeader, 2 => WireVersion, 3 => Cluster, 4 => Superseded, 5 => Identity, 6 => Malformed });

impl RefuseCode {
    /// Whether trying again without changing anything is useless.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::NotLeader)
    }
}

/// A range of tasks, run one after the other in one lane that reserves the resources of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The run, defined before.
    pub run: RunId,
    /// The term of the leader.
    pub term: Term,
    /// The grant's number in that term.
    pub grant: GrantSeq,
    /// First task.
    pub first: u32,
    /// Number of tasks, 1 to [`crate::limits::GRANT_LEN_MAX`].
    pub len: u32,
    /// The ordinal of these attempts.
    pub ordinal: u32,
}
wire_struct!(Grant { run, term, grant, first, len, ordinal });

/// See [`ToExecutor::Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The run.
    pub run: RunId,
    /// One task, or all of them.
    pub index: Option<u32>,
    /// Only attempts of this grant, or of any.
    pub grant: Option<GrantSeq>,
    /// The reason to report.
    pub reason: Reason,
    /// How long attempts may still go on by themselves; what was not started comes back at once.
    pub grace: Duration,
}
wire_struct!(Stop { run, index, grant, reason, grace });

/// See [`ToExecutor::Ack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The number of the last outcome that is durable.
    pub through: u64,
}
wire_struct!(Ack { through });

/// See [`ToControl::Renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renew {
    /// Chosen by the executor, which remembers when it sent it.
    pub token: u64,
}
wire_struct!(Renew { token });

/// See [`ToExecutor::Renewed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// From the renewal.
    pub token: u64,
}
wire_struct!(Renewed { token });

/// See [`ToExecutor::Follow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// The run.
    pub run: RunId,
    /// The task.
    pub index: u32,
    /// On or off.
    pub on: bool,
}
wire_struct!(Follow { run, index, on });

/// A grant that an executor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldGrant {
    /// As it was received.
    pub grant: Grant,
    /// First task of it that has not ended.
    pub next: u32,
    /// Tasks from here to the end were given back; `first + len` when none were.
    pub end: u32,
    /// Whether the task `next` is running.
    pub running: bool,
}
wire_struct!(HeldGrant { grant, next, end, running });

/// See [`ToControl::State`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullState {
    /// Grants with tasks that have not ended.
    pub grants: Vec<HeldGrant>,
    /// The number of the first unacknowledged outcome; they are sent again in reports after this message.
    pub outbox_first: u64,
    /// The number that the next new outcome will get. Once the outcomes below it have arrived, a granted task that is
    /// neither among them nor in `grants` is known not to be here.
    pub outbox_next: u64,
}
wire_struct!(FullState { grants, outbox_first, outbox_next });

/// See [`ToControl::Report`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The outbox number of the first outcome below; the others follow without gaps.
    pub first: u64,
    /// Outcomes, in outbox order, grouped while run and grant stay the same.
    pub groups: Vec<OutcomeGroup>,
    /// Tasks seen running for longer than a report interval.
    pub started: Vec<Started>,
    /// Tasks given back without having been started.
    pub returned: Vec<Returned>,
    /// The newest progress of running attempts.
    pub progress: Vec<TaskProgress>,
    /// What attempts that are not revocable really use, if that has changed.
    pub measured: Option<Resources>,
}
wire_struct!(Report { first, groups, started, returned, progress, measured });

/// Outcomes of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeGroup {
    /// The run.
    pub run: RunId,
    /// The term of the grant.
    pub term: Term,
    /// The grant.
    pub grant: GrantSeq,
    /// Index and outcome of each attempt.
    pub outcomes: Vec<(u32, Outcome)>,
}
wire_struct!(OutcomeGroup { run, term, grant, outcomes });

/// An attempt that is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The attempt.
    pub id: AttemptId,
}
wire_struct!(Started { id });

/// Tasks of a grant that were not started: the grant ends before `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// The run.
    pub run: RunId,
    /// The term of the grant.
    pub term: Term,
    /// The grant.
    pub grant: GrantSeq,
    /// First task given back; all later ones of the grant are too.
    pub from: u32,
}
wire_struct!(Returned { run, term, grant, from });

/// Progress of a running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskProgress {
    /// The run.
    pub run: RunId,
    /// The task.
    pub index: u32,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
}
wire_struct!(TaskProgress { run, index, done, total });

/// See [`ToControl::Output`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The run.
    pub run: RunId,
    /// The task.
    pub index: u32,
    /// The stream.
    pub stream: Stream,
    /// Milliseconds since the attempt began.
    pub at_ms: u64,
    /// The bytes; empty together with `last`.
    pub bytes: Box<[u8]>,
    /// The attempt is over, or is not running here.
    pub last: bool,
}
wire_struct!(Output { run, index, stream, at_ms, bytes, last });

/// See [`ToControl::Speed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Fuel used for each second of CPU time, over the attempts that ended lately.
    pub fuel_per_s: u64,
}
wire_struct!(Speed { fuel_per_s });

/// The head of a blob stream, executor → control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobRequest {
    /// Send me this blob.
    Get(Digest),
    /// Here comes this blob.
    Put(crate::outcome::BlobRef),
}
wire_enum!(BlobRequest { 1 => Get(digest), 2 => Put(blob) });
impl Document for BlobRequest {
    const NAME: &'static str = "blob request";
    const FORMAT: u8 = 1;
}

/// The answer to a [`BlobRequest`]; for a get, the content follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobReply {
    /// The content follows (get), or was stored (put); its length.
    Ok(u64),
    /// There is no such blob.
    NotFound,
    /// It cannot be done for this reason; trying again later may help.
    Failed(String),
    /// This executor may not do that.
    Forbidden(String),
}
wire_enum!(BlobReply { 1 => Ok(len), 2 => NotFound, 3 => Failed(message), 4 => Forbidden(message) });
impl Document for BlobReply {
    const NAME: &'static str = "blob reply";
    const FORMAT: u8 = 1;
}

/// See [`ToExecutor::DefineMore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended(pub Arc<WorkSpec>);

// Shared: a run is defined on thousands of nodes, and its definition is made once. In the form of wire version 1, which
// knows no capabilities.
impl crate::codec::Wire for Arc<WorkSpec> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_without_capabilities(out);
    }
    fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
        WorkSpec::decode_without_capabilities(input).map(Self::new)
    }
}
impl crate::codec::Wire for Extended {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self.0).encode(out);
    }
    fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
        WorkSpec::decode(input).map(|work| Self(Arc::new(work)))
    }
}
impl crate::codec::Wire for Box<Hello> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
    fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
        Hello::decode(input).map(Self::new)
    }
}
