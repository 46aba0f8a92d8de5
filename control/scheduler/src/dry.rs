//! What would become of a run: the same rules as placement, without changing anything.

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::cmp::Reverse;

use weir_wire::{
    id::RunId,
    kind::{Kind, Tier},
    placement::POOL_ATTRIBUTE,
    resources::Resources,
    units::Now,
    work::JobRecord,
};

use crate::{
    class::ClassKey,
    config::Policy,
    constraint::Test,
    fair::SpaceId,
    limits::{EVICT_NODES_MAX, PLAN_NAMES_MAX, PLAN_TASKS_MAX},
    node::Node,
    preempt::Claimant,
    room::Room,
    scheduler::{Leading, Scheduler},
    view::{PlanView, QuotaUsage, VictimView, WhyPending},
};

/// No run has this id: sequence numbers begin at 1.
const NO_RUN: RunId = RunId(0);

impl Scheduler {
    /// What would become of `count` tasks of a job if they were submitted at this moment; `None` if this process does
    /// not lead. Nothing is changed. It costs a look at each node, and one step a task for a limited number of tasks.
    #[must_use]
    pub fn plan(&self, _now: Now, job: &JobRecord, count: u32) -> Option<PlanView> {
        let leading = self.leading.as_ref()?;
        let mut class = ClassKey::new(NO_RUN, job);
        let slots = leading.slots_for(&class);
        let mut count = count;
        if matches!(job.kind, Kind::System) {
            // One on each node that matches, whatever number the spec says.
            class.placement.max_per_node = 1;
            count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        }
        let tried = count.min(PLAN_TASKS_MAX);
        let space = leading.shares.id(&job.namespace).filter(|_| job.tier == Tier::Production);
        let allowed = space.map_or(u32::MAX, |space| leading.shares.room_in_quota(space, &class.resources));
        let lanes = if job.max_running == 0 { u32::MAX } else { job.max_running };
        let leaves = leading.replaced_by(job);
        let allowed = allowed.saturating_add(leaves.tasks(&class.resources));
        let wanted = tried.min(allowed).min(lanes);
        let by_node = leading.try_placing(&class, &slots, wanted, self.config.placement, &leaves);
        let placed: u32 = by_node.values().sum();
        let over_quota = tried.min(lanes).saturating_sub(allowed);
        let (demand, replaced) = (QuotaUsage::of(job, count.min(lanes)), leading.charge_replaced_by(job));
        let mut view = PlanView { tried, placed, over_quota, demand, replaced, ..PlanView::default() };
        if over_quota > 0 {
            view.quota = leading.quota_use(job, allowed.saturating_add(1));
        }
        view.nodes_unnamed = u32::try_from(by_node.len().saturating_sub(PLAN_NAMES_MAX)).unwrap_or(u32::MAX);
        let named = by_node.iter().take(PLAN_NAMES_MAX);
        view.nodes = named.map(|(slot, tasks)| (leading.nodes.get(*slot).id().clone(), *tasks)).collect();
        if placed < tried {
            view.why = WhyPending { pending: tried - placed, ..WhyPending::default() };
            view.why.max_running = (lanes < tried).then_some(lanes);
            view.why.quota = view.quota.clone();
            leading.count_nodes(&class, |_| 0, &mut view.why);
        }
        // A run that its quota refuses has nobody make room.
        if placed < wanted && job.tier == Tier::Production && view.over_quota == 0 {
            leading.try_evicting(job, &slots, &by_node, wanted - placed, space, &mut view);
        }
        Some(view)
    }
}

impl Leading {
    /// The ready nodes that meet all conditions of a class.
    fn slots_for(&self, class: &ClassKey) -> Vec<usize> {
        let tests: Vec<(&str, Test)> =
            class.placement.constraints.iter().map(|c| (c.attribute.as_str(), Test::new(c))).collect();
        let meets = |node: &Node| {
            node.is_ready()
                && node.attribute(POOL_ATTRIBUTE) == class.placement.pool.as_deref()
                && tests.iter().all(|(attribute, test)| test.holds(node.attribute(attribute)))
        };
        self.nodes.by_name().filter(|slot| meets(self.nodes.get(*slot))).collect()
    }

