//! The live grants of a run.

use alloc::{boxed::Box, vec::Vec};

use crate::grant::GrantKey;

/// Tasks of a part of [`Lanes`].
const PART: u32 = 64;

/// The live grants of a run by task. Mostly neighbours are held, so that a table of parts is both smaller and faster than
/// a tree; a part takes a kilobyte, and goes with the last grant in it.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    parts: Vec<Part>,
    len: u32,
}

#[derive(Debug, Default)]
struct Part {
    /// A bit for each task that is in the table; beside the keys, which are rarely all in the cache.
    held: u64,
    /// There is one if any bit is set.
    keys: Option<Box<[GrantKey; PART as usize]>>,
}

/// The number of the part with a task, and its place there.
const fn place(task: u32) -> (usize, u32) {
    ((task / PART) as usize, task % PART)
}

impl Lanes {
    /// The number of grants.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Enters a grant under a task; gives what was there.
    pub(crate) fn insert(&mut self, task: u32, key: GrantKey) -> Option<GrantKey> {
        let (at, bit) = place(task);
        if at >= self.parts.len() {
            self.parts.resize_with(at + 1, Part::default);
        }
        let part = &mut self.parts[at];
        let keys = part.keys.get_or_insert_with(|| Box::new([GrantKey::default(); PART as usize]));
        let before = core::mem::replace(&mut keys[bit as usize], key);
        if part.held & (1 << bit) != 0 {
            return Some(before);
        }
        part.held |= 1 << bit;
        self.len += 1;
        None
    }

    /// Takes a grant out.
    pub(crate) fn remove(&mut self, task: u32) -> Option<GrantKey> {
        let (at, bit) = place(task);
        let part = self.parts.get_mut(at).filter(|part| part.held & (1 << bit) != 0)?;
        let key = part.keys.as_ref().map(|keys| keys[bit as usize]);
        part.held &= !(1 << bit);
        self.len -= 1;
        if part.held == 0 {
            part.keys = None;
        }
        key
    }

    /// The grant under a task, or else under the nearest one before it of at most `reach` tasks.
    pub(crate) fn at_or_before(&self, task: u32, reach: u32) -> Option<GrantKey> {
        let (last, bit) = place(task);
        let (first, _) = place(task.saturating_sub(reach));
        let mut below = u64::MAX >> (PART - 1 - bit);
        for at in (first..=last).rev() {
            if let Some(part) = self.parts.get(at)
                && part.held & below != 0
            {
                return part.keys.as_ref().map(|keys| keys[(part.held & below).ilog2() as usize]);
            }
            below = u64::MAX;
        }
        None
    }

    /// All grants, in the order of their tasks.
    pub(crate) fn values(&self) -> impl Iterator<Item = &GrantKey> {
        self.parts.iter().flat_map(|part| {
            let keys = part.keys.iter().flat_map(|keys| keys.iter());
            keys.enumerate().filter(|(bit, _)| part.held & (1 << bit) != 0).map(|(_, key)| key)
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use weir_wire::id::{GrantSeq, Term};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn lanes_hold_what_a_map_holds() {
        let mut rng = Rng::new(5, 9);
        let (mut lanes, mut map) = (Lanes::default(), BTreeMap::new());
        for step in 0..20_000 {
            let task = u32::try_from(rng.below(1000)).expect("small");
            let key = GrantKey { term: Term(1), grant: GrantSeq(step) };
            if rng.below(3) == 0 {
                assert_eq!(lanes.insert(task, key), map.insert(task, key));
            } else {
                assert_eq!(lanes.remove(task), map.remove(&task));
            }
            let task = u32::try_from(rng.below(1000)).expect("small");
            let near = map.range(..=task).next_back().map(|(_, key)| *key);
            assert_eq!(lanes.at_or_before(task, u32::MAX), near);
            assert_eq!(lanes.len() as usize, map.len());
        }
        assert!(lanes.values().eq(map.values()));
        assert!(map.keys().all(|task| lanes.remove(*task).is_some()));
        assert!(lanes.parts.iter().all(|part| part.keys.is_none()), "an empty part is kept");
    }

    #[test]
    fn a_far_grant_is_not_looked_for() {
        let mut lanes = Lanes::default();
        let key = GrantKey { term: Term(1), grant: GrantSeq(1) };
        lanes.insert(10, key);
        assert_eq!((lanes.at_or_before(9, 9), lanes.at_or_before(10, 0)), (None, Some(key)));
        assert_eq!((lanes.at_or_before(200, 10), lanes.at_or_before(200, 190)), (None, Some(key)));
    }
}
