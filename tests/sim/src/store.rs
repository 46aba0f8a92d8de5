//! The model of the store: one map, one leader key, transactions exactly as [`weir_wire::txn::Txn`] promises.

use std::collections::BTreeMap;

use weir_scheduler::Loaded;
use weir_wire::{
    codec::Document,
    id::{Seq, Term},
    key,
    record::{Block, Delta, RunMeta, SubmissionSegment},
    txn::{CommitResult, Txn},
    work::JobRecord,
};

use crate::options::Sabotage;

/// The leadership that the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) term: Term,
    pub(crate) replica: usize,
    /// The start of that replica.
    pub(crate) epoch: u64,
    /// When its lease ends, nanoseconds.
    pub(crate) until: u64,
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) revision: u64,
    pub(crate) leader: Option<Leader>,
    pub(crate) map: BTreeMap<String, Vec<u8>>,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) head: Seq,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Store {
    /// Makes a replica the leader of a new term.
    pub(crate) const fn elect(&mut self, replica: usize, epoch: u64, until: u64) -> Term {
        self.revision += 1;
        let term = Term(self.revision);
        self.leader = Some(Leader { term, replica, epoch, until });
        term
    }

    /// Carries out a transaction, or says why not; the second value tells whether it was carried out by this call.
    pub(crate) fn commit(&mut self, txn: &Txn) -> (CommitResult, bool) {
        let in_term = self.leader.is_some_and(|leader| leader.term == txn.term);
        if !in_term && self.sabotage != Some(Sabotage::IgnoreTerm) {
            return (CommitResult::Deposed, false);
        }
        if self.sabotage != Some(Sabotage::IgnoreHead) {
            if self.head >= txn.seq {
                return (CommitResult::Committed { revision: self.revision }, false);
            }
            if self.head.0 + 1 != txn.seq.0 {
                return (CommitResult::Gap { head: self.head }, false);
            }
        }
        for (key, value) in &txn.puts {
            self.map.insert(key.clone(), value.clone());
        }
        for range in &txn.deletes {
            let doomed: Vec<String> =
                self.map.range(range.start.clone()..range.end.clone()).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                self.map.remove(&key);
            }
        }
        self.head = txn.seq;
        self.revision += 1;
        (CommitResult::Committed { revision: self.revision }, true)
    }

    /// All values under a prefix.
    fn scan(&self, prefix: &'static str) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.map.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// What a new leader reads.
    pub(crate) fn load(&self) -> Loaded {
        let mut loaded = Loaded { head: self.head, ..Loaded::default() };
        for (_, value) in self.scan(key::JOBS) {
            loaded.jobs.push(JobRecord::from_bytes(value).expect("a stored job decodes"));
        }
        for (name, value) in self.scan(key::SUBMISSIONS) {
            let seq = key::parse_seq(name).expect("a submission key has a number");
            loaded.submissions.push((seq, SubmissionSegment::from_bytes(value).expect("a stored submission decodes")));
        }
        for (name, value) in self.scan(key::CHECKPOINTS) {
            match key::parse_checkpoint(name).expect("a checkpoint key parses") {
                key::Checkpoint::Block(run, block) => {
                    loaded.blocks.push((run, block, Block::from_bytes(value).expect("a stored block decodes")));
                }
                key::Checkpoint::Meta(run) => {
                    loaded.metas.push((run, RunMeta::from_bytes(value).expect("a stored run checkpoint decodes")));
                }
            }
        }
        for (name, value) in self.scan(key::LOG) {
            let seq = key::parse_seq(name).expect("a log key has a number");
            loaded.log_bytes += value.len();
            loaded.deltas.push((seq, Delta::from_bytes(value).expect("a stored delta decodes")));
        }
        for (_, value) in self.scan(key::NODES) {
            loaded.nodes.push(weir_wire::node::NodeRecord::from_bytes(value).expect("a stored node decodes"));
        }
        for (_, value) in self.scan(key::JOB_STATES) {
            loaded.job_states.push(weir_wire::record::JobState::from_bytes(value).expect("a stored state decodes"));
        }
        for (_, value) in self.scan(key::QUOTAS) {
            loaded.quotas.push(weir_wire::record::Quota::from_bytes(value).expect("a stored quota decodes"));
        }
        loaded
    }
}
