//! What runs of services and system jobs have in common: their tasks are started again whenever they end.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use weir_wire::{
    id::{NodeId, RunId},
    kind::Kind,
    outcome::{Failure, Outcome},
    placement::POOL_ATTRIBUTE,
    record::Pin,
    segment::Entry,
    task::{Reason, RetryClass, Source, Status},
    units::Instant,
    work::JobRecord,
};

use crate::{
    constraint::Test,
    limits,
    node::Node,
    phase::Phase,
    retry,
    scheduler::{Leading, Scheduler},
};

/// What only runs of long-running jobs have.
#[derive(Debug)]
pub(crate) struct LongRunning {
    /// Tasks below it are wanted; of a system job, pins decide.
    pub(crate) desired: u32,
    /// `desired` as it was last recorded.
    pub(crate) desired_recorded: Option<u32>,
    /// Where `desired` is to go in the end.
    pub(crate) target: u32,
    /// `target`, if it was ever changed.
    pub(crate) target_recorded: Option<u32>,
    /// The nodes of a system job's tasks.
    pub(crate) pins: Vec<NodeId>,
    /// The tasks by their nodes.
    pub(crate) pinned: BTreeMap<NodeId, u32>,
    /// A change of `desired` or of pins waits for its commit.
    pub(crate) staged: bool,
    /// The quota has no room for a task on one more node.
    pub(crate) over_quota: bool,
    /// What a node must have, compiled: the attribute, and what is asked of it.
    tests: Vec<(String, Test)>,
    pool: Option<String>,
    /// After this time of running, a task counts as healthy.
    pub(crate) healthy_after: Duration,
    started: BTreeMap<u32, Instant>,
    healthy: BTreeSet<u32>,
}

impl LongRunning {
    /// The state of a new run; none for kinds whose tasks end.
    pub(crate) fn new(job: &JobRecord, count: u32) -> Option<Self> {
        let (healthy_after, target) = match &job.kind {
            Kind::Service(service) => (service.healthy_after, count),
            Kind::System => (limits::SYSTEM_HEALTHY_AFTER, 0),
            Kind::Batch | Kind::Cron(_) | Kind::Function => return None,
        };
        Some(Self {
            desired: 0,
            desired_recorded: None,
            target,
            target_recorded: None,
            pins: Vec::new(),
            pinned: BTreeMap::new(),
            staged: false,
            over_quota: false,
            tests: job.placement.constraints.iter().map(|rule| (rule.attribute.clone(), Test::new(rule))).collect(),
            pool: job.placement.pool.clone(),
            healthy_after,
            started: BTreeMap::new(),
            healthy: BTreeSet::new(),
        })
    }

    /// A task does not run: it is neither started nor healthy.
    pub(crate) fn left(&mut self, index: u32) {
        self.started.remove(&index);
        self.healthy.remove(&index);
    }

    /// The pins as they are stored.
    pub(crate) fn pin_records(&self) -> Vec<Pin> {
        (0..).zip(&self.pins).map(|(index, node)| Pin { index, node: node.clone() }).collect()
    }

    /// Whether a node comes into question.
    pub(crate) fn matches(&self, node: &Node) -> bool {
        node.attribute(POOL_ATTRIBUTE) == self.pool.as_deref()
            && self.tests.iter().all(|(name, test)| test.holds(node.attribute(name)))
    }

    /// How many tasks are healthy.
    pub(crate) fn healthy_count(&self) -> u32 {
        u32::try_from(self.healthy.len()).unwrap_or(u32::MAX)
    }

    /// Whether a task has run for long enough.
    pub(crate) fn is_healthy(&self, index: u32) -> bool {
        self.healthy.contains(&index)
    }

    /// Where a service's task belongs while no attempt of it runs.
    pub(crate) const fn idle_phase(&self, index: u32, system: bool) -> Phase {
        // Whether a system job wants a task is decided by its node, and looked at after each change.
        if system || index < self.desired { Phase::Pending } else { Phase::Dormant }
    }
}

