//! A placement that is only tried: by the order of [`crate::place`], with every node looked at.

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::cmp::Reverse;

use weir_wire::{kind::Tier, resources::Resources, work::JobRecord};

use crate::{class::ClassKey, config::Policy, constraint::Test, node::Node, room::Room, scheduler::Leading};

/// Tasks of one class on their way to nodes.
pub(crate) struct Trial<'a> {
    leading: &'a Leading,
    class: &'a ClassKey,
    policy: Policy,
    leaves: &'a Leaving,
    wishes: Vec<(&'a str, Test, i32)>,
}

/// Nodes that are equally good but for how filled they are: those with one value of the spread attribute and one sum of
/// the weights that they meet.
struct Peers<'a> {
    value: Option<&'a str>,
    score: i32,
    order: Order,
}

/// How filled each node would be, and its place in the table of nodes; the least filled first.
type Order = BinaryHeap<Reverse<(u32, usize)>>;

impl<'a> Trial<'a> {
    pub(crate) fn new(leading: &'a Leading, class: &'a ClassKey, policy: Policy, leaves: &'a Leaving) -> Self {
        let wish = |wish: &'a weir_wire::placement::Affinity| {
            (wish.constraint.attribute.as_str(), Test::new(&wish.constraint), wish.weight)
        };
        let wishes = class.placement.affinities.iter().map(wish).collect();
        Self { leading, class, policy, leaves, wishes }
    }

    /// How many of the wanted tasks would go to each of the nodes that come into question.
    pub(crate) fn place(&self, slots: &[usize], wanted: u32) -> BTreeMap<usize, u32> {
        let mut peers = self.group(slots);
        let mut by_node: BTreeMap<usize, u32> = BTreeMap::new();
        let mut by_value: BTreeMap<Option<&str>, u32> = BTreeMap::new();
        let mut left = wanted;
        while left > 0 {
            let grade = |peers: &Peers<'a>| {
                let Reverse((fill, _)) = peers.order.peek()?;
                Some((by_value.get(&peers.value).copied().unwrap_or(0), -peers.score, *fill))
            };
            let graded = peers.iter().enumerate().filter_map(|(at, peers)| Some((grade(peers)?, at)));
            let Some((_, at)) = graded.min() else { break };
            let Some(Reverse((_, slot))) = peers[at].order.pop() else { break };
            let taken = by_node.get(&slot).copied().unwrap_or(0);
            if !self.has_room(slot, taken) {
                continue;
            }
            by_node.insert(slot, taken + 1);
            if self.class.placement.spread.is_some() {
                *by_value.entry(peers[at].value).or_default() += 1;
            }
            left -= 1;
            peers[at].order.push(Reverse((self.fill(slot, taken + 1), slot)));
        }
        by_node
    }

    fn group(&self, slots: &[usize]) -> Vec<Peers<'a>> {
        let mut peers: BTreeMap<(Option<&'a str>, i32), Order> = BTreeMap::new();
        for slot in slots {
            let node = self.leading.nodes.get(*slot);
            let value = self.class.placement.spread.as_deref().and_then(|name| node.attribute(name));
            peers.entry((value, self.score(node))).or_default().push(Reverse((self.fill(*slot, 0), *slot)));
        }
        peers.into_iter().map(|((value, score), order)| Peers { value, score, order }).collect()
    }

    fn score(&self, node: &Node) -> i32 {
        let met = self.wishes.iter().filter(|(name, test, _)| test.holds(node.attribute(name)));
        met.map(|(_, _, weight)| *weight).sum()
    }

    /// How filled a node is with some of these tasks; packing fills one after the other.
    fn fill(&self, slot: usize, taken: u32) -> u32 {
        match self.policy {
            Policy::Spread => self.leading.nodes.get(slot).fill_with(&self.class.resources, taken),
            Policy::Pack => 0,
        }
    }

    /// Whether a node that took some of the tasks takes another one.
    fn has_room(&self, slot: usize, taken: u32) -> bool {
        let limit = self.class.placement.max_per_node;
        let left_behind = self.leaves.by_node.get(&slot).copied().unwrap_or_default();
        let room = self.leading.nodes.get(slot).room(self.class.book).plus(&left_behind);
        (limit == 0 || taken < limit) && room.takes(&times(&self.class.want(), taken + 1))
    }
}

impl Leading {
    /// What the active runs of a long-running job hold, which a further run of it takes over.
    pub(crate) fn replaced_by(&self, job: &JobRecord) -> Leaving {
        let mut leaves = Leaving::default();
        if !job.kind.is_long_running() {
            return leaves;
        }
        for run in self.active_runs(&(job.namespace.clone(), job.job.clone())).iter().filter_map(|id| self.runs.get(id))
        {
            let want = ClassKey::new(run.id, &run.job).want();
            let counts = run.job.tier == Tier::Production;
            for grant in run.lanes.values().map(|place| self.grants.get(place)) {
                let node = leaves.by_node.entry(grant.node()).or_default();
                *node = node.plus(&want);
                leaves.charged = if counts { leaves.charged.plus(&want) } else { leaves.charged };
            }
        }
        leaves
    }
}

/// What leaves when a further run takes over.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// By the place of the node in its table.
    by_node: BTreeMap<usize, Room>,
    /// What of it the quota counts.
    charged: Room,
}

impl Leaving {
    /// How many tasks of these resources the quota has as much room for, at least.
    pub(crate) fn tasks(&self, resources: &Resources) -> u32 {
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
