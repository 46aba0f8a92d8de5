//! Whether a leader that reads the store knows all that the present one has recorded.

use std::mem::take;

use weir_scheduler::{Input, Scheduler};
use weir_wire::{
    exceptions::ExceptionTable,
    id::{Seq, Term},
    record::{Block, RunMeta},
    task::Status,
};

use crate::{
    property::{Check, Property, broken},
    world::World,
};

/// The recorded part of a run, without what two leaders need not agree on.
#[derive(Debug, PartialEq)]
struct Recorded {
    meta: RunMeta,
    statuses: Vec<u8>,
    exceptions: Vec<(u32, u32, Option<Status>)>,
    blocks: Vec<Block>,
}

impl Recorded {
    fn new(long_running: bool, (mut meta, mut blocks): (RunMeta, Vec<Block>)) -> (Self, Vec<(u32, u32)>) {
        meta.applied = Seq(0);
        // The log has no bounds of a segment's entries, but those of all tasks that ended with it.
        let bounds = meta.segments.iter_mut().map(|segment| (take(&mut segment.first), take(&mut segment.last)));
        let bounds = bounds.collect();
        // A log entry has the time at which it was written, and its leader that at which it was durable.
        // Neither are tasks of a service counted that the store has never heard of.
        meta.ended_ms = meta.ended_ms.filter(|_| !long_running).map(|_| 0);
        let states = blocks.iter().flat_map(|block| &block.states);
        let mut statuses: Vec<u8> = states.flat_map(|(len, code)| std::iter::repeat_n(*code, *len as usize)).collect();
        // Which tasks a long-running job has may follow from its submission alone.
        statuses.truncate(statuses.iter().rposition(|code| *code != 0).map_or(0, |last| last + 1));
        // That a service has run well for a while clears its failures, and is not recorded.
        let exceptions = blocks.iter().flat_map(|block| block.exceptions.iter());
        let counted =
            exceptions.filter(|exception| exception.failures > 0 && !long_running || exception.status.is_some());
        let exceptions = counted.map(|exception| (exception.index, exception.failures, exception.status)).collect();
        for block in &mut blocks {
            *block = Block {
                applied: Seq(0),
                len: 0,
                states: Vec::new(),
                exceptions: ExceptionTable::default(),
                inline: take(&mut block.inline),
                fenced: take(&mut block.fenced),
            };
        }
        blocks.retain(|block| !block.inline.is_empty() || !block.fenced.is_empty());
        (Self { meta, statuses, exceptions, blocks }, bounds)
    }
}

impl World {
    /// Compares what the leader has recorded with what a new one would read, unless something is under way.
    pub(crate) fn check_rebuild(&self) -> Check {
        let Some(leader) = self.store.newest.filter(|_| self.store.led) else { return Ok(()) };
        let replica = &self.replicas[leader.replica];
        let leads = |scheduler: &&Scheduler| scheduler.term() == Some(leader.term);
        let Some(scheduler) = replica.scheduler.as_ref().filter(leads) else { return Ok(()) };
        if replica.committing || scheduler.stats().batches_waiting > 0 {
            return Ok(());
        }
        let loaded = match self.store.load() {
            Ok(loaded) => Box::new(loaded),
            Err(message) => return broken(Property::View, message),
        };
        let mut next = Scheduler::new(self.config(), 0);
        let term = Term(leader.term.0 + 1);
        next.handle(replica.clock.now(self.now), Input::Elected { term, loaded });
        for (run, known) in self.oracle.runs.iter().filter(|(_, known)| !known.forgotten) {
            let recorded = |recorded| Recorded::new(known.job.kind.is_long_running(), recorded);
            let (has, has_bounds) = scheduler.recorded(*run).map(recorded).unzip();
            let (reads, reads_bounds) = next.recorded(*run).map(recorded).unzip();
            let mut bounds = has_bounds.iter().flatten().zip(reads_bounds.iter().flatten());
            if has != reads || bounds.any(|(has, reads)| has.0 < reads.0 || has.1 > reads.1) {
                return broken(Property::View, format!("of {run}, {}", difference(&has, &reads)));
            }
        }
        Ok(())
    }
}

/// The first line in which two leaders differ.
fn difference(has: &Option<Recorded>, reads: &Option<Recorded>) -> String {
    let (has, reads) = (format!("{has:#?}"), format!("{reads:#?}"));
    let mut lines = has.lines().zip(reads.lines()).skip_while(|(has, reads)| has == reads);
    let (has, reads) = lines.next().unwrap_or((&has, &reads));
    format!("the leader has recorded {}, and a new one reads {}", has.trim(), reads.trim())
}