impl Scheduler {
    /// An attempt of a task that is to go on has ended: it is started again, or not wanted any more.
    pub(crate) fn attempt_ended(&mut self, slot: usize, id: RunId, index: u32, mut outcome: Outcome) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot).id().clone();
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let policy = run.job.retry;
        let asked = run.stopping.remove(&index).is_some();
        let system = matches!(run.job.kind, Kind::System);
        let Some(long) = run.long.as_deref_mut() else { return };
        if Duration::from_micros(outcome.usage.wall_us) >= long.healthy_after {
            run.tries.remove(&index);
        }
        let reason = outcome.failure.as_ref().map(|failure| failure.reason);
        let class = reason.map_or(RetryClass::Counted, Reason::retry_class);
        // A crash may be the node's fault as well as the guest's; a node that fails by itself is named as such.
        let moved = matches!(reason, Some(Reason::Preempted | Reason::Drained));
        if !asked && !moved {
            run.site.avoid(index, slot, now + limits::AVOID_FOR);
        }
        let wanted = long.idle_phase(index, system) == Phase::Pending;
        let tries = run.tries.get(&index).copied().unwrap_or_default();
        let (delay, counted) = if asked || !wanted {
            (Duration::ZERO, false)
        } else {
            retry::restart(&policy, tries, class, &mut self.rng)
        };
        let free_of_charge = asked || !wanted;
        if free_of_charge {
            // That it was stopped is not a failure of it.
            outcome.failure = None;
        }
        leading.keep_last(id, index, &outcome);
        leading.retry(id, index, delay, counted, outcome, node, now);
        let Some(run) = leading.runs.get_mut(&id) else { return };
        if free_of_charge {
            run.tries.remove(&index);
        }
        if !wanted {
            run.set_phase(index, Phase::Dormant);
            leading.requeue(id);
        }
        leading.task_changed(id, index);
    }

    /// The end of the last attempt of a task whose run is stopped, as it is recorded: whatever the guest said, it was
    /// killed.
    pub(crate) fn killed(mut outcome: Outcome, reason: Reason) -> Outcome {
        if outcome.status == Status::Succeeded {
            outcome.failure = Some(Box::new(Failure::new(reason, Source::Control, "stopped")));
        }
        outcome.status = Status::Killed;
        outcome
    }
}

impl Leading {
    /// Keeps the log of a task's last attempt, in line: segments would pile up for ever.
    fn keep_last(&mut self, id: RunId, index: u32, outcome: &Outcome) {
        let Some(run) = self.runs.get(&id) else { return };
        let crowded = run.inline.len() >= limits::INLINE_RESULTS_PER_RUN_MAX && !run.inline.contains_key(&index);
        let empty = outcome.log.is_empty() && outcome.result.is_empty();
        if !crowded && !empty {
            let Outcome { usage, result, log, .. } = outcome.clone();
            self.open_batch().keep_in_line(id, Entry { index, usage, result, log });
        }
    }

    /// A task of a long-running job was seen running.
    pub(crate) fn task_runs(&mut self, id: RunId, index: u32, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let runs = index < run.count() && run.phase(index) == Phase::Running;
        if let Some(long) = run.long.as_deref_mut().filter(|_| runs) {
            long.started.insert(index, now);
            self.healths.insert((now + long.healthy_after, id, index));
        }
    }

    /// A task may have run for long enough to count as healthy.
    pub(crate) fn maybe_healthy(&mut self, at: Instant, id: RunId, index: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(long) = run.long.as_deref_mut() else { return };
        if long.started.get(&index).is_some_and(|started| *started + long.healthy_after == at) {
            long.healthy.insert(index);
            run.site.forgive(index);
            run.tries.remove(&index);
            self.task_changed(id, index);
        }
    }

    /// Something about a long-running job changed: it is looked at after this input.
    pub(crate) fn long_changed(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.long.is_some() {
            let name = (run.record.namespace.clone(), run.record.job.clone());
            self.long_dirty.insert(name);
        }
    }

    /// A task of a long-running job changed: of a system job, its node alone is looked at.
    pub(crate) fn task_changed(&mut self, id: RunId, index: u32) {
        let Some(run) = self.runs.get(&id) else { return };
        let node = run.long.as_ref().and_then(|long| long.pins.get(index as usize));
        match node.map(|node| self.nodes.slot(node)) {
            Some(Some(slot)) => self.node_changed(slot),
            // Its node was removed, and is not among those that are looked at.
            Some(None) => {
                self.want(id, index, false);
                self.long_changed(id);
            }
            None => self.long_changed(id),
        }
    }

    /// A task of a long-running job is wanted or not; what runs and is not wanted is stopped.
    pub(crate) fn want(&mut self, id: RunId, index: u32, wanted: bool) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match run.phase(index) {
            Phase::Dormant if wanted => {
                run.set_phase(index, Phase::Pending);
                self.pinned_task_waits(id, index);
            }
            Phase::Pending | Phase::Backoff if !wanted => run.set_phase(index, Phase::Dormant),
            Phase::Pending => self.pinned_task_still_waits(id, index),
            Phase::Granted | Phase::Running if !wanted => {
                run.set_phase(index, Phase::Stopping);
                run.stopping.insert(index, Reason::Cancelled);
                self.stop_messages(id, Some(index), Reason::Cancelled);
            }
            // It is stopped if its node comes back with it.
            Phase::Unknown if !wanted => {
                run.stopping.insert(index, Reason::Cancelled);
            }
            Phase::Backoff
            | Phase::Granted
            | Phase::Running
            | Phase::Stopping
            | Phase::Unknown
            | Phase::Dormant
            | Phase::Staged(_)
            | Phase::Recorded(_) => {}
        }
    }
}
