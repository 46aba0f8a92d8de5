//! Every maximum of the sandbox itself, and the limiter of an attempt's memories and tables.

use std::{sync::Arc, time::Duration};

use wasmtime::ResourceLimiter;

use crate::usage::Counters;

/// Fuel between two points at which a guest can be paused or ended.
///
/// One constant for the whole cluster, since charges on traps round up to it. Measured: at 10⁶ the pauses cost nothing,
/// at 10⁴ they cost 18 %.
pub const FUEL_SLICE: u64 = 1_000_000;
/// Longest turn of a worker between two looks at its timers and its mailbox; a slice may come on top.
pub(crate) const TURN_TIME_MAX: Duration = Duration::from_millis(1);
/// Most attempts that a worker starts or ends in one turn, and so most of them in one batch of events.
pub(crate) const TURN_ATTEMPTS_MAX: usize = 64;
/// Threads of one worker for blocking file operations, which cannot be aborted once begun.
pub(crate) const BLOCKING_THREADS_MAX: usize = 4;
/// Native stack of Wasm code.
pub(crate) const WASM_STACK_BYTES: usize = 1 << 20;
/// Native stack of a fibre: Wasm code and the host functions below it.
pub(crate) const FIBRE_STACK_BYTES: usize = 2 << 20;
/// Elements of one table; large real modules need more than the 20,000 that are usual.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 200_000;
/// Tables of one core instance.
pub(crate) const TABLES_PER_MODULE_MAX: u32 = 4;
/// Memories of one attempt; a component may hold more than one core instance.
pub(crate) const MEMORIES_PER_ATTEMPT_MAX: u32 = 2;
/// Tables of one attempt.
pub(crate) const TABLES_PER_ATTEMPT_MAX: u32 = 8;
/// Core instances of one attempt.
pub(crate) const INSTANCES_PER_ATTEMPT_MAX: u32 = 64;
/// Bytes of a memory that stay resident in a free slot; measured: seven times cheaper for a module that dirties 16 pages.
pub(crate) const MEMORY_KEEP_RESIDENT_BYTES: usize = 128 << 10;
/// Bytes of a table that stay resident in a free slot.
pub(crate) const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Address space that one memory slot reserves: 4 GiB and a guard.
pub(crate) const MEMORY_RESERVATION_BYTES: u64 = (4 << 30) + (32 << 20);
/// Address space that one lane reserves.
pub(crate) const LANE_ADDRESS_BYTES: u64 = MEMORY_RESERVATION_BYTES * MEMORIES_PER_ATTEMPT_MAX as u64;
/// Groups of worker processes for namespaces that are kept apart; as many again may be about to end.
pub(crate) const APART_GROUPS_MAX: usize = 32;
/// How long a group of worker processes is kept that has no attempt.
pub(crate) const GROUP_IDLE_MAX: Duration = Duration::from_secs(60);
/// Address space for all memory slots of a process: half of what x86-64 gives a process.
pub(crate) const ADDRESS_SPACE_MAX: u64 = 1 << 46;
/// Bytes that one host call may allocate on behalf of a guest: the largest result and its framing.
pub(crate) const HOSTCALL_BYTES_MAX: usize = (64 << 20) + (1 << 20);
/// Open handles (files, streams, timers) of one attempt.
pub(crate) const HANDLES_MAX: usize = 256;
/// Sockets of one attempt.
pub(crate) const SOCKETS_MAX: usize = 32;
/// What is asked for each of the two buffers of a socket; the kernel gives twice as much, for its own bookkeeping.
pub(crate) const SOCKET_BUFFER_BYTES_MAX: u64 = 128 << 10;
/// Resource handles inside a component.
pub(crate) const COMPONENT_HANDLES_MAX: usize = 4096;
/// Bytes of one random request.
pub(crate) const RANDOM_BYTES_MAX: u64 = 4 << 20;
/// Modules that stay loaded although no defined run names them.
pub(crate) const IDLE_MODULES_MAX: usize = 256;
/// Refusals that are remembered.
pub(crate) const REFUSALS_MAX: usize = 4096;
/// Fuel for each page that `memory.grow` asks for: a page costs about as much as this many instructions to clear.
pub(crate) const GROW_FUEL_PER_PAGE: u8 = 255;
/// Longest wall-clock timeout that is told from none: a year.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Polls shorter than this are charged by the wall clock.
pub(crate) const SHORT_POLL: Duration = Duration::from_micros(50);
/// Shortest time between two progress events of an attempt.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of one record of a log; more output makes more records.
pub(crate) const LOG_RECORD_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(LOG_RECORD_BYTES_MAX < weir_wire::limits::FRAME_LEN_MAX, "a longer byte string does not decode");
const _: () = assert!(WASM_STACK_BYTES * 2 <= FIBRE_STACK_BYTES, "host functions need their half of the stack");
const _: () = assert!(HOSTCALL_BYTES_MAX as u64 > weir_wire::limits::OUTPUT_MAX);

