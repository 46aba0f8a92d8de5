//! Where tasks may run, and where they had better run.

use alloc::{string::String, vec::Vec};

use crate::{wire_enum, wire_struct};

/// The attribute that stands for a node's name in constraints.
pub const NODE_ATTRIBUTE: &str = "node";
/// The attribute that names the pool that a node is dedicated to.
pub const POOL_ATTRIBUTE: &str = "pool";
/// The attribute that has the wire version of a node's session, where it is above the lowest one.
pub const WIRE_ATTRIBUTE: &str = "wire";

/// The attribute of a node that has room for scratch directories.
pub const SCRATCH_ATTRIBUTE: &str = "scratch";

/// The attribute of a node whose guests may have network access.
pub const NETWORK_ATTRIBUTE: &str = "network";

/// One condition on a node's attributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// The attribute; [`NODE_ATTRIBUTE`] is the node's name.
    pub attribute: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what: one value, several for `In` and `NotIn`, none for `Exists` and `NotExists`.
    pub values: Vec<String>,
}
wire_struct!(Constraint { attribute, operator, values });

impl Constraint {
    /// The attribute has this value.
    #[must_use]
    pub fn equal(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self { attribute: attribute.into(), operator: Operator::Equal, values: alloc::vec![value.into()] }
    }
}

/// How an attribute is compared. A node without the attribute satisfies only the negative ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// Is the value.
    Equal,
    /// Is not the value.
    NotEqual,
    /// Is one of the values.
    In,
    /// Is none of the values.
    NotIn,
    /// Matches a regular expression somewhere.
    Matches,
    /// Compares as a version: dotted numbers.
    Version(Comparison),
    /// Is there.
    Exists,
    /// Is not there.
    NotExists,
}
wire_enum!(Operator {
    1 => Equal, 2 => NotEqual, 3 => In, 4 => NotIn, 5 => Matches, 6 => Version(comparison), 7 => Exists, 8 => NotExists,
});

/// How two versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Another one.
    NotEqual,
    /// Before.
    Less,
    /// Before, or the same.
    LessOrEqual,
    /// After.
    Greater,
    /// After, or the same.
    GreaterOrEqual,
}
wire_enum!(Comparison {
    1 => Equal, 2 => NotEqual, 3 => Less, 4 => LessOrEqual, 5 => Greater, 6 => GreaterOrEqual,
});

/// A preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affinity {
    /// What is preferred, or avoided.
    pub constraint: Constraint,
    /// From −100 to 100, never 0.
    pub weight: i32,
}
wire_struct!(Affinity { constraint, weight });

/// Where the tasks of a job may run, and where they had better run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Placement {
    /// All of them hold.
    pub constraints: Vec<Constraint>,
    /// Preferences; their weights are summed.
    pub affinities: Vec<Affinity>,
    /// The attribute over whose values the tasks of a run are spread evenly.
    pub spread: Option<String>,
    /// Most tasks of one run on one node; 0 means no limit.
    pub max_per_node: u32,
    /// The dedicated pool; nodes of a pool take only its jobs, and its jobs go nowhere else.
    pub pool: Option<String>,
}
wire_struct!(Placement { constraints, affinities, spread, max_per_node, pool });
