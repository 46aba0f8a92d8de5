//! What a simulation found out.

use serde::Serialize;
use weir_scheduler::WhyPending;
use weir_wire::{id::RunId, kind::Tier};

use super::{
    engine::Engine,
    meter::{Amount, Piece, tier_index},
    quantity::scale,
    waits,
    workload::Length,
};

/// Most runs and lines of which a report says why they were not placed.
const NAMED_MAX: usize = 20;

/// What a simulation found out. Its fields are the JSON of `wctl sim`; its [`Display`](core::fmt::Display) is the text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub(super) nodes: u64,
    pub(super) cpu_cores: f64,
    pub(super) memory_bytes: f64,
    pub(super) lines: usize,
    /// Attempts that ended by themselves.
    pub(super) tasks_ended: u64,
    pub(super) tasks_started: u64,
    pub(super) tasks_never_started: u64,
    /// From the first moment to the end of the last attempt, seconds.
    pub(super) makespan_s: f64,
    /// What the means are over, seconds.
    pub(super) simulated_s: f64,
    pub(super) cpu: Utilisation,
    pub(super) memory: Utilisation,
    pub(super) over_time: Vec<Moment>,
    pub(super) waiting_by_tier: Vec<Waiting>,
    pub(super) waiting_by_namespace: Vec<Waiting>,
    pub(super) ended_early: Vec<EndedEarly>,
    /// How often a revocable attempt was throttled: it gets no CPU then.
    pub(super) throttled: u64,
    pub(super) oversubscription: Oversubscription,
    pub(super) waiting_for_ever: Vec<Unplaced>,
    /// Runs with tasks that wait for ever, of which only the first are in the list.
    pub(super) runs_waiting_for_ever: usize,
    pub(super) refused: Vec<Refused>,
    pub(super) lines_refused: usize,
}

/// Shares of what the cluster has, from 0 to 1; reserved ones may exceed that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Utilisation {
    pub(super) reserved: Share,
    pub(super) used: Share,
    pub(super) tiers: Vec<TierShare>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) mean: f64,
    pub(super) peak: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TierShare {
    pub(super) tier: &'static str,
    pub(super) reserved: Share,
    pub(super) used: Share,
}

/// Means over a piece of time, as shares of what the cluster has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Moment {
    pub(super) from_s: f64,
    pub(super) to_s: f64,
    pub(super) cpu_reserved: f64,
    pub(super) cpu_used: f64,
    pub(super) memory_reserved: f64,
    pub(super) memory_used: f64,
    /// By tier: production, preemptible, revocable.
    pub(super) cpu_used_by_tier: [f64; 3],
    /// By tier: production, preemptible, revocable.
    pub(super) memory_used_by_tier: [f64; 3],
}

/// From the moment at which a task could have started to its first start, seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Waiting {
    pub(super) name: String,
    pub(super) tasks: usize,
    pub(super) p50_s: f64,
    pub(super) p90_s: f64,
    pub(super) p99_s: f64,
    pub(super) max_s: f64,
}

/// Attempts that somebody else ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EndedEarly {
    pub(super) reason: &'static str,
    pub(super) attempts: u64,
    /// The time that they had run, seconds.
    pub(super) lost_s: f64,
}

/// What revocable work adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Oversubscription {
    /// Mean share of the cluster's CPU that revocable tasks used.
    pub(super) cpu_used_by_revocable: f64,
    pub(super) memory_used_by_revocable: f64,
    /// Mean share of the cluster that was reserved beyond the size of its node.
    pub(super) cpu_reserved_beyond: f64,
    pub(super) memory_reserved_beyond: f64,
    /// Mean share used with revocable work, less that without it, where both were simulated.
    pub(super) cpu_gained: Option<f64>,
    pub(super) memory_gained: Option<f64>,
}

/// A run with tasks that nobody will start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Unplaced {
    pub(super) line: usize,
    pub(super) namespace: String,
    pub(super) job: String,
    pub(super) tasks: u32,
    pub(super) why: Vec<String>,
}

/// A line that the scheduler refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Refused {
    pub(super) line: usize,
    pub(super) why: String,
}

