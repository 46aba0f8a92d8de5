//! The clocks and random numbers of a deterministic attempt: the same at every attempt of a task, on every machine.
//!
//! Time passes by being looked at, a step at each reading, and by sleeping, which takes no real time. It is bounded by the
//! timeout as real time is: an attempt that sleeps beyond it has timed out.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use chacha20::{ChaCha12Rng, rand_core::SeedableRng};
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder, async_trait, p2::Pollable};
use weir_wire::work::WorkSpec;

use crate::limits::TIMEOUT_MAX;

/// What the wall clock says at the start: 2020-01-01T00:00:00Z, since the Unix epoch.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_577_836_800);
/// How far a reading moves the clocks: a guest that waits by looking at them gets on.
const STEP_NS: u64 = 1_000;

/// Both clocks of one attempt, nanoseconds since its start.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    now_ns: AtomicU64,
    /// The timeout.
    end_ns: u64,
    /// The guest sleeps beyond the timeout.
    over: AtomicBool,
    /// For what the guest waits in the poll that it is in, and how often.
    waiting: Mutex<BTreeMap<u64, usize>>,
}

impl VirtualClock {
    /// The clock of an attempt with this timeout.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let end = timeout.unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX);
        Self {
            now_ns: AtomicU64::new(0),
            end_ns: u64::try_from(end.as_nanos()).unwrap_or(u64::MAX),
            over: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    /// The time, which goes on by a step.
    pub(crate) fn read(&self) -> u64 {
        let next = self.now_ns.load(Ordering::Relaxed).saturating_add(STEP_NS);
        self.now_ns.store(next, Ordering::Relaxed);
        next
    }

    /// The time, which stands still.
    pub(crate) fn peek(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    /// When the attempt has timed out, on the wall clock.
    pub(crate) const fn end(&self) -> Duration {
        EPOCH.saturating_add(Duration::from_nanos(self.end_ns))
    }

    /// Whether the guest sleeps beyond the timeout, and so for ever.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Passes over the time until then, unless the timeout comes first, which the answer says.
    pub(crate) fn skip_to(&self, until_ns: u64) -> bool {
        if until_ns > self.end_ns {
            self.over.store(true, Ordering::Relaxed);
            return false;
        }
        self.now_ns.fetch_max(until_ns, Ordering::Relaxed);
        true
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sleep of a component.
#[derive(Debug)]
pub(crate) struct Sleep {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) until_ns: u64,
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if self.clock.peek() < self.until_ns {
            Waiting::new(&self.clock, self.until_ns).await;
        }
    }
}

/// One sleep in one poll. Whatever else is polled has its turn first; then time goes on to where the first sleep ends.
struct Waiting<'a> {
    clock: &'a VirtualClock,
    until_ns: u64,
    others_had_their_turn: bool,
}

impl<'a> Waiting<'a> {
    fn new(clock: &'a VirtualClock, until_ns: u64) -> Self {
        *clock.waiting().entry(until_ns).or_default() += 1;
        Self { clock, until_ns, others_had_their_turn: false }
    }
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let first = self.clock.waiting().keys().next().copied();
        let mine = self.others_had_their_turn && first == Some(self.until_ns);
        if self.clock.peek() >= self.until_ns || (mine && self.clock.skip_to(self.until_ns)) {
            return Poll::Ready(());
        }
        // Beyond the timeout nobody is to poll again: the attempt is ended.
        if !self.clock.is_over() {
            self.others_had_their_turn = true;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.clock.waiting();
        if let Some(count) = waiting.get_mut(&self.until_ns) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.until_ns);
            }
        }
    }
}

/// The monotonic clock, or the wall clock.
struct Reading(Arc<VirtualClock>);

impl HostMonotonicClock for Reading {
    fn resolution(&self) -> u64 {
        STEP_NS
    }

    fn now(&self) -> u64 {
        self.0.read()
    }
}

impl HostWallClock for Reading {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP_NS)
    }

    fn now(&self) -> Duration {
        EPOCH.saturating_add(Duration::from_nanos(self.0.read()))
    }
}

/// Gives a guest its clocks and random numbers. These follow from the name of the job and the index of the task.
pub(crate) fn add_to(builder: &mut WasiCtxBuilder, clock: &Arc<VirtualClock>, work: &WorkSpec, index: u32) {
    builder.wall_clock(Reading(Arc::clone(clock))).monotonic_clock(Reading(Arc::clone(clock)));
    let random = |what| ChaCha12Rng::from_seed(seed(what, work, index));
    let fixed = seed("insecure seed", work, index);
    let (number, _) = fixed.split_first_chunk::<16>().expect("a seed has 32 bytes");
    builder
        .secure_random(random("random"))
        .insecure_random(random("insecure random"))
        .insecure_random_seed(u128::from_le_bytes(*number));
}

fn seed(what: &str, work: &WorkSpec, index: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["weir deterministic", what, work.job.as_str()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(index.to_le_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(waiting: &mut Waiting<'_>) -> bool {
        Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_first_sleep_of_a_poll_ends_and_moves_the_clock() {
        let clock = VirtualClock::new(Some(Duration::from_secs(1)));
        let (mut late, mut early) = (Waiting::new(&clock, 900), Waiting::new(&clock, 300));
        assert!(!poll(&mut late) && !poll(&mut early), "others have their turn first");
        assert!(!poll(&mut late) && poll(&mut early));
        assert_eq!(clock.peek(), 300);
        drop(early);
        assert!(poll(&mut late));
        assert_eq!((clock.peek(), clock.read()), (900, 900 + STEP_NS));
    }

    #[test]
    fn nothing_sleeps_beyond_the_timeout() {
        let clock = VirtualClock::new(Some(Duration::from_secs(1)));
        let mut waiting = Waiting::new(&clock, 2_000_000_000);
        assert!(!poll(&mut waiting) && !clock.is_over());
        assert!(!poll(&mut waiting) && clock.is_over());
        assert_eq!(clock.peek(), 0);
    }
}
