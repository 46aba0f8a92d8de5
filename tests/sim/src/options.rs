//! What a world is like: every option is drawn from the seed, so that each seed tests another corner (swarm testing).

use core::time::Duration;

use crate::rng::Rng;

/// A deliberate defect, to prove that the oracle sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The store applies transactions of any term.
    IgnoreTerm,
    /// The store applies transactions whatever the head is.
    IgnoreHead,
    /// The control plane acknowledges each report on arrival, before anything is committed.
    AckBeforeCommit,
    /// The control plane answers submissions before they are committed.
    ReplyBeforeCommit,
    /// Executors run what they are granted without asking whether it fits.
    IgnoreCapacity,
}

/// The options of one world.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything else follows from it.
    pub seed: u64,
    /// Machines.
    pub nodes: usize,
    /// Control replicas.
    pub replicas: usize,
    /// How long faults are injected and work is submitted.
    pub safety: Duration,
    /// How long everything may take to end once all faults are healed.
    pub liveness: Duration,
    /// Events after which the world counts as endlessly busy.
    pub events_max: u64,
    /// A defect to inject.
    pub sabotage: Option<Sabotage>,
    pub(crate) jobs: usize,
    pub(crate) submissions: usize,
    pub(crate) count_max: u32,
    pub(crate) stops: usize,
    pub(crate) faults: Faults,
    pub(crate) net: Net,
    pub(crate) store: Store,
    pub(crate) checkpoint_log_len: usize,
    pub(crate) outbox_len_max: usize,
    pub(crate) lanes_max: u32,
    /// Longest task, by order of magnitude.
    pub(crate) task_time_max: Duration,
    /// Outcomes large enough to be uploaded, per million.
    pub(crate) large: u64,
    /// Tasks that fail sometimes or always, per million.
    pub(crate) failing: u64,
}

/// How many faults of each kind happen in the safety phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) node_crashes: usize,
    pub(crate) node_freezes: usize,
    pub(crate) partitions: usize,
    pub(crate) control_crashes: usize,
    pub(crate) control_freezes: usize,
    /// The leader cannot reach the store for a while.
    pub(crate) store_cuts: usize,
    /// Two of these faults may fall together in time.
    pub(crate) recover_max: Duration,
}

/// The network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net {
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
    /// Messages that wait for retransmission, per million.
    pub(crate) spikes: u64,
    pub(crate) spike_max: Duration,
    /// Messages at which the connection breaks, per million.
    pub(crate) resets: u64,
    pub(crate) idle_timeout: Duration,
}

/// The store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Store {
    pub(crate) delay_max: Duration,
    /// Transactions whose result is unknown, per million.
    pub(crate) unknown: u64,
    /// How late a transaction of unknown result may still land.
    pub(crate) late_max: Duration,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Options {
    /// The options of a seed; `nodes` overrides their number.
    #[must_use]
    pub fn from_seed(seed: u64, nodes: Option<usize>) -> Self {
        let mut rng = Rng::new(seed, 1);
        let count = |rng: &mut Rng, max: u64| usize::try_from(rng.below(max + 1)).unwrap_or(0);
        // Half of all worlds lack each kind of fault, so that faults are also seen alone.
        let some = |rng: &mut Rng, max: u64| if rng.chance(500_000) { count(rng, max) } else { 0 };
        let drawn = 1 + count(&mut rng, 11);
        let nodes = nodes.unwrap_or(drawn);
        let scale = 1 + nodes as u64 / 8;
        let net = Net {
            delay_min: ms(0),
            delay_max: rng.duration(ms(1), ms(20)),
            spikes: *rng.pick(&[0, 1_000, 20_000]),
            spike_max: rng.duration(ms(50), ms(4000)),
            resets: *rng.pick(&[0, 0, 500, 5_000]),
            idle_timeout: ms(6000),
        };
        let store = Store {
            delay_max: rng.duration(ms(1), ms(40)),
            unknown: *rng.pick(&[0, 10_000, 100_000]),
            late_max: rng.duration(ms(10), ms(5000)),
        };
        let faults = Faults {
            node_crashes: some(&mut rng, 4 * scale),
            node_freezes: some(&mut rng, 3 * scale),
            partitions: some(&mut rng, 4 * scale),
            control_crashes: some(&mut rng, 4),
            control_freezes: some(&mut rng, 2),
            store_cuts: some(&mut rng, 2),
            recover_max: rng.duration(ms(500), ms(25_000)),
        };
        let task_time_max = *rng.pick(&[ms(2), ms(40), ms(400), ms(6000)]);
        // Long tasks come in small numbers: simulated time is cheap, but events are not.
        let counts: &[u32] = if task_time_max > ms(1000) { &[1, 8, 30] } else { &[1, 8, 60, 400] };
        let count_max = *rng.pick(counts);
        let submissions = 1 + count(&mut rng, 4 + 8 * scale);
        // One lane could do everything, each task four times, in this time.
        let work = task_time_max * count_max * 5 * 4;
        Self {
            seed,
            nodes,
            replicas: 1 + count(&mut rng, 2),
            safety: rng.duration(ms(5_000), ms(60_000)),
            liveness: ms(600_000) + work * u32::try_from(submissions).unwrap_or(u32::MAX),
            events_max: 2_000_000 + 100_000 * nodes as u64,
            sabotage: None,
            jobs: 1 + count(&mut rng, 5),
            submissions,
            count_max,
            stops: some(&mut rng, 5),
            faults,
            net,
            store,
            checkpoint_log_len: *rng.pick(&[2, 5, 20, 2000]),
            outbox_len_max: *rng.pick(&[1, 3, 100_000]),
            lanes_max: rng.range_u32(1, 24),
            task_time_max,
            large: *rng.pick(&[0, 0, 100_000, 1_000_000]),
            failing: *rng.pick(&[0, 50_000, 300_000]),
        }
    }
}
