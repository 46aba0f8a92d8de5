//! The model of the store: one map, one leader key, transactions exactly as [`weir_wire::txn::Txn`] promises.

use std::{collections::BTreeMap, rc::Rc};

use weir_scheduler::Loaded;
use weir_wire::{
    codec::{Document, Error},
    id::{Seq, Term},
    key,
    node::NodeRecord,
    record::{Block, Delta, JobState, Quota, RunMeta, SubmissionSegment},
    txn::{CommitResult, Txn},
    work::JobRecord,
};

use crate::{
    options::{Flip, Sabotage},
    trace::Trace,
};

/// A key and its value.
pub(crate) type Pair = (String, Rc<[u8]>);
/// All keys and values.
pub(crate) type Map = BTreeMap<String, Rc<[u8]>>;

/// What a term begins with, in the order in which the daemon reads it.
pub(crate) const PREFIXES: [&str; 7] =
    [key::JOBS, key::SUBMISSIONS, key::CHECKPOINTS, key::LOG, key::NODES, key::JOB_STATES, key::QUOTAS];

/// A leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) term: Term,
    pub(crate) replica: usize,
    /// The lease of the leader key.
    pub(crate) lease: u64,
    /// When it ends, nanoseconds.
    pub(crate) until: u64,
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) revision: u64,
    /// Revisions below it cannot be read.
    pub(crate) compacted: u64,
    /// The newest leadership; it may be over.
    pub(crate) newest: Option<Leader>,
    /// Whether the newest leader's key is there.
    pub(crate) led: bool,
    pub(crate) map: Map,
    /// The bytes of all values.
    pub(crate) bytes: usize,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) head: Seq,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) flip: Option<Flip>,
    /// Values written.
    pub(crate) written: u64,
}

impl Store {
    /// The term whose leader key is there.
    pub(crate) fn term(&self) -> Option<Term> {
        self.newest.filter(|_| self.led).map(|leader| leader.term)
    }

    /// Makes a replica the leader of a new term, unless somebody leads.
    pub(crate) fn elect(&mut self, replica: usize, lease: u64, until: u64, trace: &mut Trace) -> Option<Term> {
        if self.led {
            return None;
        }
        self.revision += 1;
        let term = Term(self.revision);
        self.newest = Some(Leader { term, replica, lease, until });
        self.led = true;
        for number in [term.0, replica as u64, lease, until] {
            trace.number(number);
        }
        Some(term)
    }

    /// Removes the leader key.
    pub(crate) const fn depose(&mut self, trace: &mut Trace) {
        self.revision += 1;
        self.led = false;
        trace.number(self.revision);
    }

    /// Carries out a transaction, or says why not; the second value tells whether it was carried out by this call.
    pub(crate) fn commit(&mut self, txn: &Txn, trace: &mut Trace) -> (CommitResult, bool) {
        if self.term() != Some(txn.term) && self.sabotage != Some(Sabotage::IgnoreTerm) {
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
            self.put(key, value, trace);
        }
        for range in &txn.deletes {
            let doomed: Vec<String> =
                self.map.range(range.start.clone()..range.end.clone()).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                trace.bytes(key.as_bytes());
                self.bytes -= self.map.remove(&key).map_or(0, |value| value.len());
            }
        }
        self.head = txn.seq;
        self.revision += 1;
        (CommitResult::Committed { revision: self.revision }, true)
    }

    fn put(&mut self, key: &str, value: &[u8], trace: &mut Trace) {
        self.written += 1;
        let mut value: Rc<[u8]> = value.into();
        if self.flip == Some(Flip::Stored(self.written)) {
            flip_last_bit(Rc::make_mut(&mut value));
        }
        trace.bytes(key.as_bytes());
        trace.bytes(&value);
        self.bytes += value.len();
        self.bytes -= self.map.insert(key.to_owned(), value).map_or(0, |value| value.len());
    }

    /// Keeps a result segment.
    pub(crate) fn keep_object(&mut self, name: String, mut bytes: Vec<u8>, trace: &mut Trace) {
        if self.flip == Some(Flip::Object(self.objects.len() as u64)) {
            flip_last_bit(&mut bytes);
        }
        trace.bytes(name.as_bytes());
        trace.bytes(&bytes);
        self.objects.insert(name, bytes);
    }

    /// What a new leader would read.
    pub(crate) fn load(&self) -> Result<Loaded, String> {
        let pairs = PREFIXES.into_iter().flat_map(|prefix| self.scan(prefix));
        assemble(self.head, pairs.map(|(key, value)| (key.as_str(), &value[..])))
    }

    fn scan(&self, prefix: &'static str) -> impl Iterator<Item = (&String, &Rc<[u8]>)> {
        self.map.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// Flips one bit of what a test wants to see noticed.
pub(crate) fn flip_last_bit(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

/// At most `limit` pairs of a prefix, beginning after a key.
pub(crate) fn page(map: &Map, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Pair> {
    let start = after.map_or_else(|| prefix.to_owned(), |key| format!("{key}\0"));
    let pairs = map.range(start..).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
    pairs.map(|(key, value)| (key.clone(), Rc::clone(value))).collect()
}

/// Decodes what was read.
pub(crate) fn assemble<'a>(head: Seq, pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Loaded, String> {
    let mut loaded = Loaded { head, ..Loaded::default() };
    for (name, value) in pairs {
        place(&mut loaded, name, value).map_err(|error| format!("the record {name} does not decode: {error}"))?;
    }
    Ok(loaded)
}

fn place(loaded: &mut Loaded, name: &str, value: &[u8]) -> Result<(), Error> {
    let number = || key::parse_seq(name).ok_or(Error::Invalid("key"));
    if name.starts_with(key::JOBS) {
        loaded.jobs.push(JobRecord::from_bytes(value)?);
    } else if name.starts_with(key::SUBMISSIONS) {
        loaded.submissions.push((number()?, SubmissionSegment::from_bytes(value)?));
    } else if name.starts_with(key::CHECKPOINTS) {
        match key::parse_checkpoint(name).ok_or(Error::Invalid("key"))? {
            key::Checkpoint::Block(run, block) => loaded.blocks.push((run, block, Block::from_bytes(value)?)),
            key::Checkpoint::Meta(run) => loaded.metas.push((run, RunMeta::from_bytes(value)?)),
        }
    } else if name.starts_with(key::LOG) {
        loaded.log_bytes += value.len();
        loaded.deltas.push((number()?, Delta::from_bytes(value)?));
    } else if name.starts_with(key::JOB_STATES) {
        loaded.job_states.push(JobState::from_bytes(value)?);
    } else if name.starts_with(key::QUOTAS) {
        loaded.quotas.push(Quota::from_bytes(value)?);
    } else {
        loaded.nodes.push(NodeRecord::from_bytes(value)?);
    }
    Ok(())
}