    /// What the active runs of a long-running job hold, which a further run of it takes over.
    fn replaced_by(&self, job: &JobRecord) -> Leaving {
        let mut leaves = Leaving::default();
        if !job.kind.is_long_running() {
            return leaves;
        }
        for run in self.active_runs(&(job.namespace.clone(), job.job.clone())).iter().filter_map(|id| self.runs.get(id))
        {
            let want = ClassKey::new(run.id, &run.job).want();
            let counts = run.job.tier == Tier::Production;
            for grant in run.lanes.values().filter_map(|key| self.grants.get(key)) {
                let node = leaves.by_node.entry(grant.node).or_default();
                *node = node.plus(&want);
                leaves.charged = if counts { leaves.charged.plus(&want) } else { leaves.charged };
            }
        }
        leaves
    }

    /// How many tasks would go to each node.
    fn try_placing(
        &self,
        class: &ClassKey,
        slots: &[usize],
        wanted: u32,
        policy: Policy,
        leaves: &Leaving,
    ) -> BTreeMap<usize, u32> {
        let want = class.want();
        let limit = if class.placement.max_per_node == 0 { u32::MAX } else { class.placement.max_per_node };
        // How filled a node is once it has some of these tasks decides; packing fills one after the other.
        let rank = |slot: usize, taken: u32| match policy {
            Policy::Spread => self.nodes.get(slot).fill_with(&class.resources, taken),
            Policy::Pack => 0,
        };
        let mut order: BinaryHeap<Reverse<(u32, usize)>> =
            slots.iter().map(|slot| Reverse((rank(*slot, 0), *slot))).collect();
        let mut by_node: BTreeMap<usize, u32> = BTreeMap::new();
        let mut left = wanted;
        while left > 0
            && let Some(Reverse((_, slot))) = order.pop()
        {
            let taken = by_node.get(&slot).copied().unwrap_or(0);
            let left_behind = leaves.by_node.get(&slot).copied().unwrap_or_default();
            let room = self.nodes.get(slot).room(class.book).plus(&left_behind);
            if taken >= limit || !room.takes(&times(&want, taken + 1)) {
                continue;
            }
            by_node.insert(slot, taken + 1);
            left -= 1;
            order.push(Reverse((rank(slot, taken + 1), slot)));
        }
        by_node
    }

    /// Who would make room for the rest: one task a node, on nodes that get no task otherwise.
    fn try_evicting(
        &self,
        job: &JobRecord,
        slots: &[usize],
        by_node: &BTreeMap<usize, u32>,
        wanted: u32,
        space: Option<SpaceId>,
        view: &mut PlanView,
    ) {
        let others: Vec<usize> = slots.iter().copied().filter(|slot| !by_node.contains_key(slot)).collect();
        let claimant = Claimant::new(NO_RUN, job);
        let found = self.look_for_victims(&claimant, &others, 0, space);
        // Where there are none, enough is being freed already: the task waits for that.
        let found = found.into_iter().filter(|(victims, _)| !victims.is_empty());
        for (victims, slot) in found.take(wanted as usize).take(EVICT_NODES_MAX) {
            view.placed_by_eviction += 1;
            for grant in victims.iter().filter_map(|key| self.grants.get(key)) {
                let Some(run) = self.runs.get(&grant.run).filter(|_| view.victims.len() < PLAN_NAMES_MAX) else {
                    continue;
                };
                view.victims.push(VictimView {
                    run: run.id,
                    namespace: run.record.namespace.clone(),
                    job: run.record.job.clone(),
                    index: grant.next,
                    node: self.nodes.get(slot).id().clone(),
                });
            }
        }
    }
}

/// What leaves when a further run takes over.
#[derive(Debug, Default)]
struct Leaving {
    /// By the place of the node in its table.
    by_node: BTreeMap<usize, Room>,
    /// What of it the quota counts.
    charged: Room,
}

impl Leaving {
    /// How many tasks of these resources the quota has as much room for, at least.
    fn tasks(&self, resources: &Resources) -> u32 {
        let memory = self.charged.memory.checked_div(resources.memory.0).unwrap_or(u64::MAX);
        let cpu = self.charged.cpu.checked_div(resources.cpu.0).unwrap_or(u32::MAX);
        cpu.min(self.charged.lanes).min(u32::try_from(memory).unwrap_or(u32::MAX))
    }
}

/// What several tasks take.
fn times(want: &Room, number: u32) -> Room {
    Room {
        cpu: want.cpu.saturating_mul(number),
        lanes: want.lanes.saturating_mul(number),
        memory: want.memory.saturating_mul(u64::from(number)),
    }
}
