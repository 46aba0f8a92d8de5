//! The commit pipeline: batches become transactions, one at a time, and take effect when they are durable.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};

use weir_wire::{
    codec::Document,
    ended::EndedRanges,
    exceptions::ExceptionTable,
    id::{RunId, Seq, Term},
    key,
    message::{Ack, ToExecutor},
    record::{Delta, IdempotencyRecord, RunDelta, SegmentRef, SubmissionSegment},
    segment,
    task::Status,
    txn::{CommitResult, Txn},
    units::{Instant, Now},
    work::RunRecord,
};

use crate::{
    batch::{Batch, PendingSubmission, RunChanges},
    limits,
    output::{Output, Reply},
    phase::Phase,
    run::Run,
    scheduler::{InFlight, KeyState, Leading, Scheduler},
};

/// How long to wait before an unknown commit is submitted again.
const COMMIT_RETRY: core::time::Duration = core::time::Duration::from_millis(200);

impl Leading {
    /// The batch that takes the next change.
    pub(crate) fn open_batch(&mut self) -> &mut Batch {
        if self.batches.back().is_none_or(Batch::is_full) {
            return self.new_batch();
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// Closes the open batch, and gives the next one.
    pub(crate) fn new_batch(&mut self) -> &mut Batch {
        self.next_batch += 1;
        self.batches.push_back(Batch::new(self.next_batch));
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// When the first batch is to leave; `None` if nothing waits or something is in flight.
    pub(crate) fn batch_deadline(&self) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let batch = self.batches.front().filter(|batch| !batch.is_empty())?;
        let hold = self.last_batch_busy && !batch.urgent && !batch.is_full() && self.batches.len() == 1;
        if !hold {
            return Some(Instant(0));
        }
        // What a transaction costs beside its outcomes is shared by more of them.
        let is_thin = batch.outcomes < limits::THIN_BATCH_OUTCOMES;
        Some(if is_thin { self.thin_window } else { self.next_window })
    }

    /// Turns the oldest batch into a transaction.
    fn build(&mut self, wall_ms: u64) -> Option<InFlight> {
        let mut batch = self.batches.pop_front()?;
        let seq = Seq(self.head.0 + 1);
        let mut puts = Vec::new();
        for job in &batch.jobs {
            puts.push((key::job(&job.namespace, &job.job, job.version), job.to_bytes()));
        }
        let mut deletes = Vec::new();
        for (node, record) in &batch.nodes {
            match record {
                Some(record) => puts.push((key::node(node), record.to_bytes())),
                None => deletes.push(key::only(key::node(node))),
            }
        }
        if !batch.submitted.is_empty() {
            puts.push((key::submission(seq), submission_segment(&batch).to_bytes()));
        }
        for state in batch.job_states.values() {
            puts.push((key::job_state(&state.namespace, &state.job), state.to_bytes()));
        }
        for (namespace, quota) in &batch.quotas {
            match quota {
                Some(quota) => puts.push((key::quota(namespace), quota.to_bytes())),
                None => deletes.push(key::only(key::quota(namespace))),
            }
        }
        deletes.extend(batch.forgotten.iter().map(|seq| key::only(key::submission(*seq))));
        deletes.extend(batch.left_over.iter().map(|run| key::checkpoint(*run)));
        let mut object = None;
        if !batch.runs.is_empty() {
            let in_segment = self.wants_segment(&batch);
            let mut builder = segment::Builder::default();
            if in_segment {
                for (run, changes) in &batch.runs {
                    changes.entries.iter().for_each(|entry| builder.push(*run, entry));
                }
            }
            let runs = batch.runs.iter_mut().map(|(run, changes)| delta_of(*run, changes, in_segment)).collect();
            puts.push((key::log(seq), Delta { term: self.term, wall_ms, runs }.to_bytes()));
            object = (!builder.is_empty()).then(|| (segment::object_name(seq, self.term), builder.finish()));
        }
        let txn = Txn { term: self.term, seq, puts, deletes };
        assert!(txn.len_bytes() < weir_wire::limits::TXN_BYTES_MAX, "a batch outgrew the transaction limit");
        Some(InFlight { txn, object, batch, checkpoint: false })
    }

    /// Whether results go into a segment object: when they are many, or when one of the runs has many already.
    fn wants_segment(&self, batch: &Batch) -> bool {
        let crowded = |(run, changes): (&RunId, &RunChanges)| {
            !changes.entries.is_empty()
                && self
                    .runs
                    .get(run)
                    .is_some_and(|run| run.inline.len() + changes.entries.len() > limits::INLINE_RESULTS_PER_RUN_MAX)
        };
        batch.entry_bytes > limits::INLINE_RESULTS_BYTES_MAX || batch.runs.iter().any(crowded)
    }
}

fn submission_segment(batch: &Batch) -> SubmissionSegment {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let keys = batch.submissions.iter().filter_map(|submission| {
        let PendingSubmission { key, fingerprint, first, count, .. } = submission;
        let (first, count) = (number(*first), number(*count));
        key.clone().map(|key| IdempotencyRecord { key, fingerprint: *fingerprint, first, count })
    });
    SubmissionSegment { runs: batch.submitted.clone(), keys: keys.collect() }
}

fn delta_of(run: RunId, changes: &mut RunChanges, in_segment: bool) -> RunDelta {
    RunDelta {
        run,
        ended: EndedRanges::pack(changes.ended.clone()),
        exceptions: ExceptionTable::pack(changes.exceptions.iter()),
        usage: changes.usage,
        stop: changes.stop,
        inline: if in_segment {
            changes.in_line.clone()
        } else {
            changes.entries.iter().chain(&changes.in_line).cloned().collect()
        },
        in_segment: in_segment && !changes.entries.is_empty(),
        desired: changes.desired,
        target: changes.target,
        pins: changes.pins.clone(),
        fenced: changes.fenced.values().cloned().collect(),
        unfenced: changes.unfenced.iter().copied().collect(),
    }
}

impl Scheduler {
    /// Hands out the next transaction if none is in flight and it is time.
    pub(crate) fn flush(&mut self) {
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if leading.commit_retry_at.is_some_and(|at| at <= now.mono) {
            leading.commit_retry_at = None;
            self.submit();
            return;
        }
        if leading.in_flight.is_some() {
            return;
        }
        // Under load there is always a batch: a checkpoint that is due takes turns with them, or the log grows for ever.
        let turn = leading.checkpoint.is_due(&self.config) && !leading.checkpoint.had_turn;
        if !turn && leading.batch_deadline().is_some_and(|at| at <= now.mono) {
            leading.in_flight = leading.build(now.wall_ms);
        } else if turn || leading.batches.front().is_none_or(Batch::is_empty) {
            leading.in_flight = leading.next_checkpoint_txn(&self.config);
        }
        if leading.in_flight.is_some() {
            leading.next_window = now.mono + self.config.batch_window;
            leading.thin_window = leading.next_window + self.config.batch_window;
            self.submit();
        }
    }

    /// Emits the transaction in flight: the first time, or identically again.
    fn submit(&mut self) {
        let Some(in_flight) = self.leading.as_ref().and_then(|leading| leading.in_flight.as_ref()) else {
            return;
        };
        let (txn, object) = (Box::new(in_flight.txn.clone()), in_flight.object.clone());
        self.outputs.push_back(Output::Commit { txn, object });
    }

    pub(crate) fn commit_done(&mut self, seq: Seq, result: CommitResult) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if leading.in_flight.as_ref().is_none_or(|in_flight| in_flight.txn.seq != seq) {
            return;
        }
        match result {
            CommitResult::Committed { revision } => self.committed(revision),
            CommitResult::Deposed => self.deposed(),
            CommitResult::Gap { head } => {
                tracing::error!(
                    head = head.0,
                    seq = seq.0,
                    "the store's head is behind what this leader has committed"
                );
                self.deposed();
            }
            CommitResult::Unknown => leading.commit_retry_at = Some(self.now.mono + COMMIT_RETRY),
        }
    }

    fn committed(&mut self, revision: u64) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(InFlight { txn, mut batch, checkpoint, object }) = leading.in_flight.take() else {
            return;
        };
        leading.commit_retry_at = None;
        leading.head = txn.seq;
        leading.revision = leading.revision.max(revision);
        leading.commits += 1;
        leading.checkpoint.had_turn = checkpoint;
        if checkpoint {
            leading.checkpoint.committed(txn.seq);
            return;
        }
        leading.last_batch_busy = batch.outcomes >= limits::BUSY_BATCH_OUTCOMES;
        let log_bytes = txn.puts.iter().find(|(key, _)| key.starts_with(key::LOG)).map_or(0, |(_, value)| value.len());
        leading.checkpoint.grew(log_bytes);
        let segment = object.map(|_| (txn.seq, txn.term));
        let wall_ms = self.now.wall_ms;
        for job in core::mem::take(&mut batch.jobs) {
            leading.job_committed(job);
        }
        for (node, record) in core::mem::take(&mut batch.nodes) {
            self.node_committed(&node, record);
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        for (_, state) in core::mem::take(&mut batch.job_states) {
            leading.state_committed(state);
        }
        for (namespace, quota) in core::mem::take(&mut batch.quotas) {
            leading.quota_committed(namespace, quota);
        }
        leading.forgotten_committed(&batch, self.now.mono);
        leading.release(core::mem::take(&mut batch.reserved));
        let (mut ended, mut fenced) = (Vec::new(), Vec::new());
        for (run, changes) in core::mem::take(&mut batch.runs) {
            fenced.extend(changes.fenced.values().map(|grant| (run, grant.clone())));
            if leading.run_committed(run, changes, segment, wall_ms) {
                ended.push(run);
            }
        }
        for run in ended {
            self.run_ended(run);
        }
        for (run, grant) in &fenced {
            self.send_fenced(*run, grant);
        }
        self.submissions_committed(&mut batch, txn.seq);
        for (id, reply) in core::mem::take(&mut batch.replies) {
            self.outputs.push_back(Output::Reply { id, result: Ok(reply) });
        }
        for session in core::mem::take(&mut batch.welcomes) {
            self.welcome(session, txn.term);
        }
        self.acknowledge_batch(batch.id);
        self.changed();
    }

    fn submissions_committed(&mut self, batch: &mut Batch, seq: Seq) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let start = Start { restored: false, now: self.now };
        for (item, record) in core::mem::take(&mut batch.submitted).into_iter().enumerate() {
            leading.start_run(seq, item, record, start);
        }
        let keys = batch.submissions.iter().filter_map(|submission| submission.key.clone());
        leading.retention.submitted(seq, keys);
        for submission in core::mem::take(&mut batch.submissions) {
            let items = submission.first..submission.first + submission.count;
            let runs: Vec<RunId> = items.map(|item| run_id(seq, item)).collect();
            let mut waiting = Vec::new();
            if let Some(key) = submission.key {
                let state = KeyState::Committed { fingerprint: submission.fingerprint, runs: runs.clone() };
                if let Some(KeyState::Pending { waiting: others, .. }) = leading.keys.insert(key, state) {
                    waiting = others;
                }
            }
            let reply = |runs: Vec<RunId>, repeated| Ok(Reply::Runs { runs, repeated });
            for id in waiting {
                self.outputs.push_back(Output::Reply { id, result: reply(runs.clone(), true) });
            }
            if let Some(id) = submission.id {
                self.outputs.push_back(Output::Reply { id, result: reply(runs, false) });
            }
        }
    }

