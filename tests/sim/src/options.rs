//! What a world is like: every option is drawn from the seed, so that each seed tests another corner (swarm testing).

mod text;

use core::time::Duration;
use std::collections::BTreeSet;

use crate::{
    faults::{FAULTS, Fault},
    rng::Rng,
    world::LASTING_LANES,
};

pub use text::Error as TextError;

/// A deliberate defect of a model, to prove that the oracle sees it. Defects of the code are those of
/// `cargo xtask mutate`.
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

/// One thing that is done a little differently, to prove that the hash sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flip {
    /// One bit of this delivered frame.
    Frame(u64),
    /// This frame takes a nanosecond longer.
    Delay(u64),
    /// One bit of this value as the store keeps it.
    Stored(u64),
    /// One bit of this result segment as the blob store keeps it.
    Object(u64),
}

/// The options of one world.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// A deviation to inject.
    pub flip: Option<Flip>,
    /// Names of wishes and faults that are left out, such as `submission-3` or `node-crash-1`.
    pub dropped: BTreeSet<String>,
    pub(crate) work: Work,
    pub(crate) faults: Faults,
    pub(crate) net: Net,
    pub(crate) store: Store,
    pub(crate) checkpoint_log_len: usize,
    /// How many ended runs are kept, how long, and how long in any case.
    pub(crate) keep_ended_max: usize,
    pub(crate) keep_ended_for: Duration,
    pub(crate) keep_ended_min: Duration,
    pub(crate) outbox_len_max: usize,
    pub(crate) lanes_max: u32,
    /// How long production waits for room before it has others make some, and how long these may still go on.
    pub(crate) preempt_delay: Duration,
    pub(crate) preempt_grace: Duration,
}

/// What users ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) jobs: usize,
    pub(crate) submissions: usize,
    pub(crate) stops: usize,
    /// Most tasks of a run.
    pub(crate) count_max: u32,
    /// Longest task, by order of magnitude.
    pub(crate) task_time_max: Duration,
    /// Outcomes large enough to be uploaded, per million.
    pub(crate) large: u64,
    /// Tasks that fail sometimes or always, per million.
    pub(crate) failing: u64,
    /// Tasks that spin until their time is over, per million.
    pub(crate) spinning: u64,
    /// Attempts that take longer than a silent node is waited for, per million.
    pub(crate) long: u64,
    /// Jobs whose attempts are fenced, and those that execute at most once, per million.
    pub(crate) fenced: u64,
    pub(crate) once: u64,
    /// What operators do to nodes.
    pub(crate) operations: usize,
    /// Namespaces that jobs are in.
    pub(crate) namespaces: usize,
    /// Jobs that are production, and those that are revocable, per million.
    pub(crate) production: u64,
    pub(crate) revocable: u64,
    /// How often quotas and weights are set and removed.
    pub(crate) quotas: usize,
    /// Cron jobs, services, system jobs and functions among the jobs, per million; the others are batches.
    pub(crate) crons: u64,
    pub(crate) services: u64,
    pub(crate) systems: u64,
    pub(crate) functions: u64,
    /// Batches whose tasks never end by themselves, per million.
    pub(crate) endless: u64,
    /// Batches that wait for another one, per million.
    pub(crate) dependent: u64,
    /// Jobs with a start deadline or a most number of failures, per million.
    pub(crate) ending: u64,
    /// Jobs with more rules about nodes than constraints, per million; some nodes belong to a pool then.
    pub(crate) picky: u64,
    /// How often jobs are updated, paused, scaled and started anew.
    pub(crate) changes: usize,
}

/// What goes wrong in the safety phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    /// How often, by kind.
    pub(crate) counts: [usize; FAULTS],
    /// The longest time until one has passed; two of them may overlap.
    pub(crate) recover_max: Duration,
    /// Clocks that run fast or slow by up to the allowed ε, per million.
    pub(crate) drifting: u64,
    /// Nodes whose clock is off by far more than ε, per million: they are exempt from some properties.
    pub(crate) drifting_far: u64,
    /// Nodes that let run what their executor ends when its lease lapses, per million: they are exempt too.
    pub(crate) zombies: u64,
}

/// The network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) delay_max: Duration,
    /// Messages that wait for retransmission, per million.
    pub(crate) spikes: u64,
    pub(crate) spike_max: Duration,
    /// Messages at which the connection breaks, per million.
    pub(crate) resets: u64,
    /// Broken sessions of which what is under way still arrives, perhaps after the next session has begun, per million.
    pub(crate) stragglers: u64,
    pub(crate) idle_timeout: Duration,
}