/// Bytes of one table element.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// What a guest asked for and did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Growth of a memory or table beyond what all of them may take.
    Memory,
    /// Growth of a table beyond what one may have.
    Table,
}

/// Sums all memories and tables of one attempt against its limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    bytes: u64,
    bytes_max: u64,
    peak: u64,
    /// The last refusal.
    pub(crate) denied: Option<Denied>,
    /// Where the sum is counted, if others count on it.
    counters: Option<Arc<Counters>>,
}

impl Limiter {
    pub(crate) const fn new(bytes_max: u64, counters: Option<Arc<Counters>>) -> Self {
        Self { bytes: 0, bytes_max, peak: 0, denied: None, counters }
    }

    /// The sum at this moment.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The highest sum so far.
    pub(crate) const fn peak(&self) -> u64 {
        self.peak
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>) -> bool {
        let sum = self.bytes.saturating_sub(current).saturating_add(desired);
        if sum > self.bytes_max {
            self.denied = Some(Denied::Memory);
            return false;
        }
        // A maximum that the module itself declares is no limit of ours.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        if let Some(counters) = &self.counters {
            counters.grew(sum.saturating_sub(self.bytes));
        }
        self.bytes = sum;
        self.peak = self.peak.max(sum);
        true
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if let Some(counters) = &self.counters {
            counters.shrank(self.bytes);
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let maximum = maximum.map(|bytes| bytes as u64);
        Ok(self.grow(current as u64, desired as u64, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.denied = Some(Denied::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        if desired > TABLE_ELEMENTS_MAX {
            self.denied = Some(Denied::Table);
            return Ok(false);
        }
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.denied = Some(Denied::Table);
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_PER_ATTEMPT_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_ATTEMPT_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_ATTEMPT_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = Limiter::new(3 << 16, None);
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.table_growing(0, 8192, None).unwrap());
        assert!(!limiter.table_growing(8192, 8193, None).unwrap());
        assert_eq!(limiter.denied, Some(Denied::Memory), "it is the sum that is too large");
        assert!(!limiter.table_growing(0, 200_001, None).unwrap());
        assert_eq!(limiter.denied, Some(Denied::Table));
        assert!(!limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(limiter.denied, Some(Denied::Memory));
        assert_eq!(limiter.peak(), 3 << 16);
    }

    #[test]
    fn what_is_used_is_counted_until_the_end() {
        let counters = Arc::<Counters>::default();
        let used = || Counters::sum([&*counters].into_iter()).memory.0;
        let mut limiter = Limiter::new(3 << 16, Some(Arc::clone(&counters)));
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.memory_growing(1 << 16, 3 << 16, None).unwrap());
        assert!(!limiter.memory_growing(3 << 16, 4 << 16, None).unwrap());
        assert_eq!(used(), 3 << 16);
        drop(limiter);
        assert_eq!(used(), 0);
    }

    #[test]
    fn growth_beyond_the_declared_maximum_does_not_count() {
        let mut limiter = Limiter::new(1 << 30, None);
        assert!(!limiter.memory_growing(0, 2 << 16, Some(1 << 16)).unwrap());
        assert_eq!((limiter.peak(), limiter.denied), (0, None));
    }
}