    /// Sends the acknowledgements that waited for a batch.
    fn acknowledge_batch(&mut self, batch: u64) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let mut acks = Vec::new();
        let nodes = &mut leading.nodes;
        leading.owed.retain(|slot| {
            let node = nodes.get_mut(*slot);
            let mut through = None;
            while node.acks.front().is_some_and(|(needed, _)| *needed <= batch) {
                through = node.acks.pop_front().map(|(_, through)| through);
            }
            if let (Some(through), Some(session)) = (through, node.session) {
                acks.push((session, through));
            }
            !node.acks.is_empty()
        });
        for (session, through) in acks {
            self.send(session, ToExecutor::Ack(Ack { through }));
        }
    }

    fn run_ended(&mut self, id: RunId) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.dequeue(id);
        leading.leave_class(id);
        leading.unindex_run(id);
        leading.upstream_ended(id);
        leading.retain_ended(id, self.now, &self.config);
        let Some(run) = leading.runs.get_mut(&id) else { return };
        tracing::debug!(run.id = %id, state = run.state().as_str(), tasks = run.count(), "run ended");
        let mut forget = VecDeque::new();
        for slot in run.end_definitions().into_slots() {
            leading.told_run_ended(slot);
            forget.extend(leading.nodes.get(slot).session);
        }
        for session in forget {
            self.send(session, ToExecutor::Forget(id));
        }
    }
}

