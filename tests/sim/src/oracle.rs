//! The oracle: an independent reading of what the store was told.

use std::collections::BTreeMap;

use weir_scheduler::Loaded;
use weir_wire::{
    codec::Document,
    id::{Incarnation, NodeId, RunId, Seq, Term},
    key, limits,
    node::NodeRecord,
    record::{Block, Delta, RunDelta, RunMeta, SubmissionSegment},
    segment,
    task::Status,
    txn::Txn,
    work::{JobRecord, RunRecord},
};

use crate::property::{Check, Property, broken};

/// One run as the store was told.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: RunRecord,
    /// Terminal status by task; 0 while open.
    pub(crate) status: Vec<u8>,
    pub(crate) ended: u32,
    pub(crate) stopped: bool,
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
    pub(crate) jobs: BTreeMap<String, JobRecord>,
    pub(crate) keys: BTreeMap<String, Vec<RunId>>,
    /// Installation and incarnation of each registered node.
    nodes: BTreeMap<NodeId, (u64, Incarnation)>,
    /// Bytes written since the store was last read whole.
    unchecked: usize,
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
        if txn.puts.len() + txn.deletes.len() > limits::TXN_OPS_MAX || txn.len_bytes() > limits::TXN_BYTES_MAX {
            let (ops, bytes) = (txn.puts.len() + txn.deletes.len(), txn.len_bytes());
            return broken(Property::Limits, format!("a transaction of {ops} operations and {bytes} bytes"));
        }
        for (key, value) in &txn.puts {
            self.put(txn, key, value, objects)?;
        }
        Ok(())
    }

    fn put(&mut self, txn: &Txn, key: &str, value: &[u8], objects: &BTreeMap<String, Vec<u8>>) -> Check {
        let bad = |what: &str| broken(Property::Crash, format!("{what} under {key} does not decode"));
        if key.starts_with(key::JOBS) {
            let Ok(job) = JobRecord::from_bytes(value) else { return bad("a job") };
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
            let status = vec![0; record.count as usize];
            let known = Known { record, status, ended: 0, stopped: false };
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

    fn delta(&mut self, txn: &Txn, delta: &RunDelta, objects: &BTreeMap<String, Vec<u8>>) -> Check {
        let Some(known) = self.runs.get_mut(&delta.run) else {
            return broken(Property::Accepted, format!("a delta of unknown run {}", delta.run));
        };
        known.stopped |= delta.stop.is_some();
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
        if known.status.get(first..first + states.len()) != Some(&states[..]) || states.len() != stored.len as usize {
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
        let mut runs: BTreeMap<RunId, (Vec<u8>, bool)> = BTreeMap::new();
        for (seq, segment) in &loaded.submissions {
            for (item, record) in segment.runs.iter().enumerate() {
                let id = RunId::from_segment(*seq, u16::try_from(item).unwrap_or(u16::MAX));
                runs.insert(id, (vec![0; record.count as usize], false));
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
                status[at..at + *len as usize].fill(*code);
                at += *len as usize;
            }
        }
        for (_, delta) in &loaded.deltas {
            for change in &delta.runs {
                let Some((status, stopped)) = runs.get_mut(&change.run) else { continue };
                *stopped |= change.stop.is_some();
                for range in &change.ended {
                    status[range.first as usize..(range.first + range.len) as usize].fill(range.status as u8);
                }
            }
        }
        for (run, known) in &self.runs {
            if runs.get(run).map(|(status, stopped)| (status, *stopped)) != Some((&known.status, known.stopped)) {
                return broken(property, format!("run {run} cannot be rebuilt from the store"));
            }
        }
        if runs.len() != self.runs.len() || loaded.jobs.len() != self.jobs.len() {
            return broken(property, "the store holds other runs or jobs than it was told");
        }
        Ok(())
    }

    /// Whether a node is registered with this incarnation or a later one.
    pub(crate) fn is_registered(&self, node: &NodeId, installation: u64, incarnation: u64) -> bool {
        self.nodes.get(node).is_some_and(|known| known.0 == installation && known.1 >= Incarnation(incarnation))
    }

    /// The terminal status of a task.
    pub(crate) fn status(&self, run: RunId, index: u32) -> Option<Status> {
        self.runs.get(&run).and_then(|known| known.status.get(index as usize)).and_then(|code| Status::from_code(*code))
    }
}
