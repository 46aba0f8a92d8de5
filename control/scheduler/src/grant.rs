//! Grants that nodes hold. They are never stored: the executors are the truth for what is running.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use weir_wire::id::{GrantSeq, RunId, Term};

/// The identity of a grant over all terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantKey {
    /// The leader's term.
    pub(crate) term: Term,
    /// Its number in the term.
    pub(crate) grant: GrantSeq,
}

/// A range of tasks that a node runs one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// The run.
    pub(crate) run: RunId,
    /// The node, by its place in the node table.
    pub(crate) node: usize,
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
    pub(crate) const fn new(run: RunId, node: usize, first: u32, end: u32) -> Self {
        Self { run, node, lane: first, first, next: first, end, at: 0, evicted: false }
    }

    /// Whether a report about this task of this run from this node speaks for the grant.
    pub(crate) fn covers(&self, run: RunId, node: usize, index: u32) -> bool {
        self.run == run && self.node == node && (self.next..self.end).contains(&index)
    }
}

/// All live grants. Those of this term are found through a table of their numbers, which is sized by how many are alive;
/// those of earlier terms, which were taken over from nodes, are few.
#[derive(Debug)]
pub(crate) struct Grants {
    term: Term,
    entries: Vec<Option<Grant>>,
    unused: Vec<u32>,
    table: Numbers,
    adopted: BTreeMap<GrantKey, u32>,
}

impl Grants {
    /// No grants, in a term.
    pub(crate) fn new(term: Term) -> Self {
        Self { term, entries: Vec::new(), unused: Vec::new(), table: Numbers::default(), adopted: BTreeMap::new() }
    }

    /// The number of grants.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len() - self.unused.len()
    }

    fn index(&self, key: &GrantKey) -> Option<usize> {
        let index = if key.term == self.term { self.table.get(key.grant.0) } else { self.adopted.get(key).copied() };
        index.map(|index| index as usize)
    }

    /// A grant.
    pub(crate) fn get(&self, key: &GrantKey) -> Option<&Grant> {
        self.entries[self.index(key)?].as_ref()
    }

    /// A grant.
    pub(crate) fn get_mut(&mut self, key: &GrantKey) -> Option<&mut Grant> {
        let index = self.index(key)?;
        self.entries[index].as_mut()
    }

    /// Whether there is such a grant.
    pub(crate) fn contains_key(&self, key: &GrantKey) -> bool {
        self.index(key).is_some()
    }

    /// Adds a grant.
    pub(crate) fn insert(&mut self, key: GrantKey, grant: Grant) {
        assert!(!self.contains_key(&key), "grant {key:?} is entered twice");
        let index = if let Some(index) = self.unused.pop() {
            self.entries[index as usize] = Some(grant);
            index
        } else {
            self.entries.push(Some(grant));
            u32::try_from(self.entries.len() - 1).expect("fewer grants than tasks")
        };
        if key.term == self.term {
            self.table.insert(key.grant.0, index);
        } else {
            self.adopted.insert(key, index);
        }
    }

    /// Removes a grant.
    pub(crate) fn remove(&mut self, key: &GrantKey) -> Option<Grant> {
        let index = if key.term == self.term { self.table.remove(key.grant.0) } else { self.adopted.remove(key) }?;
        self.unused.push(index);
        self.entries[index as usize].take()
    }
}

/// A table from grant numbers to places: open addressing, where the entry that is farther from its own place goes first.
/// The numbers come in order, so that nearly all live ones stand in their own places, next to each other.
#[derive(Debug, Default)]
struct Numbers {
    /// Number (0: none) and place; a power of two of them, at most half of them used.
    slots: Vec<(u64, u32)>,
    len: usize,
}

impl Numbers {
    fn own(&self, number: u64) -> usize {
        // The mask makes it fit.
        usize::try_from(number & (self.slots.len() as u64 - 1)).unwrap_or(0)
    }

    /// How far the entry at a slot is from its own place.
    fn distance(&self, at: usize) -> usize {
        at.wrapping_sub(self.own(self.slots[at].0)) & (self.slots.len() - 1)
    }

    fn find(&self, number: u64) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let (mut at, mut far) = (self.own(number), 0);
        while self.slots[at].0 != 0 && self.distance(at) >= far {
            if self.slots[at].0 == number {
                return Some(at);
            }
            at = (at + 1) & (self.slots.len() - 1);
            far += 1;
        }
        None
    }

    fn get(&self, number: u64) -> Option<u32> {
        self.find(number).map(|at| self.slots[at].1)
    }

    fn insert(&mut self, number: u64, place: u32) {
        assert!(number != 0, "grants are numbered from 1");
        if self.len * 2 >= self.slots.len() {
            let size = (self.slots.len() * 2).max(64);
            let old = core::mem::replace(&mut self.slots, vec![(0, 0); size]);
            old.into_iter().filter(|(number, _)| *number != 0).for_each(|entry| self.put(entry));
        }
        self.put((number, place));
        self.len += 1;
    }

    fn put(&mut self, mut entry: (u64, u32)) {
        let (mut at, mut far) = (self.own(entry.0), 0);
        while self.slots[at].0 != 0 {
            let here = self.distance(at);
            if here < far {
                core::mem::swap(&mut self.slots[at], &mut entry);
                far = here;
            }
            at = (at + 1) & (self.slots.len() - 1);
            far += 1;
        }
        self.slots[at] = entry;
    }

    fn remove(&mut self, number: u64) -> Option<u32> {
        let mut hole = self.find(number)?;
        let place = self.slots[hole].1;
        loop {
            let next = (hole + 1) & (self.slots.len() - 1);
            // What stands in its own place is found there, and so is everything behind it.
            if self.slots[next].0 == 0 || self.distance(next) == 0 {
                break;
            }
            self.slots[hole] = self.slots[next];
            hole = next;
        }
        self.slots[hole] = (0, 0);
        self.len -= 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_table_holds_what_a_map_holds() {
        let mut rng = Rng::new(3, 9);
        let (mut table, mut map) = (Numbers::default(), BTreeMap::new());
        let mut next = 0;
        for step in 0..20_000u32 {
            // Mostly the newest live on; some stay for long, so that the table wraps around them.
            if rng.below(100) < 52 {
                next += 1 + u64::from(rng.below(50) == 0) * 64;
                table.insert(next, step);
                map.insert(next, step);
            } else if let Some(number) = map.keys().nth(rng.below(map.len().max(1))).copied() {
                assert_eq!(table.remove(number), map.remove(&number));
                assert_eq!(table.remove(number), None);
            }
            let probe = rng.below(usize::try_from(next + 2).expect("small")) as u64;
            assert_eq!(table.get(probe), map.get(&probe).copied());
        }
        assert!(map.iter().all(|(number, place)| table.get(*number) == Some(*place)));
        assert_eq!(table.len, map.len());
    }

    #[test]
    fn grants_of_earlier_terms_are_kept_apart() {
        let mut grants = Grants::new(Term(5));
        let key = |term, grant| GrantKey { term: Term(term), grant: GrantSeq(grant) };
        for (at, key) in [key(5, 1), key(4, 1), key(5, 2)].into_iter().enumerate() {
            grants.insert(key, Grant::new(RunId(at as u64), 0, 0, 1));
        }
        assert_eq!(grants.remove(&key(4, 1)).map(|grant| grant.run), Some(RunId(1)));
        assert_eq!((grants.len(), grants.contains_key(&key(4, 1))), (2, false));
        assert_eq!(grants.get(&key(5, 2)).map(|grant| grant.run), Some(RunId(2)));
    }
}
