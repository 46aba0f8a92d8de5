//! The oracle: an independent reading of what the store was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use weir_scheduler::Loaded;
use weir_wire::{
    codec::Document,
    id::{Incarnation, JobName, Namespace, NodeId, RunId, Seq, Term},
    key,
    kind::{Condition, Upstream},
    limits,
    node::NodeRecord,
    record::{Block, Delta, JobState, Quota, RunDelta, RunMeta, SubmissionSegment},
    segment,
    task::Status,
    txn::{KeyRange, Txn},
    work::{JobRecord, RunRecord},
};

use crate::{
    cron::Firings,
    property::{Check, Property, broken},
};

/// One run as the store was told.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: RunRecord,
    pub(crate) job: Rc<JobRecord>,
    /// Its place in the order of submission.
    pub(crate) number: usize,
    /// What it waits for, and how that has to end.
    pub(crate) after: Vec<(RunId, Condition)>,
    /// How many tasks of a service were last wanted, once that was recorded.
    desired: Option<u32>,
    /// What a service was scaled to.
    target: Option<u32>,
    /// Terminal status by task; 0 while open.
    pub(crate) status: Vec<u8>,
    pub(crate) ended: u32,
    pub(crate) stopped: bool,
    /// Its submission is deleted: nobody need know of it any more.
    pub(crate) forgotten: bool,
}

impl Known {
    /// Whether all tasks have ended; those of a long-running job do once it is stopped.
    pub(crate) fn is_over(&self) -> bool {
        if !self.job.kind.is_long_running() {
            return self.ended as usize == self.status.len();
        }
        // Tasks that are not wanted need not end; a leader that was elected since may not even know of them.
        let wanted = self.desired.map_or(self.status.len(), |desired| desired as usize);
        self.stopped && self.status.iter().take(wanted).all(|code| *code != 0)
    }

    /// How many tasks of a service are wanted.
    pub(crate) fn target(&self) -> u32 {
        self.target.unwrap_or(self.record.count)
    }

    /// Long-running jobs grow.
    fn grow(&mut self, count: u32) {
        self.status.resize(self.status.len().max(count as usize), 0);
    }

    /// Tasks that have not ended.
    pub(crate) fn open(&self) -> u64 {
        if self.is_over() { 0 } else { self.status.len() as u64 - u64::from(self.ended) }
    }
}

/// Where a copy of the store's content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// It was read in one moment.
    Store,
    /// A new leader read it page by page.
    Load,
}

/// The oracle's books.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    head: u64,
    term: Term,
    pub(crate) runs: BTreeMap<RunId, Known>,
    /// Runs that are not over.
    pub(crate) open: BTreeSet<RunId>,
    pub(crate) jobs: BTreeMap<String, Rc<JobRecord>>,
    /// The newest version of each job.
    pub(crate) newest: BTreeMap<(Namespace, JobName), Rc<JobRecord>>,
    pub(crate) firings: BTreeMap<(Namespace, JobName), Firings>,
    pub(crate) job_states: BTreeMap<String, JobState>,
    pub(crate) quotas: BTreeMap<String, Quota>,
    pub(crate) keys: BTreeMap<String, Vec<RunId>>,
    /// Installation and incarnation of each registered node.
    nodes: BTreeMap<NodeId, (u64, Incarnation)>,
    /// Bytes written since the store was last read whole.
    unchecked: usize,
    /// Bytes written since a rebuild was last compared with the leader.
    uncompared: usize,
}

