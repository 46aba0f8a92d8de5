//! What waits to be committed together.

use alloc::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    string::String,
    vec::Vec,
};

use weir_wire::{
    id::{JobName, Namespace, NodeId, RunId, Seq},
    node::NodeRecord,
    outcome::Captured,
    record::{EndedRange, Exception, Fenced, JobState, Pin, Quota, UsageSum},
    segment,
    task::{Reason, Status},
    work::{JobRecord, RunRecord},
};

use crate::{
    input::{RequestId, SessionId},
    limits::{DELTA_BYTES_TARGET, SEGMENT_BYTES_TARGET},
    output::Reply,
    view::QuotaUsage,
};

/// Changes of one run.
#[derive(Debug, Default)]
pub(crate) struct RunChanges {
    pub(crate) ended: Vec<EndedRange>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) usage: UsageSum,
    pub(crate) stop: Option<Reason>,
    pub(crate) entries: Vec<segment::Entry>,
    /// Fenced grants, to be sent once they are durable.
    pub(crate) fenced: BTreeMap<u32, Fenced>,
    /// Tasks whose fenced grant is over; applied before `fenced`.
    pub(crate) unfenced: BTreeSet<u32>,
    /// Entries that never go into a segment.
    pub(crate) in_line: Vec<segment::Entry>,
    pub(crate) desired: Option<u32>,
    pub(crate) target: Option<u32>,
    pub(crate) pins: Vec<Pin>,
}

impl RunChanges {
    /// Stages the end of a task; says how many bytes that adds.
    fn end(&mut self, index: u32, status: Status) -> usize {
        self.fenced.remove(&index);
        match self.ended.last_mut() {
            Some(last) if last.status == status && last.first + last.len == index => {
                last.len += 1;
                0
            }
            Some(_) | None => {
                self.ended.push(EndedRange { first: index, len: 1, status });
                8
            }
        }
    }
}

/// A submission that waits for its commit.
#[derive(Debug, Default)]
pub(crate) struct PendingSubmission {
    /// The request behind it; none for a firing.
    pub(crate) id: Option<RequestId>,
    pub(crate) key: Option<String>,
    pub(crate) fingerprint: u64,
    /// The first of its items in the segment.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl PendingSubmission {
    /// The submission of a request.
    pub(crate) fn of(id: RequestId, key: Option<String>, fingerprint: u64) -> Self {
        Self { id: Some(id), key, fingerprint, ..Self::default() }
    }
}

