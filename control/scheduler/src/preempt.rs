//! Pre-emption: production makes room for itself where it has waited for long enough.
//!
//! A plan names nodes and the grants to end there. The room is claimed for the run, so that nothing else is placed into
//! it, until the run takes it or the claim lapses. Victims end as other attempts do, and wait for a place again.

use alloc::{collections::BTreeMap, vec::Vec};

use weir_wire::{
    id::{Namespace, RunId},
    kind::Tier,
    resources::Resources,
    units::Instant,
    work::JobRecord,
};

use crate::{
    class::Class,
    fair::SpaceId,
    grant::GrantRef,
    limits::{EVICT_NODES_MAX, PREEMPT_GAP, VICTIMS_MAX},
    node::Node,
    phase::Phase,
    rng::Rng,
    run::Run,
    scheduler::Leading,
};

/// Grants of one node to be ended for one task of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) run: RunId,
    pub(crate) slot: usize,
    /// The cheapest that do; none if enough is being freed already.
    pub(crate) victims: Vec<GrantRef>,
}

/// What a plan that is only tried has on a node so far: tasks of the claimant, and who makes room for them.
#[derive(Debug, Default)]
pub(crate) struct OnNode {
    pub(crate) tasks: u32,
    pub(crate) victims: Vec<GrantRef>,
}

impl OnNode {
    /// Nothing, as where evictions are carried out.
    const NONE: Self = Self { tasks: 0, victims: Vec::new() };
}

/// The same by the place of the node in its table.
pub(crate) type Tried = BTreeMap<usize, OnNode>;

/// Amounts of cpu, memory and lanes; below nothing while room that is claimed has not been freed yet.
type Amounts = [i128; 3];

/// A grant that may be ended, the cheapest first: revocable before preemptible, low priority first, the youngest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Victim {
    cost: (core::cmp::Reverse<Tier>, u8, core::cmp::Reverse<GrantRef>),
    frees: Amounts,
}

impl Victim {
    fn new(grant: GrantRef, owner: &Run) -> Self {
        let resources = &owner.job.budgets.resources;
        // The room of a revocable task is in the other book: its end frees a lane.
        let booked = i128::from(owner.job.tier != Tier::Revocable);
        let frees = [booked * i128::from(resources.cpu.0), booked * i128::from(resources.memory.0), 1];
        Self { cost: (core::cmp::Reverse(owner.job.tier), owner.job.priority, core::cmp::Reverse(grant)), frees }
    }

    const fn grant(&self) -> GrantRef {
        self.cost.2.0
    }
}

/// Who wants room.
#[derive(Debug)]
pub(crate) struct Claimant<'a> {
    run: RunId,
    namespace: &'a Namespace,
    priority: u8,
    wanted: Amounts,
}

impl<'a> Claimant<'a> {
    /// A run of a job.
    pub(crate) fn new(run: RunId, job: &'a JobRecord) -> Self {
        let Resources { cpu, memory } = job.budgets.resources;
        let wanted = [i128::from(cpu.0), i128::from(memory.0), 1];
        Self { run, namespace: &job.namespace, priority: job.priority, wanted }
    }

    /// Whether it may have grants of a run ended.
    fn may_evict(&self, owner: &Run) -> bool {
        let junior = || {
            owner.job.namespace == *self.namespace && owner.job.priority.saturating_add(PREEMPT_GAP) <= self.priority
        };
        owner.id != self.run
            && match owner.job.tier {
                Tier::Revocable | Tier::Preemptible => true,
                Tier::Production => junior(),
            }
    }
}

impl Leading {
    /// Whether a run may have others make room at this moment.
    pub(crate) fn may_evict(&self, run: &Run, delay: core::time::Duration, now: Instant) -> bool {
        let waited = run.site.waiting_since.is_some_and(|since| since + delay <= now);
        run.job.tier == Tier::Production && waited && run.site.meek_until <= now && run.ticket.is_some()
    }

    /// Tasks of a run for which room could be made: those that wait, within its limits and its quota.
    pub(crate) fn wants_claims(&self, run: &Run) -> usize {
        let pending = run.in_phase(Phase::Pending);
        let lanes = match run.job.max_running {
            0 => u32::MAX,
            limit => limit.saturating_sub(run.lanes_taken()),
        };
        let quota = self.shares.room_in_quota(run.site.space, &run.job.budgets.resources);
        pending.min(lanes).min(quota).saturating_sub(run.site.claims) as usize
    }

