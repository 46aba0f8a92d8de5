//! Sets of nodes.

use alloc::vec::Vec;

/// Nodes up to which a set is a list.
const LISTED_MAX: usize = 16;

/// A set of nodes by their places in the node table: a list of few, or a bit for each.
#[derive(Debug, Clone)]
pub(crate) enum NodeSet {
    Few(Vec<usize>),
    Many(Vec<u64>),
}

impl Default for NodeSet {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl NodeSet {
    /// Whether a node is in the set.
    pub(crate) fn contains(&self, slot: usize) -> bool {
        match self {
            Self::Few(list) => list.contains(&slot),
            Self::Many(words) => words.get(slot / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0),
        }
    }

    /// Adds a node.
    pub(crate) fn insert(&mut self, slot: usize) {
        match self {
            Self::Few(list) if list.contains(&slot) => {}
            Self::Few(list) if list.len() < LISTED_MAX => list.push(slot),
            Self::Few(list) => {
                let list = core::mem::take(list);
                *self = Self::Many(Vec::new());
                list.into_iter().chain([slot]).for_each(|slot| self.insert(slot));
            }
            Self::Many(words) => {
                if slot / 64 >= words.len() {
                    words.resize(slot / 64 + 1, 0);
                }
                words[slot / 64] |= 1 << (slot % 64);
            }
        }
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, slot: usize) {
        match self {
            Self::Few(list) => list.retain(|known| *known != slot),
            Self::Many(words) => {
                if let Some(word) = words.get_mut(slot / 64) {
                    *word &= !(1 << (slot % 64));
                }
            }
        }
    }

    /// The nodes, in the order of their places.
    pub(crate) fn into_slots(self) -> Vec<usize> {
        match self {
            Self::Few(mut list) => {
                list.sort_unstable();
                list
            }
            Self::Many(words) => {
                let bits = |word: u64| (0..64).filter(move |bit| word & (1 << bit) != 0);
                words.into_iter().enumerate().flat_map(|(at, word)| bits(word).map(move |bit| at * 64 + bit)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn node_sets_hold_what_a_set_holds() {
        let mut rng = Rng::new(6, 9);
        for nodes in [8, 300] {
            let (mut slots, mut set) = (NodeSet::default(), BTreeSet::new());
            for _ in 0..2000 {
                let slot = rng.below(nodes);
                if rng.below(2) == 0 {
                    slots.insert(slot);
                    set.insert(slot);
                } else {
                    slots.remove(slot);
                    set.remove(&slot);
                }
                let probe = rng.below(nodes + 64);
                assert_eq!(slots.contains(probe), set.contains(&probe));
            }
            assert!(slots.into_slots().into_iter().eq(set));
        }
    }
}
