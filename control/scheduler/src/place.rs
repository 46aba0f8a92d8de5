//! Placement: a pure function from what is known to the next [`Plan`].
//!
//! A class is searched group by group, the preferred ones first. In a group, the tree of free room gives the first node
//! with enough of it at or after any position, so that two nodes drawn at random (spread) or the first one (pack) are
//! found in a few steps, and that nothing fits is known exactly.

use weir_wire::{limits, units::Instant};

use crate::{
    class::{Class, ClassId, Reach},
    config::{Config, Policy},
    group::{Book, Group},
    limits::{MODULE_BONUS, NODES_COMPARED_MAX},
    node::{Nodes, mark},
    phase::Phase,
    plan::{BlockedClass, Plan, PlannedGrant},
    rng::Rng,
    room::Room,
    run::Run,
};

/// Decides the next step for the run whose turn it is.
pub(crate) fn next(
    config: &Config,
    id: ClassId,
    class: &mut Class,
    run: &Run,
    nodes: &Nodes,
    rng: &mut Rng,
    now: Instant,
) -> Plan {
    class.update(nodes);
    let lanes = if run.task_us.is_some() { class.lanes_max(nodes) } else { 0 };
    let (first, len) = run.next_range(range_len(config, run, lanes)).expect("a queued run has pending tasks");
    let found = Search::new(config.placement, class, run, nodes, first, now).find(rng);
    let Some(slot) = found else {
        return Plan::Block(BlockedClass(id));
    };
    Plan::Grant(PlannedGrant { run: run.id, first, len, ordinal: run.ordinal(first), slot, claimed: false })
}

/// How many tasks the next grant of a run may have: enough to keep a lane busy for [`Config::range_target`], and
/// fewer towards the end, so that all lanes end together (guided self-scheduling).
pub(crate) fn range_len(config: &Config, run: &Run, lanes: u32) -> u32 {
    let Some(task_us) = run.task_us else { return 1 };
    if run.job.kind.is_long_running() {
        return 1;
    }
    let target_us = u64::try_from(config.range_target.as_micros()).unwrap_or(u64::MAX);
    let wanted = u32::try_from(target_us / task_us.max(1)).unwrap_or(u32::MAX).clamp(1, limits::GRANT_LEN_MAX);
    let lanes = match run.job.max_running {
        0 => lanes,
        limit => lanes.min(limit),
    };
    let left = run.in_phase(Phase::Pending) / lanes.max(1).saturating_mul(2);
    wanted.min(left.max(1))
}

/// A node that could take the task, and how good it is: fewer tasks of the run with the same value of the spread
/// label, then a higher score, then less filled.
type Candidate = ((u32, i32, u32), usize);

/// One search for a node.
struct Search<'a> {
    policy: Policy,
    class: &'a Class,
    run: &'a Run,
    nodes: &'a Nodes,
    book: Book,
    want: Room,
    /// The node where the task failed the last time: taken only if there is no other.
    avoided: Option<usize>,
    /// Nodes have to be looked at one by one.
    per_node: bool,
    max_per_node: u32,
}

impl<'a> Search<'a> {
    fn new(policy: Policy, class: &'a Class, run: &'a Run, nodes: &'a Nodes, index: u32, now: Instant) -> Self {
        let avoided = run.site.avoided(index, now);
        let max_per_node = class.key.placement.max_per_node;
        Self {
            policy,
            class,
            run,
            nodes,
            book: class.key.book,
            want: class.key.want(),
            per_node: class.rules.is_per_node() || max_per_node > 0 || avoided.is_some(),
            avoided,
            max_per_node,
        }
    }

    fn find(&mut self, rng: &mut Rng) -> Option<usize> {
        let found = self.find_once(rng);
        if found.is_none() && self.avoided.take().is_some() {
            return self.find_once(rng);
        }
        found
    }

    fn find_once(&self, rng: &mut Rng) -> Option<usize> {
        if let Reach::Freed(slots) = &self.class.reach {
            return self.best(slots.iter().copied());
        }
        if let Some(names) = &self.class.rules.only {
            let slots = names.iter().filter_map(|name| self.nodes.slot(&name.parse().ok()?));
            return self.best(slots.filter(|slot| self.class.admits(self.nodes, *slot)));
        }
        if let Some(attribute) = self.class.rules.spread {
            return self.find_spread(attribute, rng);
        }
        self.class.eligible.tiers.iter().find_map(|(_, groups)| self.find_in(groups, rng))
    }

    /// The best of a few nodes.
    fn best(&self, slots: impl Iterator<Item = usize>) -> Option<usize> {
        let fitting = slots.filter(|slot| self.takes(*slot));
        let graded = fitting.filter_map(|slot| Some((self.grade(slot)?, slot)));
        graded.min().map(|(_, slot)| slot)
    }

    fn takes(&self, slot: usize) -> bool {
        let Some(place) = self.nodes.place(slot) else { return false };
        self.nodes.groups.get(place.group).tree(self.book).get(place.leaf).takes(&self.want) && self.accepts(slot)
    }