    /// The best evictions for a run, at most `limit` of them, each on another node: fewest victims first, then the
    /// cheapest. Looks at every node in question briefly, and at [`EVICT_NODES_MAX`] of them closely.
    pub(crate) fn plan_evictions(&self, run: &Run, class: &Class, limit: usize, rng: &mut Rng) -> Vec<Eviction> {
        let claimant = Claimant::new(run.id, &run.job);
        let per_node = run.job.placement.max_per_node;
        let full = |slot: usize| per_node > 0 && run.site.on_node(slot) >= per_node;
        let mut slots: Vec<usize> = Vec::new();
        for group in class.eligible.tiers.iter().flat_map(|(_, groups)| groups) {
            let group = &self.nodes.groups.get(*group).slots;
            let start = if group.is_empty() { 0 } else { rng.below(group.len()) };
            let rotated = group[start..].iter().chain(&group[..start]).copied();
            slots.extend(rotated.filter(|slot| !full(*slot) && class.rules.admits(self.nodes.get(*slot))));
        }
        let own = u64::from(run.lanes.len());
        let found = self.look_for_victims(&claimant, &slots, own, Some(run.site.space), &Tried::new());
        found.into_iter().take(limit).map(|(victims, slot)| Eviction { run: run.id, slot, victims }).collect()
    }

    /// Victims by node, the best node first. Production of the same namespace is no part of what can be freed at a
    /// glance: it is looked for only if nothing else does.
    pub(crate) fn look_for_victims(
        &self,
        claimant: &Claimant<'_>,
        slots: &[usize],
        own_grants: u64,
        space: Option<SpaceId>,
        tried: &Tried,
    ) -> Vec<(Vec<GrantRef>, usize)> {
        let look = |own: bool| -> Vec<(usize, Vec<Victim>, usize)> {
            let nodes = slots.iter().map(|slot| (*slot, self.nodes.get(*slot)));
            let possible = nodes.filter(|(_, node)| node.is_ready() && (own || could_free(node, &claimant.wanted)));
            let victims = possible.take(EVICT_NODES_MAX).filter_map(|(slot, node)| {
                let victims = self.victims_on(claimant, node, tried.get(&slot).unwrap_or(&OnNode::NONE))?;
                Some((victims.len(), victims, slot))
            });
            victims.collect()
        };
        let mut found = look(false);
        if found.is_empty() && space.is_some_and(|space| self.shares.get(space).production.grants > own_grants) {
            found = look(true);
        }
        found.sort();
        let grants = |victims: Vec<Victim>| victims.iter().map(Victim::grant).collect();
        found.into_iter().map(|(_, victims, slot)| (grants(victims), slot)).collect()
    }

    /// The grants to end on one node; `None` if all that may be ended would not do.
    fn victims_on(&self, claimant: &Claimant<'_>, node: &Node, tried: &OnNode) -> Option<Vec<Victim>> {
        let mut missing = claimant.wanted.map(|amount| amount * (i128::from(tried.tasks) + 1));
        let free = free_when_settled(node);
        (0..3).for_each(|at| missing[at] -= free[at]);
        let mut possible: Vec<Victim> = Vec::new();
        for slot in node.grants.iter() {
            let grant = self.grants.get(*slot);
            let Some(owner) = self.runs.get(&grant.run) else { continue };
            let victim = Victim::new(GrantRef { key: grant.key, slot: *slot }, owner);
            if grant.evicted || tried.victims.contains(&victim.grant()) {
                // Its room is on its way; what was claimed of it is taken off already.
                (0..3).for_each(|at| missing[at] -= victim.frees[at]);
            } else if claimant.may_evict(owner) {
                possible.push(victim);
            }
        }
        possible.sort_unstable();
        fewest(possible, missing)
    }
}

/// What is neither taken nor claimed.
fn free_when_settled(node: &Node) -> Amounts {
    let books = &node.books;
    [
        i128::from(node.capacity.cpu.0) - i128::from(books.firm.cpu.0) - i128::from(books.claimed.cpu.0),
        i128::from(node.capacity.memory.0) - i128::from(books.firm.memory.0) - i128::from(books.claimed.memory.0),
        i128::from(node.lanes_max) - node.grants.len() as i128 - i128::from(books.claims),
    ]
}

