//! What is free on many nodes, and where the next one with enough of it is.

use alloc::{vec, vec::Vec};

/// Free amounts, or wanted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// Thousandths of a core.
    pub(crate) cpu: u32,
    pub(crate) lanes: u32,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Room {
    /// Whether `want` can be taken out of it.
    pub(crate) const fn takes(&self, want: &Self) -> bool {
        want.cpu <= self.cpu && want.memory <= self.memory && want.lanes <= self.lanes
    }

    /// The sum of each amount.
    pub(crate) const fn plus(&self, other: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            lanes: self.lanes.saturating_add(other.lanes),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// The larger of each amount.
    pub(crate) fn max(&self, other: &Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), lanes: self.lanes.max(other.lanes), memory: self.memory.max(other.memory) }
    }
}

/// A segment tree over the rooms of a group of nodes: each inner entry has the larger amounts of its two children.
///
/// A change costs at most one step per level, and ends where nothing changes. A search skips every part whose maxima
/// are too small; it costs a few steps per level unless cpu is free here and memory there.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// A power of two; leaves begin there.
    size: usize,
    rooms: Vec<Room>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { size: 1, rooms: vec![Room::default(); 2] }
    }
}

impl Tree {
    /// The room of a leaf.
    pub(crate) fn get(&self, leaf: usize) -> Room {
        self.rooms.get(self.size + leaf).copied().unwrap_or_default()
    }

    /// The largest amounts of all leaves.
    pub(crate) fn root(&self) -> &Room {
        &self.rooms[1]
    }

    /// Sets the room of a leaf, which is made if need be.
    pub(crate) fn set(&mut self, leaf: usize, room: Room) {
        while leaf >= self.size {
            self.grow();
        }
        let mut at = self.size + leaf;
        self.rooms[at] = room;
        while at > 1 {
            at /= 2;
            let max = self.rooms[2 * at].max(&self.rooms[2 * at + 1]);
            if self.rooms[at] == max {
                return;
            }
            self.rooms[at] = max;
        }
    }

    fn grow(&mut self) {
        let old = self.size;
        let mut rooms = vec![Room::default(); 4 * old];
        rooms[2 * old..3 * old].copy_from_slice(&self.rooms[old..2 * old]);
        for at in (1..2 * old).rev() {
            rooms[at] = rooms[2 * at].max(&rooms[2 * at + 1]);
        }
        *self = Self { size: 2 * old, rooms };
    }

    /// The first leaf at or after `from` with enough room.
    pub(crate) fn next(&self, from: usize, want: &Room) -> Option<usize> {
        if from >= self.size {
            return None;
        }
        let mut at = self.size + from;
        loop {
            if self.rooms[at].takes(want) {
                if at >= self.size {
                    return Some(at - self.size);
                }
                at *= 2;
                continue;
            }
            // The next part on the right: up as long as this is a right child, then over to the sibling.
            while at % 2 == 1 {
                at /= 2;
            }
            if at == 0 {
                return None;
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_tree_finds_what_a_linear_scan_finds() {
        let mut rng = Rng::new(1, 9);
        let mut small = |below: u32| u32::try_from(rng.next() % u64::from(below)).expect("small");
        for leaves in [1, 2, 3, 7, 64, 100, 257] {
            let mut tree = Tree::default();
            let mut plain = vec![Room::default(); leaves as usize];
            for _ in 0..4000 {
                let leaf = small(leaves) as usize;
                let room = Room { cpu: small(6), lanes: small(4), memory: small(6).into() };
                tree.set(leaf, room);
                plain[leaf] = room;
                let want = Room { cpu: small(7), lanes: 1, memory: small(7).into() };
                let from = small(leaves + 1) as usize;
                let expected = (from..leaves as usize).find(|leaf| plain[*leaf].takes(&want));
                assert_eq!(tree.next(from, &want), expected, "{leaves} leaves from {from}");
                assert_eq!(tree.get(leaf), room);
            }
        }
    }
}
