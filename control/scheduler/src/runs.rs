//! All runs, by id.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use weir_wire::id::RunId;

use crate::run::Run;

/// All runs. A run is looked up several times for each message of an executor, so that its place is found by hashing. A
/// run keeps its place until it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    table: Vec<Option<Box<Run>>>,
    unused: Vec<u32>,
    places: Places,
    /// What goes through all of them does so in an order that does not depend on when a leader came to know them.
    ordered: BTreeMap<RunId, u32>,
}

impl Runs {
    /// A run.
    pub(crate) fn get(&self, id: &RunId) -> Option<&Run> {
        self.table[self.places.get(*id)? as usize].as_deref()
    }

    /// A run.
    pub(crate) fn get_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.table[self.places.get(*id)? as usize].as_deref_mut()
    }

    /// Adds a run.
    pub(crate) fn insert(&mut self, run: Run) {
        let place = self.unused.pop().unwrap_or_else(|| {
            self.table.push(None);
            u32::try_from(self.table.len() - 1).expect("fewer runs than places")
        });
        let before = self.ordered.insert(run.id, place);
        assert!(before.is_none(), "run {} comes into being twice", run.id);
        self.places.insert(run.id, place);
        self.table[place as usize] = Some(Box::new(run));
    }

    /// Takes a run out.
    pub(crate) fn remove(&mut self, id: &RunId) {
        let Some(place) = self.places.remove(*id) else { return };
        self.ordered.remove(id);
        self.table[place as usize] = None;
        self.unused.push(place);
    }

    /// The number of runs.
    pub(crate) const fn len(&self) -> usize {
        self.table.len() - self.unused.len()
    }

    /// All ids, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = RunId> {
        self.ordered.keys().copied()
    }

    /// All runs, in the order of their ids.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Run> {
        self.ordered.values().filter_map(|place| self.table[*place as usize].as_deref())
    }

    /// Does something with each run, in the order of their ids.
    pub(crate) fn for_each(&mut self, mut act: impl FnMut(&mut Run)) {
        let runs = &mut self.table;
        self.ordered.values().for_each(|place| runs[*place as usize].as_deref_mut().into_iter().for_each(&mut act));
    }
}

/// A table from ids to places: open addressing. Ids are hashes already.
#[derive(Debug, Default)]
struct Places {
    /// A power of two of them, at most half of them used.
    slots: Vec<Option<(RunId, u32)>>,
    len: usize,
}

impl Places {
    /// The slot of an id, or the free one where it belongs; there is a free one.
    fn slot(&self, id: RunId) -> usize {
        let mask = self.slots.len() - 1;
        // The mask makes it fit.
        let mut at = usize::try_from(id.0 & mask as u64).unwrap_or(0);
        while self.slots[at].is_some_and(|(known, _)| known != id) {
            at = (at + 1) & mask;
        }
        at
    }

    fn get(&self, id: RunId) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.slot(id)].map(|(_, place)| place)
    }

    fn insert(&mut self, id: RunId, place: u32) {
        if self.len * 2 >= self.slots.len() {
            let size = (self.slots.len() * 2).max(64);
            let old = core::mem::replace(&mut self.slots, vec![None; size]);
            for entry in old.into_iter().flatten() {
                let slot = self.slot(entry.0);
                self.slots[slot] = Some(entry);
            }
        }
        let slot = self.slot(id);
        self.slots[slot] = Some((id, place));
        self.len += 1;
    }

    fn remove(&mut self, id: RunId) -> Option<u32> {
        self.get(id)?;
        let mask = self.slots.len() - 1;
        let mut hole = self.slot(id);
        let place = self.slots[hole].take().map(|(_, place)| place);
        self.len -= 1;
        // What stands behind it, up to the next free slot, may have wanted to stand here.
        let mut at = (hole + 1) & mask;
        while let Some((known, _)) = self.slots[at] {
            let own = usize::try_from(known.0 & mask as u64).unwrap_or(0);
            if at.wrapping_sub(own) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[at].take();
                hole = at;
            }
            at = (at + 1) & mask;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn places_are_found_as_in_a_map() {
        let mut rng = Rng::new(3, 9);
        let (mut places, mut map) = (Places::default(), BTreeMap::new());
        for place in 0..5000 {
            // Ids that collide, also at the end of the table.
            let id = RunId((rng.next() % 4096).wrapping_sub(2000));
            assert_eq!(places.get(id), map.get(&id).copied());
            map.entry(id).or_insert_with(|| {
                places.insert(id, place);
                place
            });
        }
        assert!(map.iter().all(|(id, place)| places.get(*id) == Some(*place)));
        assert_eq!(places.len, map.len());
        while let Some(id) = map.keys().nth(rng.below(map.len().max(1))).copied() {
            assert_eq!(places.remove(id), map.remove(&id));
            assert_eq!(places.remove(id), None);
            let sample = map.iter().step_by(1 + map.len() / 50);
            assert!(sample.into_iter().all(|(id, place)| places.get(*id) == Some(*place)));
        }
        assert_eq!((places.len, places.slots.iter().flatten().count()), (0, 0));
    }
}
