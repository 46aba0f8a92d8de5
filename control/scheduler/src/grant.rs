//! Grants that nodes hold. They are never stored: the executors are the truth for what is running.

use core::num::NonZeroU32;

use alloc::vec::Vec;

use weir_wire::{
    id::{AttemptId, GrantSeq, RunId, Term},
    limits, message,
};

use crate::{scheduler::Leading, slab::Slab};

/// The identity of a grant over all terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantKey {
    /// The leader's term.
    pub(crate) term: Term,
    /// Its number in the term.
    pub(crate) grant: GrantSeq,
}

/// The place of a live grant in the table; another grant gets it once this one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantSlot(NonZeroU32);

impl GrantSlot {
    pub(crate) fn new(at: u32) -> Self {
        Self(NonZeroU32::MIN.checked_add(at).expect("fewer grants than tasks"))
    }

    const fn at(self) -> u32 {
        self.0.get() - 1
    }
}

/// A grant that may be over by the time that it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantRef {
    pub(crate) key: GrantKey,
    pub(crate) slot: GrantSlot,
}

/// A range of tasks that a node runs one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    pub(crate) key: GrantKey,
    /// The run.
    pub(crate) run: RunId,
    node: u32,
    /// The key in the run's table of live grants: `next`, as of the last time that the grant was settled.
    pub(crate) lane: u32,
    /// First task.
    pub(crate) first: u32,
    /// First task that has not been reported.
    pub(crate) next: u32,
    /// First task after the range; moves down when tasks are given back.
    pub(crate) end: u32,
    /// Its place in the list of its node.
    pub(crate) at: u32,
    /// It was asked to make room.
    pub(crate) evicted: bool,
}

impl Grant {
    /// A grant of the tasks from `first` to `end`.
    pub(crate) fn new(key: GrantKey, run: RunId, node: usize, first: u32, end: u32) -> Self {
        let node = u32::try_from(node).expect("the number of nodes is limited");
        Self { key, run, node, lane: first, first, next: first, end, at: 0, evicted: false }
    }

    /// The node, by its place in the node table.
    pub(crate) const fn node(&self) -> usize {
        self.node as usize
    }

    /// Whether a report about this task of this run from this node speaks for the grant.
    pub(crate) fn covers(&self, run: RunId, node: usize, index: u32) -> bool {
        self.run == run && self.node() == node && (self.next..self.end).contains(&index)
    }
}

/// All live grants. Messages name a grant by its key and one of its tasks: it is found through the lanes of the run,
/// which are read anyway, so that no table of keys is needed.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    table: Slab<Grant>,
}

impl Grants {
    /// The number of grants.
    pub(crate) const fn len(&self) -> usize {
        self.table.len()
    }

    /// A live grant.
    pub(crate) fn get(&self, slot: GrantSlot) -> &Grant {
        self.table.get(slot.at()).expect("what refers to a grant goes with it")
    }

    /// A live grant.
    pub(crate) fn get_mut(&mut self, slot: GrantSlot) -> &mut Grant {
        self.table.get_mut(slot.at()).expect("what refers to a grant goes with it")
    }

    /// A grant, if it is not over.
    pub(crate) fn find(&self, grant: GrantRef) -> Option<&Grant> {
        self.table.get(grant.slot.at()).filter(|found| found.key == grant.key)
    }

    /// A grant, if it is not over.
    pub(crate) fn find_mut(&mut self, grant: GrantRef) -> Option<&mut Grant> {
        self.table.get_mut(grant.slot.at()).filter(|found| found.key == grant.key)
    }

    /// Adds a grant.
    pub(crate) fn insert(&mut self, grant: Grant) -> GrantSlot {
        GrantSlot::new(self.table.insert(grant))
    }

    /// Removes a grant.
    pub(crate) fn remove(&mut self, grant: GrantRef) -> Option<Grant> {
        self.find(grant)?;
        self.table.remove(grant.slot.at())
    }
}

impl Leading {
    /// The grant with a key that may hold a task.
    pub(crate) fn grant_of(&self, key: GrantKey, run: RunId, index: u32) -> Option<GrantRef> {
        let slot = self.runs.get(&run)?.lane_of(index)?;
        (self.grants.get(slot).key == key).then_some(GrantRef { key, slot })
    }

    /// The same for many attempts. Of a million grants few are in the processor's caches: it waits for many at a time where
    /// all are looked up before anything is done with one, and the lanes of all before the grants.
    pub(crate) fn grants_of(&self, attempts: impl Iterator<Item = AttemptId>) -> Vec<Option<GrantRef>> {
        let lane_of = |AttemptId { task, term, grant }: AttemptId| {
            let slot = self.runs.get(&task.run)?.lane_of(task.index)?;
            Some(GrantRef { key: GrantKey { term, grant }, slot })
        };
        let mut grants: Vec<_> = attempts.map(lane_of).collect();
        for grant in &mut grants {
            *grant = grant.filter(|grant| self.grants.find(*grant).is_some());
        }
        grants
    }

    /// The grant with a key that has not reported some of the tasks which it was given once.
    pub(crate) fn grant_in(&self, key: GrantKey, given: &message::Grant) -> Option<GrantRef> {
        let lanes = &self.runs.get(&given.run)?.lanes;
        let tasks = given.first..given.first.saturating_add(given.len.min(limits::GRANT_LEN_MAX));
        let mut slots = tasks.filter_map(|task| lanes.at_or_before(task, 0));
        slots.find(|slot| self.grants.get(*slot).key == key).map(|slot| GrantRef { key, slot })
    }

    /// The grant of a node with a key: looked for among all that it holds.
    pub(crate) fn grant_on(&self, node: usize, key: GrantKey) -> Option<GrantRef> {
        let mut slots = self.nodes.get(node).grants.iter().copied();
        slots.find(|slot| self.grants.get(*slot).key == key).map(|slot| GrantRef { key, slot })
    }

    /// The grants of a node, the oldest first.
    pub(crate) fn grants_on(&self, node: usize) -> Vec<GrantRef> {
        let slots = self.nodes.get(node).grants.iter();
        let mut grants: Vec<_> = slots.map(|slot| GrantRef { key: self.grants.get(*slot).key, slot: *slot }).collect();
        grants.sort_unstable();
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_in_the_place_of_another_is_not_taken_for_it() {
        let mut grants = Grants::default();
        let grant = |number| {
            let key = GrantKey { term: Term(5), grant: GrantSeq(number) };
            Grant::new(key, RunId(number), 0, 0, 1)
        };
        let slot = grants.insert(grant(1));
        let first = GrantRef { key: grant(1).key, slot };
        assert_eq!(grants.remove(first).map(|grant| grant.run), Some(RunId(1)));
        assert_eq!(grants.insert(grant(2)), slot);
        assert!(grants.find(first).is_none() && grants.find_mut(first).is_none() && grants.remove(first).is_none());
        assert_eq!((grants.len(), grants.get(slot).run), (1, RunId(2)));
    }
}
