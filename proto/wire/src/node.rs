//! What an executor says about its machine.

use alloc::{string::String, vec::Vec};

use crate::{
    id::{ClusterName, Incarnation, NodeId},
    resources::Resources,
    wire_struct,
};

/// The first message of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Lowest wire version it speaks.
    pub wire_min: u32,
    /// Highest wire version it speaks.
    pub wire_max: u32,
    /// The cluster it wants to join.
    pub cluster: ClusterName,
    /// Its name, the same as in its certificate.
    pub node: NodeId,
    /// The start of its daemon.
    pub incarnation: Incarnation,
    /// Drawn at random when the daemon started: tells a reconnecting daemon from another one with the same name.
    pub boot: u64,
    /// The version of its software.
    pub version: String,
    /// Facts about the machine and labels of its operator, sorted by name.
    pub attributes: Vec<(String, String)>,
    /// What it offers to tasks.
    pub capacity: Resources,
    /// Most attempts that it runs at the same time.
    pub lanes_max: u32,
}
wire_struct!(Hello { wire_min, wire_max, cluster, node, incarnation, boot, version, attributes, capacity, lanes_max });

/// A node as it is registered in the store: once, and at each new incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub node: NodeId,
    /// Its highest incarnation seen.
    pub incarnation: Incarnation,
    /// When it was first seen, Unix milliseconds.
    pub first_seen_ms: u64,
}
wire_struct!(NodeRecord { node, incarnation, first_seen_ms });
