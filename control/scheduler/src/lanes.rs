//! The live grants of a run.

use alloc::{boxed::Box, vec::Vec};

use crate::grant::GrantSlot;

/// Tasks of a part of [`Lanes`].
const PART: u32 = 64;

/// The live grants of a run by task. Mostly neighbours are held, so that a table of parts is both smaller and faster than
/// a tree; a part takes a quarter of a kilobyte, and goes with the last grant in it.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    parts: Vec<Part>,
    len: u32,
}

#[derive(Debug, Default)]
struct Part {
    /// A bit for each task that is in the table; beside the grants, which are rarely all in the cache.
    held: u64,
    /// There is one if any bit is set.
    grants: Option<Box<[Option<GrantSlot>; PART as usize]>>,
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
    pub(crate) fn insert(&mut self, task: u32, grant: GrantSlot) -> Option<GrantSlot> {
        let (at, bit) = place(task);
        if at >= self.parts.len() {
            self.parts.resize_with(at + 1, Part::default);
        }
        let part = &mut self.parts[at];
        let grants = part.grants.get_or_insert_with(|| Box::new([None; PART as usize]));
        let before = grants[bit as usize].replace(grant);
        part.held |= 1 << bit;
        self.len += u32::from(before.is_none());
        before
    }

    /// Takes a grant out.
    pub(crate) fn remove(&mut self, task: u32) -> Option<GrantSlot> {
        let (at, bit) = place(task);
        let part = self.parts.get_mut(at).filter(|part| part.held & (1 << bit) != 0)?;
        let grant = part.grants.as_mut().and_then(|grants| grants[bit as usize].take());
        part.held &= !(1 << bit);
        self.len -= 1;
        if part.held == 0 {
            part.grants = None;
        }
        grant
    }

    /// The grant under a task, or else under the nearest one before it of at most `reach` tasks.
    pub(crate) fn at_or_before(&self, task: u32, reach: u32) -> Option<GrantSlot> {
        let (last, bit) = place(task);
        let (first, _) = place(task.saturating_sub(reach));
        let mut below = u64::MAX >> (PART - 1 - bit);
        for at in (first..=last).rev() {
            if let Some(part) = self.parts.get(at)
                && part.held & below != 0
            {
                return part.grants.as_ref().and_then(|grants| grants[(part.held & below).ilog2() as usize]);
            }
            below = u64::MAX;
        }
        None
    }

    /// All grants, in the order of their tasks.
    pub(crate) fn values(&self) -> impl Iterator<Item = GrantSlot> {
        self.parts.iter().filter_map(|part| part.grants.as_deref()).flatten().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn lanes_hold_what_a_map_holds() {
        let mut rng = Rng::new(5, 9);
        let (mut lanes, mut map) = (Lanes::default(), BTreeMap::new());
        for step in 0..20_000 {
            let task = u32::try_from(rng.below(1000)).expect("small");
            let grant = GrantSlot::new(step);
            if rng.below(3) == 0 {
                assert_eq!(lanes.insert(task, grant), map.insert(task, grant));
            } else {
                assert_eq!(lanes.remove(task), map.remove(&task));
            }
            let task = u32::try_from(rng.below(1000)).expect("small");
            let near = map.range(..=task).next_back().map(|(_, grant)| *grant);
            assert_eq!(lanes.at_or_before(task, u32::MAX), near);
            assert_eq!(lanes.len() as usize, map.len());
        }
        assert!(lanes.values().eq(map.values().copied()));
        assert!(map.keys().all(|task| lanes.remove(*task).is_some()));
        assert!(lanes.parts.iter().all(|part| part.grants.is_none()), "an empty part is kept");
    }

    #[test]
    fn a_far_grant_is_not_looked_for() {
        let mut lanes = Lanes::default();
        let grant = GrantSlot::new(1);
        lanes.insert(10, grant);
        assert_eq!((lanes.at_or_before(9, 9), lanes.at_or_before(10, 0)), (None, Some(grant)));
        assert_eq!((lanes.at_or_before(200, 10), lanes.at_or_before(200, 190)), (None, Some(grant)));
    }
}
