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
    /// Drawn at random when its data directory was made: incarnations count within one installation.
    pub installation: u64,
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
wire_struct!(Hello {
    wire_min,
    wire_max,
    cluster,
    node,
    installation,
    incarnation,
    boot,
    version,
    attributes,
    capacity,
    lanes_max
});

/// A node as it is registered in the store: once, and at each new incarnation or installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub node: NodeId,
    /// The installation that has the name.
    pub installation: u64,
    /// The highest incarnation of that installation.
    pub incarnation: Incarnation,
    /// When it was first seen, Unix milliseconds.
    pub first_seen_ms: u64,
}
wire_struct!(NodeRecord { node, installation, incarnation, first_seen_ms });