impl Oracle {
    /// Reads a transaction that the store has just carried out.
    pub(crate) fn applied(&mut self, txn: &Txn, objects: &BTreeMap<String, Vec<u8>>) -> Check {
        if txn.term < self.term {
            return broken(Property::Term, format!("a transaction of term {} after one of {}", txn.term, self.term));
        }
        self.term = txn.term;
        if txn.seq.0 != self.head + 1 {
            return broken(Property::Term, format!("transaction {} after {}", txn.seq, self.head));
        }
        self.head = txn.seq.0;
        self.unchecked += txn.len_bytes();
        self.uncompared += txn.len_bytes();
        if txn.puts.len() + txn.deletes.len() > limits::TXN_OPS_MAX || txn.len_bytes() > limits::TXN_BYTES_MAX {
            let (ops, bytes) = (txn.puts.len() + txn.deletes.len(), txn.len_bytes());
            return broken(Property::Limits, format!("a transaction of {ops} operations and {bytes} bytes"));
        }
        for (key, value) in &txn.puts {
            self.put(txn, key, value, objects)?;
        }
        for range in &txn.deletes {
            self.quotas.retain(|key, _| !(range.start <= *key && *key < range.end));
            if range.start.starts_with(key::SUBMISSIONS) {
                self.forgotten(range)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, txn: &Txn, key: &str, value: &[u8], objects: &BTreeMap<String, Vec<u8>>) -> Check {
        let bad = |what: &str| broken(Property::Crash, format!("{what} under {key} does not decode"));
        if key.starts_with(key::JOBS) {
            let Ok(job) = JobRecord::from_bytes(value) else { return bad("a job") };
            let job = Rc::new(job);
            self.firings(&job.namespace, &job.job).changed();
            self.newest.insert((job.namespace.clone(), job.job.clone()), Rc::clone(&job));
            if self.jobs.insert(key.to_owned(), job).is_some() {
                return broken(Property::Accepted, format!("job version {key} was overwritten"));
            }
        } else if key.starts_with(key::NODES) {
            let Ok(node) = NodeRecord::from_bytes(value) else { return bad("a node") };
            let now = (node.installation, node.incarnation);
            let before = self.nodes.insert(node.node.clone(), now);
            if before.is_some_and(|before| before.0 == now.0 && before.1 > now.1) {
                return broken(Property::Term, format!("node {} fell back to an older incarnation", node.node));
            }
        } else if key.starts_with(key::JOB_STATES) {
            let Ok(state) = JobState::from_bytes(value) else { return bad("a job state") };
            if state.paused {
                self.firings(&state.namespace, &state.job).changed();
            }
            self.job_states.insert(key.to_owned(), state);
        } else if key.starts_with(key::QUOTAS) {
            let Ok(quota) = Quota::from_bytes(value) else { return bad("a quota") };
            self.quotas.insert(key.to_owned(), quota);
        } else if key.starts_with(key::SUBMISSIONS) {
            let Ok(segment) = SubmissionSegment::from_bytes(value) else { return bad("a submission") };
            self.submitted(txn.seq, segment)?;
        } else if key.starts_with(key::LOG) {
            let Ok(delta) = Delta::from_bytes(value) else { return bad("a delta") };
            for run in &delta.runs {
                self.delta(txn, run, objects)?;
            }
        } else {
            match key::parse_checkpoint(key) {
                Some(key::Checkpoint::Block(run, block)) => {
                    let Ok(stored) = Block::from_bytes(value) else { return bad("a block") };
                    self.block(txn.seq, run, block, &stored)?;
                }
                Some(key::Checkpoint::Meta(run)) => {
                    let Ok(meta) = RunMeta::from_bytes(value) else { return bad("a run checkpoint") };
                    self.meta(txn.seq, run, &meta)?;
                }
                None => return broken(Property::Crash, format!("an unknown key {key}")),
            }
        }
        Ok(())
    }

    fn submitted(&mut self, seq: Seq, segment: SubmissionSegment) -> Check {
        let id = |item: usize| RunId::from_segment(seq, u16::try_from(item).unwrap_or(u16::MAX));
        for (item, record) in segment.runs.into_iter().enumerate() {
            let Some(job) = self.jobs.get(&key::job(&record.namespace, &record.job, record.version)) else {
                return broken(Property::Accepted, format!("run {} is one of a job that is not stored", id(item)));
            };
            let job = Rc::clone(job);
            let count = if job.kind.is_long_running() { 0 } else { record.count };
            if let Some(instant) = record.scheduled_ms {
                let wall_ms = record.submitted_ms;
                self.firings(&record.namespace, &record.job).fire(&job, id(item), instant, wall_ms)?;
            }
            let resolved = |upstream| match upstream {
                Upstream::Run(run) => run,
                Upstream::Item(item) => id(item as usize),
            };
            let after = record.after.iter().map(|one| (resolved(one.upstream), one.condition)).collect();
            let number = self.runs.len();
            let status = vec![0; count as usize];
            let known = Known {
                record,
                job,
                number,
                after,
                desired: None,
                target: None,
                status,
                ended: 0,
                stopped: false,
                forgotten: false,
            };
            self.open.insert(id(item));
            if self.runs.insert(id(item), known).is_some() {
                return broken(Property::Once, format!("run {} was submitted twice", id(item)));
            }
        }
        for record in segment.keys {
            let runs = (record.first..record.first + record.count).map(|item| id(item as usize)).collect();
            if self.keys.insert(record.key.clone(), runs).is_some() {
                return broken(Property::Once, format!("key {} was used for two submissions", record.key));
            }
        }
        Ok(())
    }

    /// A submission was deleted: all of it has ended, and nothing that goes on needs it.
    fn forgotten(&mut self, range: &KeyRange) -> Check {
        let within = |seq: Seq| {
            let key = key::submission(seq);
            range.start <= key && key < range.end
        };
        let gone: Vec<RunId> = self.runs.keys().copied().filter(|run| within(run.segment())).collect();
        for run in &gone {
            let waits = |open: &&RunId| {
                self.runs.get(open).is_some_and(|open| open.after.iter().any(|(upstream, _)| upstream == run))
            };
            if self.open.contains(run) {
                return broken(Property::Accepted, format!("run {run} was forgotten while it is open"));
            }
            if let Some(open) = self.open.iter().find(waits) {
                return broken(Property::Accepted, format!("run {run} was forgotten although {open} comes after it"));
            }
        }
        for run in &gone {
            if let Some(known) = self.runs.get_mut(run) {
                known.forgotten = true;
            }
        }
        self.keys.retain(|_, runs| !runs.iter().any(|run| within(run.segment())));
        Ok(())
    }

    fn delta(&mut self, txn: &Txn, delta: &RunDelta, objects: &BTreeMap<String, Vec<u8>>) -> Check {
        let Some(known) = self.runs.get_mut(&delta.run) else {
            return broken(Property::Accepted, format!("a delta of unknown run {}", delta.run));
        };
        known.stopped |= delta.stop.is_some();
        known.target = delta.target.or(known.target);
        known.desired = delta.desired.or(known.desired);
        let pinned = delta.pins.iter().map(|pin| pin.index + 1);
        let ended = delta.ended.iter().map(|range| range.first + range.len);
        if known.job.kind.is_long_running() {
            let fenced = delta.fenced.iter().map(|grant| grant.index + 1);
            known.grow(pinned.chain(delta.desired).chain(ended).chain(fenced).max().unwrap_or(0));
        }
        for range in &delta.ended {
            for index in range.first..range.first + range.len {
                let Some(slot) = known.status.get_mut(index as usize) else {
                    return broken(Property::Once, format!("task {}.{index} does not exist", delta.run));
                };
                if *slot != 0 {
                    let message = format!("task {}.{index} ended as {slot} and again as {:?}", delta.run, range.status);
                    return broken(Property::Once, message);
                }
                *slot = range.status as u8;
                known.ended += 1;
            }
        }
        if known.is_over() {
            self.open.remove(&delta.run);
        }
        let name = segment::object_name(txn.seq, txn.term);
        if delta.in_segment && !objects.contains_key(&name) {
            return broken(Property::Accepted, format!("delta {} commits before its segment {name}", txn.seq));
        }
        Ok(())
    }

    fn block(&self, seq: Seq, run: RunId, block: u32, stored: &Block) -> Check {
        let Some(known) = self.runs.get(&run) else {
            return broken(Property::Accepted, format!("a block of unknown run {run}"));
        };
        if stored.applied.0 + 1 != seq.0 {
            return broken(Property::Accepted, format!("block {run}/{block} claims delta {}", stored.applied));
        }
        let states: Vec<u8> =
            stored.states.iter().flat_map(|(len, code)| std::iter::repeat_n(*code, *len as usize)).collect();
        let first = (block * limits::BLOCK_LEN) as usize;
        // A long-running job may have more tasks than were ever mentioned.
        let absent = if known.job.kind.is_long_running() { Some(&0) } else { None };
        let same = (first..).zip(&states).all(|(at, code)| known.status.get(at).or(absent) == Some(code));
        if !same || states.len() != stored.len as usize {
            return broken(Property::Accepted, format!("block {run}/{block} differs from the deltas"));
        }
        Ok(())
    }

    fn meta(&self, seq: Seq, run: RunId, meta: &RunMeta) -> Check {
        let Some(known) = self.runs.get(&run) else {
            return broken(Property::Accepted, format!("a checkpoint of unknown run {run}"));
        };
        if meta.applied.0 + 1 != seq.0 || meta.stop.is_some() != known.stopped {
            return broken(Property::Accepted, format!("the checkpoint of {run} differs from the deltas"));
        }
        Ok(())
    }

    /// Whether the store is to be read whole after a checkpoint: that costs about as much as it has bytes, and is done
    /// once a sixteenth of them were written since.
    pub(crate) const fn rebuild_is_due(&mut self, bytes: usize) -> bool {
        let due = self.unchecked * 16 >= bytes;
        if due {
            self.unchecked = 0;
        }
        due
    }

    /// Whether a rebuild is to be compared with the leader: that costs more, and is done once a quarter is new.
    pub(crate) const fn comparison_is_due(&mut self, bytes: usize) -> bool {
        let due = self.uncompared * 4 >= bytes && self.uncompared > 0;
        if due {
            self.uncompared = 0;
        }
        due
    }

    /// Compares what the store holds with what it was told over time.
    pub(crate) fn rebuilds(&self, loaded: &Result<Loaded, String>, checking: Checking) -> Check {
        let property = match checking {
            Checking::Store => Property::Accepted,
            Checking::Load => Property::View,
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(message) => return broken(property, message.as_str()),
        };
        let runs = self.rebuilt(loaded);
        let kept = || self.runs.iter().filter(|(_, known)| !known.forgotten);
        for (run, known) in kept() {
            // Which tasks a long-running job has may follow from its submission alone.
            let same = |(status, stopped): &(Vec<u8>, bool)| {
                let len =
                    if known.job.kind.is_long_running() { status.len().min(known.status.len()) } else { usize::MAX };
                let cut = |status: &[u8]| status[..len.min(status.len())].to_vec();
                cut(status) == cut(&known.status) && *stopped == known.stopped
            };
            if !runs.get(run).is_some_and(same) {
                return broken(property, format!("run {run} cannot be rebuilt from the store"));
            }
        }
        if runs.len() != kept().count() || loaded.jobs.len() != self.jobs.len() {
            return broken(property, "the store holds other runs or jobs than it was told");
        }
        let states =
            loaded.job_states.iter().map(|state| (key::job_state(&state.namespace, &state.job), state.clone()));
        let quotas = loaded.quotas.iter().map(|quota| (key::quota(&quota.namespace), quota.clone()));
        if states.collect::<BTreeMap<_, _>>() != self.job_states || quotas.collect::<BTreeMap<_, _>>() != self.quotas {
            return broken(property, "the store holds other states of jobs or quotas than it was told");
        }
        Ok(())
    }

    /// Statuses and stops of all runs, as the store has them.
    fn rebuilt(&self, loaded: &Loaded) -> BTreeMap<RunId, (Vec<u8>, bool)> {
        let mut runs: BTreeMap<RunId, (Vec<u8>, bool)> = BTreeMap::new();
        for (seq, segment) in &loaded.submissions {
            for (item, record) in segment.runs.iter().enumerate() {
                let id = RunId::from_segment(*seq, u16::try_from(item).unwrap_or(u16::MAX));
                let count = self.runs.get(&id).map_or(record.count as usize, |known| known.status.len());
                runs.insert(id, (vec![0; count], false));
            }
        }
        for (run, meta) in &loaded.metas {
            if let Some(state) = runs.get_mut(run) {
                state.1 = meta.stop.is_some();
            }
        }
        for (run, block, stored) in &loaded.blocks {
            let Some((status, _)) = runs.get_mut(run) else { continue };
            let mut at = (block * limits::BLOCK_LEN) as usize;
            for (len, code) in &stored.states {
                status.resize(status.len().max(at + *len as usize), 0);
                status[at..at + *len as usize].fill(*code);
                at += *len as usize;
            }
        }
        for (_, delta) in &loaded.deltas {
            for change in &delta.runs {
                let Some((status, stopped)) = runs.get_mut(&change.run) else { continue };
                *stopped |= change.stop.is_some();
                for range in &change.ended {
                    let end = (range.first + range.len) as usize;
                    status.resize(status.len().max(end), 0);
                    status[range.first as usize..end].fill(range.status as u8);
                }
            }
        }
        runs
    }

    /// Whether a node is registered with this incarnation or a later one.
    pub(crate) fn is_registered(&self, node: &NodeId, installation: u64, incarnation: u64) -> bool {
        self.nodes.get(node).is_some_and(|known| known.0 == installation && known.1 >= Incarnation(incarnation))
    }

    /// Whether what a run waits for has ended, and as it has to; none while it has not.
    pub(crate) fn dependencies_hold(&self, known: &Known) -> Option<bool> {
        let mut holds = true;
        for (upstream, condition) in &known.after {
            let upstream = self.runs.get(upstream).filter(|upstream| upstream.is_over())?;
            let well = upstream.status.iter().all(|code| *code == Status::Succeeded as u8);
            holds &= match condition {
                Condition::Success => well,
                Condition::Failure => !well,
                Condition::Any => true,
            };
        }
        Some(holds)
    }

    /// The terminal status of a task.
    pub(crate) fn status(&self, run: RunId, index: u32) -> Option<Status> {
        self.runs.get(&run).and_then(|known| known.status.get(index as usize)).and_then(|code| Status::from_code(*code))
    }
}
