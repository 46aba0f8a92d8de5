//! A placement decision as inert data.

use core::fmt;

use weir_wire::id::{NodeId, RunId};

use crate::queue::ClassId;

/// One step of placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Give a range of tasks to a node.
    Grant(PlannedGrant),
    /// No node takes a task of this class; its runs wait until a node changes.
    #[doc(hidden)]
    Block(BlockedClass),
    /// Nothing waits that could be placed.
    Idle,
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
    /// The node's name.
    pub node: NodeId,
    pub(crate) slot: usize,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(grant) => {
                let PlannedGrant { run, first, len, ordinal, node, .. } = grant;
                write!(f, "grant {run}.{first}+{len} attempt {ordinal} to {node}")
            }
            Self::Block(class) => write!(f, "block class {}", class.0.0),
            Self::Idle => f.write_str("idle"),
        }
    }
}
