//! Outcomes that the control plane has not recorded for ever.

use alloc::{collections::VecDeque, vec::Vec};

use weir_wire::{
    id::RunId,
    message::OutcomeGroup,
    outcome::{Captured, Outcome},
};

use crate::range::RangeKey;

/// A queue of outcomes. They get their numbers when they are first sent, so that those of one grant can travel together.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The number of the first of `numbered`.
    first: u64,
    numbered: VecDeque<Entry>,
    /// How many of `numbered` were sent in this session.
    sent: usize,
    fresh: Vec<Entry>,
    bytes: usize,
    /// Of `fresh`, and what of `numbered` is to be sent again.
    unsent_bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    key: RangeKey,
    run: RunId,
    index: u32,
    bytes: usize,
    outcome: Outcome,
}

/// The part of a report that the outbox fills.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) first: u64,
    pub(crate) groups: Vec<OutcomeGroup>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { first: 1, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbered.len() + self.fresh.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the first unacknowledged outcome.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The number after the last outcome, once [`Outbox::rewind`] has given all of them one.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.numbered.len() as u64
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.numbered.len() || !self.fresh.is_empty()
    }

    /// Whether numbered outcomes wait: those to be sent again, or the rest of a batch too large for one report.
    pub(crate) fn has_numbered_unsent(&self) -> bool {
        self.sent < self.numbered.len()
    }

    /// Whether something was sent in this session and is not acknowledged.
    pub(crate) const fn in_flight(&self) -> bool {
        self.sent > 0
    }

    pub(crate) const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    pub(crate) fn push(&mut self, key: RangeKey, run: RunId, index: u32, outcome: Outcome) {
        let bytes = size(&outcome);
        self.bytes += bytes;
        self.unsent_bytes += bytes;
        self.fresh.push(Entry { key, run, index, bytes, outcome });
    }

    /// Counts everything as unsent, with a number each; returns how many were sent before.
    pub(crate) fn rewind(&mut self) -> usize {
        let again = core::mem::take(&mut self.sent);
        self.number();
        self.unsent_bytes = self.bytes;
        again
    }

    /// Takes the next outcomes to send, up to about `bytes_max` and at least one.
    pub(crate) fn next_batch(&mut self, bytes_max: usize) -> Batch {
        if self.sent == self.numbered.len() {
            self.number();
        }
        let first = self.first + self.sent as u64;
        let (mut groups, mut bytes) = (Vec::<OutcomeGroup>::new(), 0);
        for entry in self.numbered.range(self.sent..) {
            if bytes > 0 && bytes + entry.bytes > bytes_max {
                break;
            }
            bytes += entry.bytes;
            self.sent += 1;
            let outcome = (entry.index, entry.outcome.clone());
            let (term, grant) = entry.key;
            match groups.last_mut() {
                Some(group) if (group.term, group.grant, group.run) == (term, grant, entry.run) => {
                    group.outcomes.push(outcome);
                }
                _ => groups.push(OutcomeGroup { run: entry.run, term, grant, outcomes: [outcome].into() }),
            }
        }
        self.unsent_bytes -= bytes;
        Batch { first, groups }
    }

    /// Drops what is durable. False when `through` lies beyond what was ever sent.
    pub(crate) fn ack(&mut self, through: u64) -> bool {
        if through < self.first {
            return true;
        }
        let count = through - self.first + 1;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= self.numbered.len()) else {
            return false;
        };
        for (place, entry) in self.numbered.drain(..count).enumerate() {
            self.bytes -= entry.bytes;
            // Recorded, although this session has not come to send it again.
            if place >= self.sent {
                self.unsent_bytes -= entry.bytes;
            }
        }
        self.sent = self.sent.saturating_sub(count);
        self.first = through + 1;
        true
    }

    fn number(&mut self) {
        // Stable, so that the tasks of a grant keep their order.
        self.fresh.sort_by_key(|entry| entry.key);
        self.numbered.extend(self.fresh.drain(..));
    }
}

/// An upper estimate of an outcome's size in a report.
fn size(outcome: &Outcome) -> usize {
    const FIXED: usize = 96;
    let captured = |captured: &Captured| match captured {
        Captured::Inline(bytes) => bytes.len(),
        Captured::Empty | Captured::Blob(_) => 48,
    };
    let failure = outcome.failure.as_ref().map_or(0, |failure| {
        let frames: usize = failure.backtrace.iter().map(|frame| frame.len() + 4).sum();
        failure.message.len() + frames + 16
    });
    FIXED + captured(&outcome.result) + captured(&outcome.log) + failure
}
