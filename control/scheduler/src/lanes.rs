//! The live grants of a run.

use alloc::{boxed::Box, vec::Vec};

use crate::grant::GrantKey;

/// Tasks of a part of [`Lanes`].
const PART: u32 = 64;

/// The live grants of a run by task. Mostly neighbours are held, so that a table of parts is both smaller and faster than
/// a tree; a part takes a kilobyte, and goes with the last grant in it.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    parts: Vec<Option<Box<Part>>>,
    len: u32,
}

#[derive(Debug)]
struct Part {
    /// A bit for each task that is in the table.
    held: u64,
    keys: [GrantKey; PART as usize],
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
            self.parts.resize_with(at + 1, || None);
        }
        let none = GrantKey { term: weir_wire::id::Term(0), grant: weir_wire::id::GrantSeq(0) };
        let part = self.parts[at].get_or_insert_with(|| Box::new(Part { held: 0, keys: [none; PART as usize] }));
        let before = core::mem::replace(&mut part.keys[bit as usize], key);
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
        let slot = self.parts.get_mut(at)?;
        let part = slot.as_mut().filter(|part| part.held & (1 << bit) != 0)?;
        part.held &= !(1 << bit);
        self.len -= 1;
        let key = part.keys[bit as usize];
        if part.held == 0 {
            *slot = None;
        }
        Some(key)
    }

    /// The grant under a task, or else under the nearest one before it of at most `reach` tasks.
    pub(crate) fn at_or_before(&self, task: u32, reach: u32) -> Option<GrantKey> {
        let (last, bit) = place(task);
        let (first, _) = place(task.saturating_sub(reach));
        let mut below = u64::MAX >> (PART - 1 - bit);
        for at in (first..=last).rev() {
            if let Some(part) = self.parts.get(at).and_then(Option::as_ref)
                && part.held & below != 0
            {
                return Some(part.keys[(part.held & below).ilog2() as usize]);
            }
            below = u64::MAX;
        }
        None
    }

    /// All grants, in the order of their tasks.
    pub(crate) fn values(&self) -> impl Iterator<Item = &GrantKey> {
        let held = |part: &Part, bit: u32| part.held & (1 << bit) != 0;
        let keys = move |part: &'_ Part| (0..PART).filter(move |bit| held(part, *bit)).collect::<Vec<_>>();
        self.parts.iter().flatten().flat_map(move |part| keys(part).into_iter().map(|bit| &part.keys[bit as usize]))
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
        assert!(lanes.parts.iter().all(Option::is_none), "an empty part is kept");
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