/// The store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) delay_max: Duration,
    /// Requests whose result is unknown, per million.
    pub(crate) unknown: u64,
    /// How late a request of unknown result may still land.
    pub(crate) late_max: Duration,
    /// How late a follower may learn that the leader key is gone.
    pub(crate) watch_lag_max: Duration,
    /// How late the store may remove the key of a lease that has ended.
    pub(crate) removal_lag_max: Duration,
    /// Pairs in a page of a load.
    pub(crate) page_len: usize,
    /// Pages are read at the revision of the first one, and the load begins again if that is compacted.
    pub(crate) pinned: bool,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Draws options by name.
struct Draw {
    seed: u64,
}

impl Draw {
    fn count(&self, name: &str, max: u64) -> usize {
        usize::try_from(Rng::named(self.seed, name).below(max + 1)).unwrap_or(0)
    }

    /// Half of all worlds lack it, so that each kind of fault is also seen alone.
    fn some(&self, name: &str, max: u64) -> usize {
        let mut rng = Rng::named(self.seed, name);
        if rng.chance(500_000) { usize::try_from(rng.below(max + 1)).unwrap_or(0) } else { 0 }
    }

    fn pick<T: Copy>(&self, name: &str, list: &[T]) -> T {
        *Rng::named(self.seed, name).pick(list)
    }

    fn time(&self, name: &str, low: u64, high: u64) -> Duration {
        Rng::named(self.seed, name).duration(ms(low), ms(high))
    }
}

impl Options {
    /// The options of a seed; `nodes` and `replicas` override their numbers, and `hours` the length of the safety phase.
    #[must_use]
    pub fn from_seed(seed: u64, overrides: Overrides) -> Self {
        let draw = Draw { seed };
        let nodes = overrides.nodes.unwrap_or(1 + draw.count("nodes", 11));
        let replicas = overrides.replicas.unwrap_or(1 + draw.count("replicas", 2));
        let safety = overrides.safety.unwrap_or_else(|| draw.time("safety", 5_000, 60_000));
        let scale = 1 + nodes as u64 / 8;
        let work = work(&draw, scale);
        // One lane could do everything, each task four times, in this time.
        let slow = work.spinning > 0 || work.long > 0;
        let longest = work.task_time_max.max(if slow { crate::jobs::SPIN_TIMEOUT } else { ms(0) });
        let tries = longest * work.count_max * 5 * 4;
        let seconds = safety.as_secs();
        Self {
            seed,
            nodes,
            replicas,
            safety,
            liveness: ms(600_000) + tries * u32::try_from(work.submissions).unwrap_or(u32::MAX),
            events_max: 2_000_000 + (100_000 + 10 * seconds) * nodes as u64,
            sabotage: None,
            flip: None,
            dropped: BTreeSet::new(),
            work,
            faults: faults(&draw, scale),
            net: net(&draw),
            store: store(&draw),
            checkpoint_log_len: draw.pick("checkpoint", &[2, 5, 20, 2000]),
            keep_ended_max: draw.pick("keep-ended", &[0, 5, 20, 100_000, 100_000, 100_000]),
            keep_ended_for: draw.pick("keep-ended-for", &[ms(60_000), ms(604_800_000), ms(604_800_000)]),
            keep_ended_min: draw.time("keep-ended-min", 1_000, 60_000),
            outbox_len_max: draw.pick("outbox", &[1, 3, 100_000]),
            lanes_max: u32::try_from(1 + draw.count("lanes", 23)).unwrap_or(1),
            preempt_delay: draw.time("preempt-delay", 0, 2_000),
            preempt_grace: draw.time("preempt-grace", 0, 10_000),
        }
    }

    /// The same world with nothing going wrong.
    #[must_use]
    pub fn calm(mut self) -> Self {
        self.faults.counts = [0; FAULTS];
        self.net = Net { spikes: 0, resets: 0, stragglers: 0, ..self.net };
        self.store.unknown = 0;
        self
    }

    /// Whether some tasks last until they are stopped.
    pub(crate) const fn has_lasting(&self) -> bool {
        self.work.services > 0 || self.work.systems > 0 || self.work.endless > 0
    }

    /// Outcomes that an executor may keep unacknowledged: each running attempt needs the room of one.
    pub(crate) fn outbox_len_max(&self) -> usize {
        let lasting = if self.has_lasting() { LASTING_LANES as usize + self.lanes_max as usize } else { 0 };
        self.outbox_len_max + lasting
    }

