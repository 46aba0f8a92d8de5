//! Where the CPU time goes, and what was stored.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rustix::time::{ClockId, clock_gettime};
use weir_scheduler::{Input, Output, Scheduler, SessionId};
use weir_wire::{
    codec::Document,
    id::RunId,
    key,
    message::ToControl,
    record::{Block, Delta},
    txn::Txn,
    units::Now,
};

use crate::whatif::said;

/// Inputs between two looks at the clock.
const TOLD_AT_A_TIME: usize = 32;

/// CPU time of one sort of work.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    spent: Duration,
}

impl Stopwatch {
    /// Counts what the thread spends in `work`.
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let result = work();
        self.spent += thread_time().saturating_sub(before);
        result
    }

    pub(super) const fn total(&self) -> Duration {
        self.spent
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// One thing that a scheduler was told.
#[derive(Debug)]
pub(crate) enum Heard {
    /// By its own process.
    Input(Input),
    /// By an executor, encoded.
    Message(SessionId, Vec<u8>),
}

impl Heard {
    fn decoded(self) -> Input {
        match self {
            Self::Input(input) => input,
            Self::Message(session, bytes) => said(session, ToControl::from_bytes(&bytes).expect("it was decoded once")),
        }
    }
}

/// All that a scheduler was told, and when.
pub(crate) type Record = Vec<(Now, Heard)>;

/// The books of a replay.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(super) core: Stopwatch,
    pub(super) encode: Stopwatch,
    pub(super) decode: Stopwatch,
    /// Messages of executors.
    pub(super) received: u64,
    /// Messages and their bytes.
    pub(super) sent: (u64, u64),
    /// Transactions and the bytes of their values.
    pub(super) stored: (u64, u64),
    map: BTreeMap<String, Vec<u8>>,
}

impl Account {
    /// Tells a scheduler what is on record, alone: some at a time, as reading the clock costs something too.
    pub(super) fn replay(&mut self, mut scheduler: Scheduler, record: Record) {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let mut record = record.into_iter().peekable();
        while record.peek().is_some() {
            let heard: Vec<(Now, Heard)> = record.by_ref().take(TOLD_AT_A_TIME).collect();
            self.received += heard.iter().filter(|(_, heard)| matches!(heard, Heard::Message(..))).count() as u64;
            self.decode.measure(|| inputs.extend(heard.into_iter().map(|(now, heard)| (now, heard.decoded()))));
            self.core.measure(|| {
                for (now, input) in inputs.drain(..) {
                    scheduler.handle(now, input);
                    while let Some(output) = scheduler.poll_output() {
                        outputs.push(output);
                    }
                }
            });
            self.carry_out(&mut outputs);
        }
    }

    fn carry_out(&mut self, outputs: &mut Vec<Output>) {
        let mut bytes = Vec::new();
        self.encode.measure(|| {
            for output in &*outputs {
                if let Output::Send { message, .. } = output {
                    bytes.push(message.to_bytes());
                }
            }
        });
        self.sent.0 += bytes.len() as u64;
        self.sent.1 += bytes.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        for output in outputs.drain(..) {
            if let Output::Commit { txn, object } = output {
                self.store(*txn, object);
            }
        }
    }

    /// Keeps what a transaction stores.
    fn store(&mut self, txn: Txn, object: Option<(String, Vec<u8>)>) {
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
