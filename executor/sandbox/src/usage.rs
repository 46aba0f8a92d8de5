//! What attempts use while they run, as far as others count on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use weir_wire::{kind::Tier, units::MemBytes, work::WorkSpec};

/// What attempts that are not revocable use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Linear memories and tables at this moment.
    pub memory: MemBytes,
    /// CPU time since the sandbox was started.
    pub cpu: Duration,
}

/// The counters of one worker: nobody else writes them, so that they cost next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    memory: AtomicU64,
    cpu_ns: AtomicU64,
}

impl Counters {
    /// The counters that an attempt of this work is counted in.
    pub(crate) fn of(this: &Arc<Self>, work: &WorkSpec) -> Option<Arc<Self>> {
        (work.tier != Tier::Revocable).then(|| Arc::clone(this))
    }

    pub(crate) fn grew(&self, bytes: u64) {
        self.memory.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn shrank(&self, bytes: u64) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn ran(&self, time: Duration) {
        self.cpu_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sums the counters of all workers.
    pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Used {
        let (mut memory, mut cpu_ns) = (0u64, 0u64);
        for one in all {
            memory = memory.saturating_add(one.memory.load(Ordering::Relaxed));
            cpu_ns = cpu_ns.saturating_add(one.cpu_ns.load(Ordering::Relaxed));
        }
        Used { memory: MemBytes(memory), cpu: Duration::from_nanos(cpu_ns) }
    }
}

/// The CPU time of the calling thread so far. Costs a system call.
pub(crate) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
