//! Where the CPU time goes, and what was stored.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rustix::time::{ClockId, clock_gettime};
use weir_scheduler::Output;
use weir_wire::{
    codec::Document,
    id::RunId,
    key,
    record::{Block, Delta},
    txn::Txn,
};

/// CPU time of one sort of work.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    spent: Duration,
    calls: u64,
}

impl Stopwatch {
    /// Counts what the thread spends in `work`.
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let result = work();
        self.spent += thread_time().saturating_sub(before);
        self.calls += 1;
        result
    }

    pub(super) const fn total(&self) -> Duration {
        self.spent
    }

    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// The books of a replay.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) core: Stopwatch,
    pub(crate) encode: Stopwatch,
    pub(crate) decode: Stopwatch,
    /// Messages and their bytes.
    pub(super) sent: (u64, u64),
    /// Transactions and the bytes of their values.
    pub(super) stored: (u64, u64),
    map: BTreeMap<String, Vec<u8>>,
}

impl Account {
    /// Takes the messages to executors out of `outputs` and encodes them.
    pub(crate) fn encode(&mut self, outputs: &mut Vec<Output>) -> Vec<(usize, Vec<u8>)> {
        let is_message = |output: &mut Output| matches!(output, Output::Send { .. });
        let messages: Vec<Output> = outputs.extract_if(.., is_message).collect();
        let mut encoded = Vec::with_capacity(messages.len());
        self.encode.measure(|| {
            for output in messages {
                if let Output::Send { session, message } = output {
                    encoded.push((session, message.to_bytes()));
                }
            }
        });
        self.sent.0 += encoded.len() as u64;
        self.sent.1 += encoded.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let number = |session: u64| usize::try_from(session).expect("sessions are numbered like machines");
        encoded.into_iter().map(|(session, bytes)| (number(session.0), bytes)).collect()
    }

    /// Keeps what a transaction stores.
    pub(crate) fn store(&mut self, txn: Txn, object: Option<(String, Vec<u8>)>) {
        self.stored.0 += 1;
        self.stored.1 += txn.len_bytes() as u64 + object.map_or(0, |(_, bytes)| bytes.len() as u64);
        self.map.extend(txn.puts);
        for range in &txn.deletes {
            let doomed: Vec<String> =
                self.map.range(range.start.clone()..range.end.clone()).map(|(key, _)| key.clone()).collect();
            doomed.iter().for_each(|key| {
                self.map.remove(key);
            });
        }
    }

    /// Counts the tasks with an outcome in what is stored.
    pub(super) fn recorded(&self) -> Result<u64, String> {
        let mut ended = BTreeMap::<RunId, BTreeSet<u32>>::new();
        for (key, value) in &self.map {
            if key.starts_with(key::LOG) {
                let delta = Delta::from_bytes(value).map_err(|error| format!("{key}: {error}"))?;
                for run in delta.runs {
                    let indices = run.ended.iter().flat_map(|range| range.first..range.first + range.len);
                    ended.entry(run.run).or_default().extend(indices);
                }
            } else if let Some(key::Checkpoint::Block(run, number)) = key::parse_checkpoint(key) {
                let block = Block::from_bytes(value).map_err(|error| format!("{key}: {error}"))?;
                let mut index = number * weir_wire::limits::BLOCK_LEN;
                for (len, code) in block.states {
                    if code != 0 {
                        ended.entry(run).or_default().extend(index..index + len);
                    }
                    index += len;
                }
            }
        }
        Ok(ended.values().map(|indices| indices.len() as u64).sum())
    }
}
