//! The simulator's randomness: everything is drawn from the seed, from one stream per purpose, so that dropping one
//! thing from a world leaves the draws of most others as they were.

use core::time::Duration;

/// A stream of pseudo-random numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The nature of a task, by run and index.
    Nature,
    /// What an attempt does.
    Attempt,
    /// A job of the workload.
    Job,
    /// A submission.
    Submission,
    /// A stop.
    Stop,
    /// A fault, by kind and number.
    Fault,
    /// A machine: its size and clock.
    Node,
    /// A replica: its clock.
    Replica,
    /// What happens on a machine.
    NodeEvents,
    /// Election and load of a replica.
    Office,
    /// One session.
    Session,
    /// The way to the store and back.
    Store,
    /// The users.
    Users,
    /// What an operator does.
    Operation,
    /// Namespace, tier and kind of a job.
    Standing,
    /// A change of a quota.
    Quota,
    /// A change of a job.
    Change,
    /// How long the control daemon's answers take.
    Daemon,
    /// What an attempt really uses.
    Use,
}

/// Spreads a number over 64 bits.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of a seed for one thing of a purpose.
    pub(crate) const fn new(seed: u64, purpose: Purpose, which: u64) -> Self {
        Self { state: mix(mix(seed ^ mix(purpose as u64)) ^ mix(which)) }
    }

    /// The stream of a seed for the option of this name: a further option changes none of the others.
    pub(crate) const fn named(seed: u64, name: &str) -> Self {
        let (bytes, mut at, mut hash) = (name.as_bytes(), 0, 0x6f70_7469_6f6e);
        while at < bytes.len() {
            hash = mix(hash ^ bytes[at] as u64);
            at += 1;
        }
        Self { state: mix(seed ^ hash) }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// An index of a list of this length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) const fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn range_u32(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.range(u64::from(low), u64::from(high))).unwrap_or(high)
    }

    /// True in `per_million` of a million cases.
    pub(crate) const fn chance(&mut self, per_million: u64) -> bool {
        per_million > 0 && self.below(1_000_000) < per_million
    }

    pub(crate) fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_micros(), high.as_micros());
        let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
        Duration::from_micros(self.range(low, high.max(low)))
    }

    /// One element of a list.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }
}
