//! A set of tasks.

/// A set of tasks of one run, one bit each.
pub(crate) struct IndexSet(Vec<u64>);

impl IndexSet {
    /// The empty set for a run of `count` tasks.
    pub(crate) fn new(count: u32) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    /// Whether the task was not there before; an index past the end counts as there.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let Some(word) = self.0.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_there_once() {
        let mut set = IndexSet::new(130);
        for index in [0, 63, 64, 129] {
            assert!(set.insert(index) && !set.insert(index), "{index}");
        }
        assert!(!set.insert(192), "there is no such task");
    }
}
