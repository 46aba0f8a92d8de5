//! A table whose entries keep their places.

use alloc::vec::Vec;

/// A table whose entries keep their places: to take one out moves no other, and leaves a hole for the next one.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    holes: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    /// An empty table.
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), holes: Vec::new() }
    }

    /// The number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len() - self.holes.len()
    }

    /// Whether there is no entry.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An entry.
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// An entry.
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    /// Adds an entry; says where it is.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(at) = self.holes.pop() {
            self.entries[at as usize] = Some(entry);
            return at;
        }
        self.entries.push(Some(entry));
        u32::try_from(self.entries.len() - 1).expect("fewer entries than tasks")
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let entry = self.entries.get_mut(at as usize)?.take()?;
        self.holes.push(at);
        Some(entry)
    }

    /// All entries, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn entries_keep_their_places() {
        let mut rng = Rng::new(4, 9);
        let (mut slab, mut map) = (Slab::default(), BTreeMap::new());
        for step in 0..5000 {
            if rng.below(100) < 55 {
                assert!(map.insert(slab.insert(step), step).is_none(), "a place is given away twice");
            } else {
                let at = u32::try_from(rng.below(map.len() + 10)).expect("small");
                assert_eq!(slab.remove(at), map.remove(&at));
            }
            assert_eq!((slab.len(), slab.is_empty()), (map.len(), map.is_empty()));
        }
        assert!(slab.iter().eq(map.values()));
        assert!(map.iter_mut().all(|(at, step)| slab.get(*at) == Some(step) && slab.get_mut(*at) == Some(step)));
    }
}
