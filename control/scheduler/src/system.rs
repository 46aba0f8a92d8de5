//! System jobs: one task on each node that matches, wherever that node is in its life.
//!
//! Which task belongs to which node is stored as a pin before it is granted, so that a task keeps its index through
//! elections. A node that is away leaves its task dormant; a removed node's index goes to the next new one.

use alloc::{collections::BTreeSet, vec::Vec};

use weir_wire::{
    id::{JobName, Namespace, NodeId, RunId},
    kind::{Kind, Tier},
    record::Pin,
    task::Reason,
    units::Instant,
};

use crate::{
    limits,
    long::LongRunning,
    phase::Phase,
    plan::PlannedGrant,
    run::Run,
    scheduler::{Leading, Scheduler},
};

/// How a node stands to a system job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It matches, and takes new work.
    Here,
    /// It matches, and takes no new work: what runs on it goes on.
    Closed,
    /// It is silent: nothing is decided.
    Silent,
    /// It is gone, or does not match.
    Away,
}

impl Scheduler {
    /// Grants the tasks of system jobs whose nodes may take them.
    pub(crate) fn place_pinned(&mut self) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let mut grants = 0;
        for slot in core::mem::take(&mut leading.pinned_try) {
            let Some(leading) = self.leading.as_deref_mut() else {
                return;
            };
            if grants >= limits::GRANTS_PER_TURN_MAX {
                leading.pinned_try.insert(slot);
                leading.more_to_place = true;
                continue;
            }
            for plan in leading.pinned_plans(slot) {
                let Some(leading) = self.leading.as_deref_mut() else {
                    return;
                };
                // Each one is looked at anew: the one before it may have filled the node.
                if !leading.takes_pinned(&plan) {
                    continue;
                }
                grants += self.visit(plan, 1);
            }
        }
    }
}

impl Leading {
    /// A task of a system job waits for its node.
    pub(crate) fn pinned_task_waits(&mut self, id: RunId, index: u32) {
        let Some(run) = self.runs.get(&id) else { return };
        if let Some(slot) = self.pinned_slot(run, index) {
            let since = *self.pinned_waiting.entry(slot).or_default().entry((id, index)).or_insert(self.now);
            self.pinned_try.insert(slot);
            if run.job.tier == Tier::Production {
                self.claims.production_waits(since);
            }
        }
    }

    /// A pending task of a system job waits for its node, which may have come anew, as another entry of the table.
    pub(crate) fn pinned_task_still_waits(&mut self, id: RunId, index: u32) {
        let Some(run) = self.runs.get(&id) else { return };
        let waiting = self.pinned_slot(run, index).and_then(|slot| self.pinned_waiting.get(&slot));
        if !waiting.is_some_and(|waiting| waiting.contains_key(&(id, index))) {
            self.pinned_task_waits(id, index);
        }
    }

    /// The place in the table of a task's own node, while that is registered.
    fn pinned_slot(&self, run: &Run, index: u32) -> Option<usize> {
        self.nodes.slot(run.long.as_ref()?.pins.get(index as usize)?)
    }

    /// A node may take what it did not take before.
    pub(crate) fn retry_pinned(&mut self, slot: usize) {
        if self.pinned_waiting.contains_key(&slot) {
            self.pinned_try.insert(slot);
        }
    }

    fn pinned_plans(&mut self, slot: usize) -> Vec<PlannedGrant> {
        let Some(waiting) = self.pinned_waiting.get_mut(&slot) else { return Vec::new() };
        let runs = &self.runs;
        let node = self.nodes.get(slot).id();
        // The place in the table may have been another node's.
        let here = |index: u32, long: &LongRunning| long.pins.get(index as usize) == Some(node);
        waiting.retain(|(id, index), _| {
            let run = runs.get(id).filter(|run| run.phase(*index) == Phase::Pending);
            run.and_then(|run| run.long.as_deref()).is_some_and(|long| here(*index, long))
        });
        let plan = |(id, index): &(RunId, u32)| {
            let ordinal = runs.get(id).map_or(1, |run| run.ordinal(*index));
            PlannedGrant { run: *id, first: *index, len: 1, ordinal, slot, claimed: false }
        };
        let plans = waiting.keys().map(plan).collect();
        if waiting.is_empty() {
            self.pinned_waiting.remove(&slot);
        }
        plans
    }

