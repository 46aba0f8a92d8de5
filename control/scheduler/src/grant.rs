//! Grants that nodes hold. They are never stored: the executors are the truth for what is running.

use weir_wire::id::{GrantSeq, RunId, Term};

/// The identity of a grant over all terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl Grant {
    /// Whether a report about this task of this run from this node speaks for the grant.
    pub(crate) fn covers(&self, run: RunId, node: usize, index: u32) -> bool {
        self.run == run && self.node == node && (self.next..self.end).contains(&index)
    }
}
