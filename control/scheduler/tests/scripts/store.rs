//! A store that does what it is told.

use std::collections::BTreeMap;

use weir_scheduler::Loaded;
use weir_wire::{
    codec::Document,
    id::Seq,
    key,
    node::NodeRecord,
    record::{Block, Delta, JobState, Quota, RunMeta, SubmissionSegment},
    txn::Txn,
    work::JobRecord,
};

/// Keys and values.
#[derive(Debug, Default)]
pub(crate) struct Store {
    map: BTreeMap<String, Vec<u8>>,
    head: Seq,
}

fn read<T: Document>(value: &[u8]) -> T {
    T::from_bytes(value).expect("the scheduler wrote it")
}

impl Store {
    pub(crate) fn apply(&mut self, txn: &Txn) {
        assert_eq!(txn.seq.0, self.head.0 + 1, "transactions come in order");
        self.map.extend(txn.puts.iter().cloned());
        for range in &txn.deletes {
            self.map.retain(|key, _| *key < range.start || *key >= range.end);
        }
        self.head = txn.seq;
    }

    pub(crate) const fn head(&self) -> Seq {
        self.head
    }

    pub(crate) fn load(&self) -> Loaded {
        let mut loaded = Loaded { head: self.head, ..Loaded::default() };
        for (name, value) in &self.map {
            let seq = key::parse_seq(name).unwrap_or_default();
            match name.split('/').next().unwrap_or_default() {
                "job" => loaded.jobs.push(read::<JobRecord>(value)),
                "node" => loaded.nodes.push(read::<NodeRecord>(value)),
                "sub" => loaded.submissions.push((seq, read::<SubmissionSegment>(value))),
                "log" => {
                    loaded.log_bytes += value.len();
                    loaded.deltas.push((seq, read::<Delta>(value)));
                }
                "jobstate" => loaded.job_states.push(read::<JobState>(value)),
                "quota" => loaded.quotas.push(read::<Quota>(value)),
                "ckpt" => match key::parse_checkpoint(name) {
                    Some(key::Checkpoint::Block(run, block)) => {
                        loaded.blocks.push((run, block, read::<Block>(value)));
                    }
                    Some(key::Checkpoint::Meta(run)) => loaded.metas.push((run, read::<RunMeta>(value))),
                    None => panic!("an unknown key {name}"),
                },
                _ => panic!("an unknown key {name}"),
            }
        }
        loaded
    }
}