    fn takes_pinned(&self, plan: &PlannedGrant) -> bool {
        let Some(run) = self.runs.get(&plan.run) else { return false };
        let class = &self.queue.get(run.class).key;
        let room = self.nodes.get(plan.slot).room(class.book);
        self.may_take_pinned(run, plan.slot) && room.takes(&class.want())
    }

    /// Of a system job that goes on, how many nodes have a task or are to have one; every node is looked at.
    pub(crate) fn nodes_wanted(&self, run: &Run) -> Option<u32> {
        let long = run.long.as_deref().filter(|_| matches!(run.job.kind, Kind::System) && run.stop.is_none())?;
        let wanted = |slot: &usize| {
            let node = self.nodes.get(*slot).id();
            let busy = long.pinned.get(node).is_some_and(|index| run.phase(*index).is_busy());
            busy || self.standing(run.id, node) == Standing::Here
        };
        u32::try_from(self.nodes.by_name().filter(wanted).count()).ok()
    }

    /// Why a task of a system job is not wanted on its node.
    pub(crate) fn why_node_has_none(&self, run: &Run, node: &NodeId) -> &'static str {
        match self.standing(run.id, node) {
            Standing::Away if self.nodes.slot(node).is_none_or(|slot| self.nodes.get(slot).lost) => "its node is gone",
            Standing::Away => "its node does not match the job",
            Standing::Silent => "its node does not answer",
            Standing::Closed => "its node takes no new work",
            Standing::Here => "its node has another task of the job",
        }
    }

    /// Whether only room is missing for a task of a system job on its node.
    fn may_take_pinned(&self, run: &Run, slot: usize) -> bool {
        let resources = &run.job.budgets.resources;
        let allowed = run.job.tier != Tier::Production || self.shares.allows(run.site.space, resources);
        let node = self.nodes.get(slot);
        // Its attributes may have changed since the task was found to be wanted there.
        let matches = run.long.as_deref().is_some_and(|long| long.matches(node));
        run.may_start() && self.reconcile_until.is_none() && node.is_ready() && matches && allowed
    }

    /// The task of a system job that waits for a node; there is one at most.
    pub(crate) fn pinned_to(&self, slot: usize, run: &Run) -> Option<u32> {
        let waiting = self.pinned_waiting.get(&slot)?;
        let mut tasks = waiting.range((run.id, 0)..=(run.id, u32::MAX)).map(|((_, index), _)| *index);
        tasks.find(|index| run.phase(*index) == Phase::Pending)
    }

    /// Production tasks of system jobs for which their nodes have no room: run, node, and since when.
    pub(crate) fn pinned_without_room(&self) -> impl Iterator<Item = (&Run, usize, Instant)> {
        self.pinned_waiting.iter().flat_map(move |(slot, waiting)| {
            waiting.iter().filter_map(move |((id, index), since)| {
                let run = self.runs.get(id).filter(|run| run.job.tier == Tier::Production)?;
                let waits = run.phase(*index) == Phase::Pending && self.may_take_pinned(run, *slot);
                (waits && !self.claims.has(*slot, *id)).then_some((run, *slot, *since))
            })
        })
    }

    /// A node came, left, or takes work or does not: system jobs follow it.
    pub(crate) fn node_changed(&mut self, slot: usize) {
        self.nodes_dirty.insert(slot);
    }

    /// Looks at the nodes that changed, for all system jobs.
    pub(crate) fn follow_nodes(&mut self) {
        if self.reconcile_until.is_some() {
            return;
        }
        let dirty = core::mem::take(&mut self.nodes_dirty);
        if dirty.is_empty() || self.system_jobs.is_empty() {
            return;
        }
        for name in self.system_jobs.clone() {
            self.follow(&name, dirty.iter().copied());
        }
    }

    /// Looks at all nodes for one system job.
    pub(crate) fn step_system(&mut self, name: &(Namespace, JobName)) {
        if self.reconcile_until.is_none() {
            let slots = self.nodes.by_name().collect::<Vec<_>>();
            self.follow(name, slots.into_iter());
        } else {
            self.charge_system(name);
        }
    }

    fn follow(&mut self, name: &(Namespace, JobName), slots: impl Iterator<Item = usize>) {
        let active = self.active_runs(name);
        let Some((&newest, olds)) = active.split_last() else { return };
        let mut pins = Vec::new();
        for slot in slots {
            let node = self.nodes.get(slot).id().clone();
            let mut held = false;
            for (place, id) in active.iter().enumerate() {
                held |= self.review_pin(*id, &active[place + 1..], &node, held);
            }
            if !held && self.standing(newest, &node) == Standing::Here && !self.has_pin(newest, &node) {
                pins.push(node);
            }
        }
        if !olds.is_empty() {
            self.take_over(newest, olds, &mut pins);
        }
        // What was found to be wanted counts before anything is added to it.
        self.charge_system(name);
        self.pin(newest, pins);
        self.charge_system(name);
    }

    pub(crate) fn has_pin(&self, id: RunId, node: &NodeId) -> bool {
        let long = self.runs.get(&id).and_then(|run| run.long.as_ref());
        long.is_some_and(|long| long.pinned.contains_key(node))
    }

    /// Decides whether a run's task on a node is wanted; true if it is, or still runs there.
    fn review_pin(&mut self, id: RunId, newer: &[RunId], node: &NodeId, held: bool) -> bool {
        let pinned = self.runs.get(&id).and_then(|run| run.long.as_ref()).and_then(|long| long.pinned.get(node));
        let Some(&index) = pinned else { return false };
        let superseded = newer.iter().any(|newer| self.has_pin(*newer, node));
        let standing = self.standing(id, node);
        let Some(run) = self.runs.get(&id) else { return false };
        let granted = run.phase(index).is_busy();
        let wanted = match standing {
            _ if superseded || (held && !granted) => false,
            Standing::Here => true,
            Standing::Silent => return run.phase(index) != Phase::Dormant,
            Standing::Closed => granted,
            Standing::Away => false,
        };
        self.want(id, index, wanted);
        wanted || granted
    }

    /// A node that was away presents a task of a system job: it is wanted again before it could be stopped, if it is the
    /// node's task and none of a newer run is to take its place.
    pub(crate) fn want_here(&mut self, slot: usize, id: RunId, index: u32) {
        let node = self.nodes.get(slot);
        let own = |run: &&Run| {
            let long = run.long.as_deref().filter(|long| long.matches(node));
            let pinned = long.is_some_and(|long| long.pinned.get(node.id()) == Some(&index));
            pinned && !node.lost && run.phase(index) == Phase::Dormant
        };
        let Some(run) = self.runs.get(&id).filter(own) else { return };
        let name = (run.record.namespace.clone(), run.record.job.clone());
        let active = self.active_runs(&name);
        let newer = active.iter().skip_while(|other| **other != id);
        if newer.clone().next().is_some() && !newer.skip(1).any(|newer| self.has_pin(*newer, node.id())) {
            self.want(id, index, true);
        }
    }

    fn standing(&self, id: RunId, node: &NodeId) -> Standing {
        let Some(run) = self.runs.get(&id) else { return Standing::Away };
        let Some(slot) = self.nodes.slot(node) else { return Standing::Away };
        let node = self.nodes.get(slot);
        if node.lost || !run.long.as_ref().is_some_and(|long| long.matches(node)) {
            Standing::Away
        } else if node.session.is_none() || !node.presented {
            Standing::Silent
        } else if node.draining || node.record.cordoned {
            Standing::Closed
        } else {
            Standing::Here
        }
    }

    /// An update: the newest run takes over one node after the other, each time that all of its tasks are healthy; at the
    /// end the old runs are stopped.
    fn take_over(&mut self, newest: RunId, olds: &[RunId], pins: &mut Vec<NodeId>) {
        let run = self.runs.get(&newest).expect("active runs exist");
        let Some(long) = run.long.as_deref() else { return };
        if run.stop.is_some() || run.waiting.is_some() || run.paused || long.staged {
            return;
        }
        let settled = (0..run.count()).all(|index| run.phase(index) == Phase::Dormant || long.is_healthy(index));
        let mut left = None;
        let mut busy = false;
        for old in olds {
            let Some(run) = self.runs.get(old) else { continue };
            let Some(long) = run.long.as_deref() else { continue };
            busy |= (0..run.count())
                .any(|index| run.phase(index).is_busy() && self.has_pin(newest, &long.pins[index as usize]));
            left = left.or_else(|| {
                let stays = |node: &&NodeId| {
                    matches!(self.standing(newest, node), Standing::Here | Standing::Closed | Standing::Silent)
                        && !self.has_pin(newest, node)
                };
                long.pins.iter().find(stays).cloned()
            });
        }
        match left {
            Some(node) if settled && !busy && self.standing(newest, &node) == Standing::Here => pins.push(node),
            Some(_) => {}
            None if busy || !settled => {}
            None => {
                let old = olds.iter().find(|old| self.runs.get(old).is_some_and(|run| run.stop.is_none()));
                if let Some(old) = old.copied() {
                    self.end_run(old, Reason::Cancelled);
                }
            }
        }
    }

    /// Stages pins for nodes; the indices of removed nodes are used again.
    fn pin(&mut self, id: RunId, nodes: Vec<NodeId>) {
        let Some(run) = self.runs.get(&id) else { return };
        let Some(long) = run.long.as_deref() else { return };
        if nodes.is_empty() || long.staged || run.stop.is_some() || run.waiting.is_some() {
            return;
        }
        let gone = |node: &NodeId| self.nodes.slot(node).is_none();
        let dormant = |index: &u32| run.phase(*index) == Phase::Dormant;
        let free = (0..run.count()).filter(dormant).filter(|index| gone(&long.pins[*index as usize]));
        let room = self.quota_room(&run.record.namespace, &run.job);
        let indices: Vec<u32> = free
            .chain(run.count()..weir_wire::limits::TASKS_PER_RUN_MAX)
            .take(nodes.len().min(limits::PINS_PER_COMMIT_MAX).min(room))
            .collect();
        let over_quota = indices.len() < nodes.len().min(limits::PINS_PER_COMMIT_MAX);
        let long = self.long_mut(id);
        long.over_quota = over_quota;
        if indices.is_empty() {
            return;
        }
        long.staged = true;
        for (index, node) in indices.into_iter().zip(nodes) {
            self.open_batch().pin(id, Pin { index, node });
        }
    }

    /// Pins are durable.
    pub(crate) fn pins_committed(&mut self, id: RunId, pins: Vec<Pin>) {
        if pins.is_empty() {
            return;
        }
        self.long_mut(id).staged = false;
        for pin in pins {
            self.set_pin(id, pin);
        }
        self.end_added(id);
        self.long_changed(id);
    }

    /// Binds a task to a node.
    pub(crate) fn set_pin(&mut self, id: RunId, pin: Pin) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let added = run.grow(pin.index.saturating_add(1));
        let count = run.count() as usize;
        let Some(long) = run.long.as_deref_mut().filter(|_| (pin.index as usize) < count) else { return };
        self.open_tasks += u64::from(added);
        // Pins come in the order of their indices, so this repeats a name only where a stored table has a gap.
        long.pins.resize(count, pin.node.clone());
        let place = &mut long.pins[pin.index as usize];
        let before = core::mem::replace(place, pin.node.clone());
        if long.pinned.get(&before) == Some(&pin.index) {
            long.pinned.remove(&before);
        }
        long.pinned.insert(pin.node, pin.index);
    }

    /// Runs of a paused job may go on.
    pub(crate) fn retry_all_pinned(&mut self) {
        let slots: BTreeSet<usize> = self.pinned_waiting.keys().copied().collect();
        self.pinned_try.extend(slots);
    }
}