/// One transaction in the making.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Counts batches; acknowledgements wait for one.
    pub(crate) id: u64,
    pub(crate) jobs: Vec<JobRecord>,
    /// Registrations to write, or to delete: one change a node.
    pub(crate) nodes: BTreeMap<NodeId, Option<NodeRecord>>,
    pub(crate) job_states: BTreeMap<(Namespace, JobName), JobState>,
    /// Quotas that are set, or removed.
    pub(crate) quotas: BTreeMap<Namespace, Option<Quota>>,
    pub(crate) submitted: Vec<RunRecord>,
    pub(crate) submissions: Vec<PendingSubmission>,
    pub(crate) runs: BTreeMap<RunId, RunChanges>,
    /// Demand that counts until what causes it is charged itself.
    pub(crate) reserved: Vec<(Namespace, QuotaUsage)>,
    /// Submissions whose runs are forgotten.
    pub(crate) forgotten: Vec<Seq>,
    /// Forgotten runs whose checkpoints go.
    pub(crate) left_over: Vec<RunId>,
    /// Answers that depend on this batch.
    pub(crate) replies: Vec<(RequestId, Reply)>,
    /// Sessions to welcome once their registration is durable.
    pub(crate) welcomes: Vec<SessionId>,
    pub(crate) outcomes: usize,
    /// Somebody waits for this batch: it is not held back.
    pub(crate) urgent: bool,
    delta_bytes: usize,
    pub(crate) entry_bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// Whether nothing depends on this batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.nodes.is_empty()
            && self.job_states.is_empty()
            && self.quotas.is_empty()
            && self.submitted.is_empty()
            && self.runs.is_empty()
            && self.forgotten.is_empty()
            && self.left_over.is_empty()
            && self.replies.is_empty()
            && self.welcomes.is_empty()
    }

    /// Whether more goes into the next batch.
    pub(crate) fn is_full(&self) -> bool {
        // Each of these has a key; a submission segment and a delta may join them, and a job brings a state.
        let deleted = self.forgotten.len() + self.left_over.len();
        let keys = self.jobs.len() + self.nodes.len() + self.job_states.len() + self.quotas.len() + deleted + 3;
        self.delta_bytes >= DELTA_BYTES_TARGET
            || self.entry_bytes >= SEGMENT_BYTES_TARGET
            || keys >= weir_wire::limits::TXN_OPS_MAX
    }

    /// Stages the registration of a node, in place of what was staged for it here.
    pub(crate) fn put_node(&mut self, record: NodeRecord) {
        let texts: usize = record.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        self.delta_bytes += 192 + texts + record.drain.as_ref().map_or(0, |drain| drain.message.len());
        self.nodes.insert(record.node.clone(), Some(record));
    }

    /// Stages the end of a node's registration.
    pub(crate) fn delete_node(&mut self, node: NodeId) {
        self.nodes.insert(node, None);
    }

    /// Accounts for bytes that something else adds to the transaction.
    pub(crate) const fn charge(&mut self, bytes: usize) {
        self.delta_bytes += bytes;
    }

    /// The changes of a run.
    pub(crate) fn run(&mut self, run: RunId) -> &mut RunChanges {
        match self.runs.entry(run) {
            Entry::Vacant(place) => {
                self.delta_bytes += 48;
                place.insert(RunChanges::default())
            }
            Entry::Occupied(changes) => changes.into_mut(),
        }
    }

    /// Stages the end of a task that has left nothing.
    pub(crate) fn end(&mut self, run: RunId, index: u32, status: Status) {
        self.delta_bytes += self.run(run).end(index, status);
    }

    /// Stages the end of a task, with what is kept of it.
    pub(crate) fn end_with(&mut self, run: RunId, status: Status, kept: segment::Entry) {
        self.entry_bytes += 32 + inline_len(&kept.result) + inline_len(&kept.log);
        let changes = self.run(run);
        let bytes = changes.end(kept.index, status);
        changes.usage.add(&kept.usage);
        changes.entries.push(kept);
        self.delta_bytes += bytes;
    }

    /// Stages an exception.
    pub(crate) fn except(&mut self, run: RunId, exception: Exception) {
        let frames: usize = exception.failure.backtrace.iter().map(String::len).sum();
        self.delta_bytes += 96 + exception.failure.message.len() + frames;
        self.run(run).exceptions.push(exception);
    }

    /// Stages a fenced grant.
    pub(crate) fn fence(&mut self, run: RunId, grant: Fenced) {
        self.delta_bytes += 48 + grant.node.as_str().len();
        self.run(run).fenced.insert(grant.index, grant);
    }

    /// Stages the end of a fenced grant of an open task.
    pub(crate) fn unfence(&mut self, run: RunId, index: u32) {
        self.delta_bytes += 8;
        let changes = self.run(run);
        // It was not sent, since it is not durable: it may stand in an earlier batch all the same.
        changes.fenced.remove(&index);
        changes.unfenced.insert(index);
    }

    /// Stages a job's state.
    pub(crate) fn put_state(&mut self, state: JobState) {
        self.charge(192);
        self.job_states.insert((state.namespace.clone(), state.job.clone()), state);
        self.urgent = true;
    }

    /// Stages a quota, or its removal.
    pub(crate) fn put_quota(&mut self, namespace: Namespace, quota: Option<Quota>) {
        self.charge(128);
        self.quotas.insert(namespace, quota);
    }

    /// Stages the node of a task of a system job.
    pub(crate) fn pin(&mut self, run: RunId, pin: Pin) {
        self.delta_bytes += 8 + pin.node.as_str().len();
        self.run(run).pins.push(pin);
        self.urgent = true;
    }

    /// Stages what is kept of the last attempt of a task that goes on.
    pub(crate) fn keep_in_line(&mut self, run: RunId, entry: segment::Entry) {
        self.delta_bytes += 32 + usize::try_from(entry.result.len().min(2048) + entry.log.len().min(2048)).unwrap_or(0);
        self.run(run).in_line.push(entry);
    }
}

/// How many bytes something captured takes in an entry.
fn inline_len(captured: &Captured) -> usize {
    match captured {
        Captured::Inline(bytes) => bytes.len(),
        Captured::Empty => 0,
        Captured::Blob(_) => 40,
    }
}