/// Whether a node would have room if everything that is not production ended.
fn could_free(node: &Node, wanted: &Amounts) -> bool {
    let free = free_when_settled(node);
    let books = &node.books;
    let evictable =
        [i128::from(books.preemptible.cpu.0), i128::from(books.preemptible.memory.0), i128::from(books.evictable)];
    (0..3).all(|at| free[at] + evictable[at] >= wanted[at])
}

/// The fewest victims that free what is missing, found greedily: a single one if that does, else always the one that
/// frees most of what is missing; then those that turn out not to be needed are spared, the dearest first.
fn fewest(possible: Vec<Victim>, missing: Amounts) -> Option<Vec<Victim>> {
    let is_enough = |missing: &Amounts| missing.iter().all(|amount| *amount <= 0);
    let less = |missing: &Amounts, victim: &Victim| {
        let mut left = *missing;
        (0..3).for_each(|at| left[at] -= victim.frees[at]);
        left
    };
    if is_enough(&missing) {
        return Some(Vec::new());
    }
    if let Some(single) = possible.iter().find(|victim| is_enough(&less(&missing, victim))) {
        return Some(alloc::vec![*single]);
    }
    let mut rest = possible;
    let (mut chosen, mut left) = (Vec::new(), missing);
    while !is_enough(&left) {
        let share = |victim: &Victim| -> i128 {
            let useful = |at: usize| victim.frees[at].min(left[at]).max(0) * 1000 / left[at].max(1);
            (0..3).filter(|at| left[*at] > 0).map(useful).sum()
        };
        // Of equal ones the first, which is the cheapest.
        let best = (0..rest.len()).max_by_key(|at| (share(&rest[*at]), core::cmp::Reverse(*at)))?;
        if share(&rest[best]) == 0 || chosen.len() == VICTIMS_MAX {
            return None;
        }
        let victim = rest.remove(best);
        left = less(&left, &victim);
        chosen.push(victim);
    }
    chosen.sort_unstable();
    let mut at = chosen.len();
    while at > 0 {
        at -= 1;
        let mut without = left;
        (0..3).for_each(|dimension| without[dimension] += chosen[at].frees[dimension]);
        if is_enough(&without) {
            left = without;
            chosen.remove(at);
        }
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use core::cmp::Reverse;

    use weir_wire::id::{GrantSeq, Term};

    use super::*;
    use crate::grant::{GrantKey, GrantSlot};

    fn victim(number: u64, tier: Tier, priority: u8, cpu: i128, memory: i128) -> Victim {
        let key = GrantKey { term: Term(1), grant: GrantSeq(number) };
        let grant = GrantRef { key, slot: GrantSlot::new(0) };
        Victim { cost: (Reverse(tier), priority, Reverse(grant)), frees: [cpu, memory, 1] }
    }

    fn chosen(mut possible: Vec<Victim>, missing: Amounts) -> Option<Vec<u64>> {
        possible.sort_unstable();
        fewest(possible, missing).map(|victims| victims.iter().map(|victim| victim.grant().key.grant.0).collect())
    }

    #[test]
    fn victims_are_few_and_cheap() {
        let some = alloc::vec![
            victim(1, Tier::Preemptible, 50, 4, 4),
            victim(2, Tier::Preemptible, 50, 1, 1),
            victim(3, Tier::Preemptible, 20, 1, 1),
            victim(4, Tier::Preemptible, 20, 1, 1),
            victim(5, Tier::Revocable, 90, 0, 0),
        ];
        let cases: [(&str, Amounts, Option<&[u64]>); 8] = [
            ("nothing is missing", [0, -3, 0], Some(&[])),
            ("a lane: the revocable one", [0, 0, 1], Some(&[5])),
            ("one small one: low priority, the youngest", [1, 1, 0], Some(&[4])),
            ("one large one in place of several", [3, 3, 1], Some(&[1])),
            ("two", [5, 1, 0], Some(&[4, 1])),
            ("memory of all that have some", [7, 7, 0], Some(&[4, 3, 2, 1])),
            ("more than there is", [8, 0, 0], None),
            ("lanes of all", [0, 0, 6], None),
        ];
        for (what, missing, expected) in cases {
            assert_eq!(chosen(some.clone(), missing).as_deref(), expected, "{what}");
        }
    }
}
