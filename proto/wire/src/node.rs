//! What an executor says about its machine.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::{
    id::{ClusterName, Digest, Incarnation, NodeId},
    kind::Pairs,
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
    /// Modules that it has compiled; at most [`crate::limits::HELLO_MODULES_MAX`], newest first.
    pub modules: Vec<Digest>,
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
    lanes_max,
    modules
});

/// A node as it is registered in the store: once, at each new incarnation or installation, when its operator changes
/// something, and when it is given up or comes back after that.
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
    /// Its operator wants no new work on it.
    pub cordoned: bool,
    /// It is being emptied, or is empty.
    pub drain: Option<Drain>,
    /// Labels that its operator gave it here, sorted by name; each replaces an attribute of that name.
    pub labels: Pairs,
    /// When it was given up, Unix milliseconds, if it has not come back since: nobody waits for it.
    pub gone_ms: Option<u64>,
}
wire_struct!(NodeRecord { node, installation, incarnation, first_seen_ms, cordoned, drain, labels, gone_ms });

/// How a node is emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// When it was asked for, Unix milliseconds.
    pub since_ms: u64,
    /// How long batch, cron and function tasks may go on; 0 stops them at once. Without one, they may end by themselves.
    pub deadline: Option<Duration>,
    /// System tasks stay.
    pub ignore_system: bool,
    /// The operator's note.
    pub message: String,
}
wire_struct!(Drain { since_ms, deadline, ignore_system, message });