impl Report {
    /// Adds what `without`, the same without revocable work, is to be compared with.
    #[must_use]
    pub fn compared_with(mut self, without: &Self) -> Self {
        self.oversubscription.cpu_gained = Some(self.cpu.used.mean - without.cpu.used.mean);
        self.oversubscription.memory_gained = Some(self.memory.used.mean - without.memory.used.mean);
        self
    }

    /// How many seconds the means are over.
    #[must_use]
    pub const fn simulated_s(&self) -> f64 {
        self.simulated_s
    }

    /// The mean shares of CPU and memory that were in use.
    #[must_use]
    pub const fn mean_used(&self) -> (f64, f64) {
        (self.cpu.used.mean, self.memory.used.mean)
    }

    /// How many attempts were ended for a reason.
    #[must_use]
    pub fn ended_early(&self, reason: &str) -> u64 {
        self.ended_early.iter().filter(|ended| ended.reason == reason).map(|ended| ended.attempts).sum()
    }
}

/// Reads the books of a simulation that is over.
pub(super) fn report(engine: &Engine<'_>) -> Report {
    let end = engine.end();
    let capacity = capacity(engine);
    let (pieces, mean) = engine.meter.means(end);
    let peak = &engine.meter.peak;
    let of = |part: fn(&Amount) -> f64| {
        let share = |mean: Amount, peak: Amount| Share {
            mean: part(&mean.over(capacity)).max(0.0),
            peak: part(&peak.over(capacity)).max(0.0),
        };
        let tiers = Tier::ALL.into_iter().map(|tier| {
            let at = tier_index(tier);
            TierShare {
                tier: tier.as_str(),
                reserved: share(mean.reserved[at], peak.reserved[at]),
                used: share(mean.used[at], peak.used[at]),
            }
        });
        Utilisation {
            reserved: share(mean.reserved_sum(), engine.meter.peak_reserved),
            used: share(mean.used_sum(), engine.meter.peak_used),
            tiers: tiers.collect(),
        }
    };
    let revocable = mean.used[tier_index(Tier::Revocable)].over(capacity);
    let beyond = mean.beyond.over(capacity);
    let (waiting_for_ever, runs_waiting_for_ever, tasks_never_started) = unplaced(engine);
    let refused = &engine.submissions.refused;
    Report {
        nodes: engine.machines.len() as u64,
        cpu_cores: capacity.cpu,
        memory_bytes: capacity.memory,
        lines: engine.workload.items.len(),
        tasks_ended: engine.tasks_ended,
        tasks_started: engine.runs.values().map(|run| u64::from(run.started)).sum(),
        tasks_never_started,
        makespan_s: seconds(engine.last_end),
        simulated_s: seconds(end),
        cpu: of(|amount| amount.cpu),
        memory: of(|amount| amount.memory),
        over_time: pieces.iter().map(|piece| moment(piece, capacity)).collect(),
        waiting_by_tier: waiting(engine.waits.by_tier().into_iter().map(|(tier, s)| (tier.as_str().to_owned(), s))),
        waiting_by_namespace: waiting(engine.waits.by_namespace().into_iter().map(|(name, s)| (name.to_string(), s))),
        ended_early: ended_early(engine),
        throttled: engine.throttled,
        oversubscription: Oversubscription {
            cpu_used_by_revocable: revocable.cpu.max(0.0),
            memory_used_by_revocable: revocable.memory.max(0.0),
            cpu_reserved_beyond: beyond.cpu.max(0.0),
            memory_reserved_beyond: beyond.memory.max(0.0),
            cpu_gained: None,
            memory_gained: None,
        },
        waiting_for_ever,
        runs_waiting_for_ever,
        refused: refused.iter().take(NAMED_MAX).map(|(item, why)| refusal(engine, *item, why)).collect(),
        lines_refused: refused.len(),
    }
}

fn capacity(engine: &Engine<'_>) -> Amount {
    let mut sum = Amount::default();
    for group in &engine.cluster.groups {
        let (one, count) = (Amount::of(&group.resources), f64::from(group.count));
        sum.cpu += one.cpu * count;
        sum.memory += one.memory * count;
    }
    sum
}

