//! Where the tasks of one run are, as far as the placement of its others is concerned.

use alloc::{boxed::Box, collections::BTreeMap};

use weir_wire::units::Instant;

use crate::fair::SpaceId;

/// What placement keeps about a run.
#[derive(Debug)]
pub(crate) struct Site {
    /// Its namespace.
    pub(crate) space: SpaceId,
    /// The number of its module.
    pub(crate) module: u32,
    /// Grants by node, if that is limited.
    by_node: BTreeMap<usize, u32>,
    /// The number of the attribute over which its grants are spread: kept here, as a run may have ended, and left its
    /// class, while a node still holds a grant of it.
    pub(crate) spread: Option<usize>,
    /// Grants by value of that attribute.
    by_value: BTreeMap<Box<str>, u32>,
    /// Grants on nodes that do not have it.
    without_value: u32,
    /// Nodes that are avoided by a task, until a moment.
    avoided: BTreeMap<u32, (usize, Instant)>,
    /// It waits for its namespace's quota.
    pub(crate) parked: bool,
    /// Since when it has waited without getting anything.
    pub(crate) waiting_since: Option<Instant>,
    /// It was made to give way: it makes no others give way before then.
    pub(crate) meek_until: Instant,
    /// Claims that it has.
    pub(crate) claims: u32,
}

impl Site {
    /// A run without grants.
    pub(crate) const fn new(space: SpaceId, module: u32, spread: Option<usize>) -> Self {
        Self {
            space,
            module,
            spread,
            by_node: BTreeMap::new(),
            by_value: BTreeMap::new(),
            without_value: 0,
            avoided: BTreeMap::new(),
            parked: false,
            waiting_since: None,
            meek_until: Instant(0),
            claims: 0,
        }
    }

    /// Grants on a node; counted only if they are limited.
    pub(crate) fn on_node(&self, slot: usize) -> u32 {
        self.by_node.get(&slot).copied().unwrap_or(0)
    }

    /// Grants on nodes with a value; counted only if they are spread.
    pub(crate) fn with_value(&self, value: Option<&str>) -> u32 {
        value.map_or(self.without_value, |value| self.by_value.get(value).copied().unwrap_or(0))
    }

    /// Counts a grant in, or out.
    pub(crate) fn count_node(&mut self, slot: usize, more: bool) {
        count(&mut self.by_node, slot, more);
    }

    /// Counts a grant in, or out.
    pub(crate) fn count_value(&mut self, value: Option<&str>, more: bool) {
        match value {
            None if more => self.without_value += 1,
            None => self.without_value = self.without_value.saturating_sub(1),
            Some(value) => match self.by_value.get_mut(value) {
                Some(count) if more => *count += 1,
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => drop(self.by_value.remove(value)),
                None if more => drop(self.by_value.insert(value.into(), 1)),
                None => {}
            },
        }
    }

    /// The node that a task had better not go to.
    pub(crate) fn avoided(&self, index: u32, now: Instant) -> Option<usize> {
        if self.avoided.is_empty() {
            return None;
        }
        self.avoided.get(&index).filter(|(_, until)| *until > now).map(|(slot, _)| *slot)
    }

    /// Has a task avoid a node, if there is another one.
    pub(crate) fn avoid(&mut self, index: u32, slot: usize, until: Instant) {
        self.avoided.insert(index, (slot, until));
    }

    /// Forgets what a task avoids.
    pub(crate) fn forgive(&mut self, index: u32) {
        self.avoided.remove(&index);
    }
}

fn count<K: Ord>(map: &mut BTreeMap<K, u32>, key: K, more: bool) {
    if more {
        *map.entry(key).or_default() += 1;
    } else if let Some(count) = map.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            map.remove(&key);
        }
    }
}
