//! A placement decision as inert data.

use core::fmt;

use weir_wire::id::RunId;

use crate::class::ClassId;

/// One step of placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Give a range of tasks to a node.
    Grant(PlannedGrant),
    /// No node takes a task of this class; its runs wait until a node changes.
    #[doc(hidden)]
    Block(BlockedClass),
}

/// A class that cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockedClass(pub(crate) ClassId);

/// A range for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGrant {
    /// The run.
    pub run: RunId,
    /// First task.
    pub first: u32,
    /// Number of tasks.
    pub len: u32,
    /// The ordinal of their attempts.
    pub ordinal: u32,
    /// The node, by its place in the node table.
    pub(crate) slot: usize,
    /// It uses room that was claimed for the run.
    pub(crate) claimed: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(grant) => {
                let PlannedGrant { run, first, len, ordinal, slot, .. } = grant;
                write!(f, "grant {run}.{first}+{len} attempt {ordinal} to node {slot}")
            }
            Self::Block(class) => write!(f, "block class {}", class.0.0),
        }
    }
}
