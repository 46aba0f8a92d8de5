//! Checkpoints: state blocks take the place of the log that led to them.

use alloc::{string::String, vec::Vec};

use weir_wire::{
    codec::Document,
    exceptions::ExceptionTable,
    id::{RunId, Seq},
    key, limits,
    record::{Block, RunMeta},
    txn::{KeyRange, Txn},
};

use crate::{
    batch::Batch,
    config::Config,
    phase::Phase,
    run::Run,
    runs::Runs,
    scheduler::{InFlight, Leading, Scheduler},
};

/// The state of checkpointing.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    /// Deltas in the log.
    pub(crate) log_len: usize,
    /// Their bytes.
    pub(crate) log_bytes: usize,
    /// The last transaction was one of a checkpoint.
    pub(crate) had_turn: bool,
    /// The checkpoint being written.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    /// All deltas through this one are in the blocks when the queue is empty.
    through: Seq,
    /// Deltas in the log when it began, to be taken off when it ends.
    log_len: usize,
    log_bytes: usize,
    /// What is still to be written.
    queue: Vec<Item>,
    /// The transaction in flight is the one that deletes the log.
    deleting: bool,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Block(RunId, u32),
    Meta(RunId),
}

impl Checkpoint {
    /// A delta was added to the log.
    pub(crate) const fn grew(&mut self, bytes: usize) {
        if bytes > 0 {
            self.log_len += 1;
            self.log_bytes += bytes;
        }
    }

    /// Whether a checkpoint is being written, or should be.
    pub(crate) fn is_due(&self, config: &Config) -> bool {
        self.running.is_some()
            || self.log_len >= config.checkpoint_log_len
            || self.log_bytes >= config.checkpoint_log_bytes
    }

    /// A transaction of the running checkpoint is durable.
    pub(crate) fn committed(&mut self, _seq: Seq) {
        if let Some(done) = self.running.take_if(|running| running.deleting) {
            self.log_len -= done.log_len;
            self.log_bytes -= done.log_bytes;
        }
    }

    fn begin(&mut self, head: Seq, runs: &mut Runs) {
        let mut queue = Vec::new();
        runs.for_each(|run| {
            run.checkpointed |= run.meta_dirty || !run.dirty_blocks.is_empty();
            queue.extend(core::mem::take(&mut run.dirty_blocks).into_iter().map(|block| Item::Block(run.id, block)));
            if core::mem::take(&mut run.meta_dirty) {
                queue.push(Item::Meta(run.id));
            }
        });
        let (log_len, log_bytes) = (self.log_len, self.log_bytes);
        self.running = Some(Running { through: head, log_len, log_bytes, queue, deleting: false });
    }
}

impl Leading {
    /// The next transaction of a checkpoint, if one is running or due.
    pub(crate) fn next_checkpoint_txn(&mut self, config: &Config) -> Option<InFlight> {
        let checkpoint = &mut self.checkpoint;
        if checkpoint.running.is_none() && checkpoint.is_due(config) {
            checkpoint.begin(self.head, &mut self.runs);
        }
        let running = checkpoint.running.as_mut()?;
        let mut txn = Txn { term: self.term, seq: Seq(self.head.0 + 1), puts: Vec::new(), deletes: Vec::new() };
        let mut bytes = 0;
        while let Some(item) = running.queue.last() {
            // A run may have been forgotten since.
            let Some((key, value)) = encode(*item, &self.runs, self.head) else {
                running.queue.pop();
                continue;
            };
            bytes += key.len() + value.len();
            if !txn.puts.is_empty() && (bytes > limits::TXN_BYTES_MAX / 2 || txn.puts.len() + 2 > limits::TXN_OPS_MAX) {
                break;
            }
            txn.puts.push((key, value));
            running.queue.pop();
        }
        if running.queue.is_empty() {
            running.deleting = true;
            let end = key::log(Seq(running.through.0 + 1));
            txn.deletes.push(KeyRange { start: key::log(Seq(0)), end });
        }
        Some(InFlight { txn, object: None, batch: Batch::default(), checkpoint: true })
    }
}

impl Scheduler {
    /// What a checkpoint of a run would hold now; none of an unknown run, or if this replica does not lead.
    ///
    /// A leader that has nothing to commit and one that reads the store anew agree on it, but for tasks of long-running
    /// jobs that nothing is recorded of and exceptions of failures that do not count.
    #[must_use]
    pub fn recorded(&self, run: RunId) -> Option<(RunMeta, Vec<Block>)> {
        let leading = self.leading.as_deref()?;
        let run = leading.runs.get(&run)?;
        let blocks = (0..run.count().div_ceil(limits::BLOCK_LEN)).map(|block| block_of(run, block, leading.head));
        Some((meta_of(run, leading.head), blocks.collect()))
    }
}

fn encode(item: Item, runs: &Runs, applied: Seq) -> Option<(String, Vec<u8>)> {
    let (Item::Block(id, _) | Item::Meta(id)) = item;
    let run = runs.get(&id)?;
    Some(match item {
        Item::Block(id, block) => (key::block(id, block), block_of(run, block, applied).to_bytes()),
        Item::Meta(id) => (key::run_meta(id), meta_of(run, applied).to_bytes()),
    })
}

/// The recorded state of a run besides its blocks.
fn meta_of(run: &Run, applied: Seq) -> RunMeta {
    RunMeta {
        applied,
        usage: run.usage,
        stop: run.stop.filter(|_| run.stop_recorded),
        ended_ms: run.ended_ms,
        segments: run.segments.clone(),
        desired: run.long.as_ref().and_then(|long| long.desired_recorded),
        target: run.long.as_ref().and_then(|long| long.target_recorded),
        pins: run.long.as_ref().map(|long| long.pin_records()).unwrap_or_default(),
    }
}

/// The recorded state of a block; staged outcomes are open in it, since their deltas come later in the log.
fn block_of(run: &Run, block: u32, applied: Seq) -> Block {
    let first = block * limits::BLOCK_LEN;
    let end = (first + limits::BLOCK_LEN).min(run.count());
    let mut states: Vec<(u32, u8)> = Vec::new();
    for index in first..end {
        let code = match run.phase(index) {
            Phase::Recorded(status) => status as u8,
            Phase::Pending
            | Phase::Backoff
            | Phase::Granted
            | Phase::Running
            | Phase::Stopping
            | Phase::Unknown
            | Phase::Dormant
            | Phase::Staged(_) => 0,
        };
        match states.last_mut() {
            Some(last) if last.1 == code => last.0 += 1,
            Some(_) | None => states.push((1, code)),
        }
    }
    Block {
        applied,
        len: end - first,
        states,
        exceptions: ExceptionTable::pack(run.exceptions.range(first..end).map(|(_, exception)| exception)),
        inline: run.inline.range(first..end).map(|(_, entry)| entry.clone()).collect(),
        fenced: run.fenced.stored(first..end),
    }
}