    /// Whether a wish or fault of this name happens.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        self.dropped.is_empty() || !self.dropped.contains(name)
    }
}

/// What the command line says in place of the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Machines.
    pub nodes: Option<usize>,
    /// Control replicas.
    pub replicas: Option<usize>,
    /// The length of the safety phase.
    pub safety: Option<Duration>,
}

impl Overrides {
    /// Another number of machines.
    #[must_use]
    pub const fn nodes(nodes: usize) -> Self {
        Self { nodes: Some(nodes), replicas: None, safety: None }
    }
}

fn work(draw: &Draw, scale: u64) -> Work {
    let task_time_max = draw.pick("task-time", &[ms(2), ms(40), ms(400), ms(6000)]);
    // Long tasks come in small numbers: simulated time is cheap, but events are not.
    let counts: &[u32] = if task_time_max > ms(1000) { &[1, 8, 30] } else { &[1, 8, 60, 400] };
    Work {
        jobs: 1 + draw.count("jobs", 5),
        submissions: 1 + draw.count("submissions", 4 + 8 * scale),
        stops: draw.some("stops", 5),
        count_max: draw.pick("count", counts),
        task_time_max,
        large: draw.pick("large", &[0, 0, 100_000, 1_000_000]),
        failing: draw.pick("failing", &[0, 50_000, 300_000]),
        spinning: draw.pick("spinning", &[0, 0, 0, 20_000]),
        long: draw.pick("long", &[0, 100_000, 400_000]),
        fenced: draw.pick("fenced", &[0, 0, 300_000, 1_000_000]),
        once: draw.pick("once", &[0, 0, 300_000, 1_000_000]),
        operations: draw.some("operations", 6 + 4 * scale),
        namespaces: draw.pick("namespaces", &[1, 2, 4]),
        production: draw.pick("production", &[0, 0, 200_000, 500_000]),
        revocable: draw.pick("revocable", &[0, 0, 300_000]),
        quotas: draw.some("quotas", 12),
        crons: draw.pick("crons", &[0, 0, 0, 300_000]),
        services: draw.pick("services", &[0, 0, 0, 300_000]),
        systems: draw.pick("systems", &[0, 0, 0, 200_000]),
        functions: draw.pick("functions", &[0, 0, 200_000]),
        endless: draw.pick("endless", &[0, 0, 0, 150_000]),
        dependent: draw.pick("dependent", &[0, 0, 400_000]),
        ending: draw.pick("ending", &[0, 0, 300_000]),
        picky: draw.pick("picky", &[0, 0, 400_000]),
        changes: draw.some("changes", 8),
    }
}

fn faults(draw: &Draw, scale: u64) -> Faults {
    let mut counts = [0; FAULTS];
    for (count, fault) in counts.iter_mut().zip(Fault::ALL) {
        let max = if fault.is_of_one_node() { fault.often() * scale } else { fault.often() };
        *count = draw.some(fault.name(), max);
    }
    Faults {
        counts,
        recover_max: draw.time("recover", 500, 60_000),
        drifting: draw.pick("drifting", &[0, 300_000, 1_000_000]),
        drifting_far: draw.pick("drifting-far", &[0, 0, 0, 200_000]),
        zombies: draw.pick("zombies", &[0, 0, 0, 200_000]),
    }
}

fn net(draw: &Draw) -> Net {
    Net {
        delay_max: draw.time("net.delay", 1, 20),
        spikes: draw.pick("net.spikes", &[0, 1_000, 20_000]),
        spike_max: draw.time("net.spike-max", 50, 4000),
        resets: draw.pick("net.resets", &[0, 0, 500, 5_000]),
        stragglers: draw.pick("net.stragglers", &[0, 500_000, 1_000_000]),
        idle_timeout: ms(6000),
    }
}

fn store(draw: &Draw) -> Store {
    Store {
        delay_max: draw.time("store.delay", 1, 40),
        unknown: draw.pick("store.unknown", &[0, 10_000, 100_000]),
        late_max: draw.time("store.late", 10, 5000),
        watch_lag_max: draw.time("store.watch-lag", 0, 2000),
        removal_lag_max: draw.time("store.removal-lag", 0, 500),
        page_len: draw.pick("store.page", &[1, 4, 32, 4096]),
        pinned: draw.pick("store.pinned", &[false, true]),
    }
}