/// How a run comes into being.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// It was read from the store by a new leader.
    pub(crate) restored: bool,
    /// When.
    pub(crate) now: Now,
}

/// The id of an item of a submission segment.
pub(crate) fn run_id(seq: Seq, item: usize) -> RunId {
    let item = u16::try_from(item).expect("segments are bounded");
    RunId::from_segment(seq, item)
}

impl Leading {
    /// A run exists from here on.
    pub(crate) fn start_run(&mut self, seq: Seq, item: usize, mut record: RunRecord, start: Start) -> Option<RunId> {
        let id = run_id(seq, item);
        Self::resolve_upstreams(&mut record, seq);
        let versions = self.jobs.get(&(record.namespace.clone(), record.job.clone()))?;
        let job = versions.iter().find(|job| job.version == record.version).map(Arc::clone)?;
        let (class, site) = self.class_of(id, &job);
        self.next_position += 1;
        let position = self.next_position;
        self.open_runs += 1;
        let mut run = Run::new(id, record, job, class, site, position);
        run.restored = start.restored;
        self.open_tasks += u64::from(run.count());
        if let Some(at) = run.start_deadline(start.now) {
            self.start_deadlines.insert((at, id));
        }
        self.order.insert(position, id);
        self.runs.insert(run);
        self.index_run(id);
        self.note_wanted(id);
        self.retain_started(id);
        self.watch_upstreams(id);
        if !start.restored {
            self.charge_run(id);
        }
        self.requeue(id);
        Some(id)
    }