    fn grade(&self, slot: usize) -> Option<(u32, i32, u32)> {
        let place = self.nodes.place(slot)?;
        let group = self.nodes.groups.get(place.group);
        let score = self.class.eligible.score(place.group)?;
        let same = self.class.rules.spread.map_or(0, |attribute| self.run.site.with_value(group.value(attribute)));
        let fill = match self.policy {
            Policy::Spread => self.cost(group, place.leaf),
            Policy::Pack => u32::try_from(place.leaf).unwrap_or(u32::MAX),
        };
        Some((same, -score, fill))
    }

    /// Whether a node comes into question beside its group and its room.
    fn accepts(&self, slot: usize) -> bool {
        !self.per_node
            || (self.class.rules.admits(self.nodes.get(slot))
                && (self.max_per_node == 0 || self.run.site.on_node(slot) < self.max_per_node)
                && self.avoided != Some(slot))
    }

    /// How filled a node is, and a bit more if it would have to compile the module.
    fn cost(&self, group: &Group, leaf: usize) -> u32 {
        let (fill, modules) = group.standing(leaf);
        fill + if modules & mark(self.run.site.module) == 0 { MODULE_BONUS } else { 0 }
    }

    /// A node in the group with the fewest tasks of the run, of all values of an attribute.
    fn find_spread(&self, attribute: usize, rng: &mut Rng) -> Option<usize> {
        let mut least: Option<Candidate> = None;
        for (score, groups) in &self.class.eligible.tiers {
            for group in groups {
                let entry = self.nodes.groups.get(*group);
                let key = (
                    self.run.site.with_value(entry.value(attribute)),
                    -*score,
                    u32::MAX - entry.tree(self.book).root().lanes,
                );
                if least.is_some_and(|(known, _)| known <= key) || !entry.tree(self.book).root().takes(&self.want) {
                    continue;
                }
                if let Some(slot) = self.find_in(core::slice::from_ref(group), rng) {
                    least = Some((key, slot));
                }
            }
        }
        least.map(|(_, slot)| slot)
    }

    /// A node in one of some groups.
    fn find_in(&self, groups: &[usize], rng: &mut Rng) -> Option<usize> {
        match self.policy {
            Policy::Pack => groups.iter().find_map(|group| self.first_in(*group, 0)).map(|(slot, _)| slot),
            Policy::Spread => self.spread_in(groups, rng),
        }
    }

    /// The less filled of two nodes drawn at random, or of all if they are few.
    fn spread_in(&self, groups: &[usize], rng: &mut Rng) -> Option<usize> {
        let few = groups.len() <= NODES_COMPARED_MAX;
        let total = if few { groups.iter().map(|group| self.nodes.groups.get(*group).len()).sum() } else { usize::MAX };
        if total <= NODES_COMPARED_MAX {
            let slots = groups.iter().flat_map(|group| &self.nodes.groups.get(*group).slots);
            return self.best(slots.copied());
        }
        let one = self.draw(groups, few.then_some(total), rng)?;
        let other = self.draw(groups, few.then_some(total), rng)?;
        let (slot, _) = if other.1 < one.1 { other } else { one };
        Some(slot)
    }

    /// A node with room at or after a random position.
    fn draw(&self, groups: &[usize], total: Option<usize>, rng: &mut Rng) -> Option<(usize, u32)> {
        let (start, leaf) = match total {
            Some(total) => {
                let mut at = rng.below(total);
                let len = |group: &usize| self.nodes.groups.get(*group).len();
                let start = groups.iter().position(|group| {
                    let here = at < len(group);
                    at -= if here { 0 } else { len(group) };
                    here
                });
                (start.unwrap_or(0), at)
            }
            None => {
                let start = rng.below(groups.len());
                (start, rng.below(self.nodes.groups.get(groups[start]).len().max(1)))
            }
        };
        let others = groups[start + 1..].iter().chain(&groups[..start]);
        let first = self.first_in(groups[start], leaf);
        first.or_else(|| {
            others.filter(|group| self.nodes.groups.get(**group).tree(self.book).root().takes(&self.want)).find_map(
                |group| {
                    let leaf = rng.below(self.nodes.groups.get(*group).len().max(1));
                    self.first_in(*group, leaf)
                },
            )
        })
    }

    /// The first node of a group with room, at or after a leaf and then from the first leaf on; and its cost.
    fn first_in(&self, group: usize, start: usize) -> Option<(usize, u32)> {
        let group = self.nodes.groups.get(group);
        let tree = group.tree(self.book);
        let (mut from, mut wrapped) = (start, false);
        loop {
            match tree.next(from, &self.want) {
                Some(leaf) if wrapped && leaf >= start => return None,
                Some(leaf) if self.accepts(group.slots[leaf]) => {
                    let cost = if self.policy == Policy::Spread { self.cost(group, leaf) } else { 0 };
                    return Some((group.slots[leaf], cost));
                }
                Some(leaf) => from = leaf + 1,
                None if wrapped || start == 0 => return None,
                None => (from, wrapped) = (0, true),
            }
        }
    }
}