fn moment(piece: &Piece, capacity: Amount) -> Moment {
    let share = |amount: Amount| amount.over(capacity);
    let (reserved, used) = (share(piece.mean.reserved_sum()), share(piece.mean.used_sum()));
    let by_tier = piece.mean.used.map(share);
    Moment {
        from_s: seconds(piece.from),
        to_s: seconds(piece.to),
        cpu_reserved: reserved.cpu.max(0.0),
        cpu_used: used.cpu.max(0.0),
        memory_reserved: reserved.memory.max(0.0),
        memory_used: used.memory.max(0.0),
        cpu_used_by_tier: by_tier.map(|share| share.cpu.max(0.0)),
        memory_used_by_tier: by_tier.map(|share| share.memory.max(0.0)),
    }
}

fn waiting(all: impl Iterator<Item = (String, waits::Spread)>) -> Vec<Waiting> {
    let seconds = |ms: u32| f64::from(ms) / 1000.0;
    let one = |(name, spread): (String, waits::Spread)| Waiting {
        name,
        tasks: spread.tasks,
        p50_s: seconds(spread.p50),
        p90_s: seconds(spread.p90),
        p99_s: seconds(spread.p99),
        max_s: seconds(spread.max),
    };
    all.map(one).collect()
}

fn ended_early(engine: &Engine<'_>) -> Vec<EndedEarly> {
    let all = engine.cancelled.iter();
    all.map(|(reason, (attempts, lost))| EndedEarly { reason, attempts: *attempts, lost_s: seconds(*lost) }).collect()
}

/// The first runs with tasks that were never started, how many such runs there are, and their tasks.
fn unplaced(engine: &Engine<'_>) -> (Vec<Unplaced>, usize, u64) {
    let (mut named, mut runs, mut tasks) = (Vec::new(), 0, 0);
    for (id, state) in &engine.runs {
        let item = &engine.workload.items[state.item];
        let waits = item.count.saturating_sub(state.started);
        if waits == 0 || (state.stopped && item.length == Length::Forever) {
            continue;
        }
        runs += 1;
        tasks += u64::from(waits);
        if named.len() < NAMED_MAX {
            named.push(Unplaced {
                line: item.line,
                namespace: item.namespace.to_string(),
                job: item.job.to_string(),
                tasks: waits,
                why: why(engine, *id),
            });
        }
    }
    (named, runs, tasks)
}

/// The scheduler's reasons, a sentence each.
fn why(engine: &Engine<'_>, run: RunId) -> Vec<String> {
    let Some(why) = engine.office.core.why(engine.clock(), run) else { return Vec::new() };
    let WhyPending {
        nodes, excluded, other_pool, too_small, exhausted, max_per_node, quota, max_running, ahead, ..
    } = &why;
    if why.brake.is_some() {
        return vec!["many nodes vanished at once, and their work is not replaced".to_owned()];
    }
    let upstream = why.dependency.iter().map(|up| format!("waits for a run of {}, which is not over", up.job));
    let mut lines: Vec<String> = upstream.collect();
    if !lines.is_empty() {
        return lines;
    }
    lines.extend(excluded.iter().map(|(what, count)| format!("{count} of {nodes} nodes excluded by {what}")));
    lines.extend(too_small.iter().map(|(what, count)| format!("{count} of {nodes} nodes too small: {what}")));
    lines.extend(exhausted.iter().map(|(what, count)| format!("{count} of {nodes} nodes full: {what}")));
    let counted = [(other_pool, "of another pool"), (max_per_node, "with max_per_node tasks of this run")];
    let counted = counted.into_iter().filter(|(count, _)| **count > 0);
    lines.extend(counted.map(|(count, what)| format!("{count} of {nodes} nodes {what}")));
    lines.extend(quota.iter().map(|part| format!("quota of {}: {} of {} used", part.part, part.used, part.limit)));
    lines.extend(max_running.map(|most| format!("max_running of {most} reached")));
    if *ahead > 0 {
        lines.push(format!("{ahead} runs come first"));
    }
    lines
}

fn refusal(engine: &Engine<'_>, item: usize, why: &str) -> Refused {
    Refused { line: engine.workload.items[item].line, why: why.to_owned() }
}

fn seconds(nanos: u64) -> f64 {
    scale(nanos) / 1e9
}