    /// Applies the durable changes of a run; true when its last task has ended with them.
    fn run_committed(&mut self, id: RunId, changes: RunChanges, segment: Option<(Seq, Term)>, wall_ms: u64) -> bool {
        let Some(run) = self.runs.get_mut(&id) else {
            return false;
        };
        let open_before = run.open();
        let was_over = run.is_over();
        for range in &changes.ended {
            for index in range.first..range.first + range.len {
                run.record(index, range.status);
            }
        }
        for index in changes.unfenced {
            run.touch(index);
            run.fenced.unstore(index);
        }
        for (index, grant) in changes.fenced {
            run.touch(index);
            run.fenced.store(grant);
        }
        for exception in changes.exceptions {
            run.except(exception);
        }
        run.keep_entries(changes.entries, segment);
        run.keep_entries(changes.in_line, None);
        run.usage.merge(&changes.usage);
        run.stop_recorded |= changes.stop.is_some();
        run.meta_dirty = true;
        self.open_tasks -= u64::from(open_before - run.open());
        if let Some(reason) = changes.stop {
            self.stop_messages(id, None, reason);
            self.long_changed(id);
        }
        self.desired_committed(id, changes.desired, changes.target);
        self.pins_committed(id, changes.pins);
        self.charge_run(id);
        // Tasks that were added with the stop of their run have yet to end.
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.is_over() && !was_over) else { return false };
        run.ended_ms = Some(wall_ms);
        self.open_runs -= 1;
        self.forget_wanted(id);
        true
    }
}

impl Run {
    /// Keeps what is known of ended tasks, or where it is.
    pub(crate) fn keep_entries(&mut self, entries: Vec<segment::Entry>, segment: Option<(Seq, Term)>) {
        if let Some((seq, term)) = segment {
            let indices = || entries.iter().map(|entry| entry.index);
            if let (Some(first), Some(last)) = (indices().min(), indices().max()) {
                self.add_segment(SegmentRef { seq, term, first, last });
            }
            return;
        }
        for entry in entries {
            self.touch(entry.index);
            self.inline.insert(entry.index, entry);
        }
    }

    /// Applies a stored delta while loading: the same steps, from recorded bytes.
    pub(crate) fn replay(&mut self, status: Status, first: u32, len: u32) {
        for index in first..first.saturating_add(len).min(self.count()) {
            if !matches!(self.phase(index), Phase::Recorded(_)) {
                self.record(index, status);
            }
        }
    }
}
