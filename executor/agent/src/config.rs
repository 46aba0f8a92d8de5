//! What an agent is told at its start.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    id::{ClusterName, Incarnation, NodeId},
    limits,
    message::{WIRE_MAX, WIRE_MIN},
    resources::Resources,
};

/// The settings of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster it joins.
    pub cluster: ClusterName,
    /// Its name, as its certificate says.
    pub node: NodeId,
    /// Drawn at random once and kept with the count of its starts.
    pub installation: u64,
    /// This start of its daemon.
    pub incarnation: Incarnation,
    /// Drawn at random at the start of the daemon.
    pub boot: u64,
    /// The version of the software.
    pub version: String,
    /// Facts about the machine and labels of its operator; sent sorted by name, at most
    /// [`limits::NODE_ATTRIBUTES_MAX`].
    pub attributes: Vec<(String, String)>,
    /// What it offers to tasks.
    pub capacity: Resources,
    /// Most ranges held at a time, which is the most attempts that run at a time; at most
    /// [`limits::GRANTS_PER_NODE_MAX`].
    pub lanes_max: u32,
    /// Longest wait of an outcome while another report is unacknowledged.
    pub report_interval: Duration,
    /// How long an attempt runs before it is reported as started; shorter ones are known by their outcome alone.
    pub started_after: Duration,
    /// Most unacknowledged outcomes, at most [`limits::OUTBOX_LEN_MAX`]; when it is reached nothing is started.
    pub outbox_len_max: usize,
    /// The newest wire version that it speaks, brought into what this build can. Default: the newest one.
    pub wire_max: u32,
}

impl Config {
    /// A configuration with the defaults: 10 ms report interval, started after 100 ms, 1024 lanes.
    #[must_use]
    pub fn new(cluster: ClusterName, node: NodeId, incarnation: Incarnation, capacity: Resources) -> Self {
        Self {
            cluster,
            node,
            installation: 0,
            incarnation,
            boot: 0,
            version: env!("CARGO_PKG_VERSION").into(),
            attributes: Vec::new(),
            capacity,
            lanes_max: 1024,
            report_interval: Duration::from_millis(10),
            started_after: Duration::from_millis(100),
            outbox_len_max: limits::OUTBOX_LEN_MAX,
            wire_max: WIRE_MAX,
        }
    }

    /// Brings every setting into its range.
    pub(crate) fn clamped(mut self) -> Self {
        self.attributes.sort();
        self.attributes.dedup_by(|a, b| a.0 == b.0);
        self.attributes.truncate(limits::NODE_ATTRIBUTES_MAX);
        let lanes_max = u32::try_from(limits::GRANTS_PER_NODE_MAX).unwrap_or(u32::MAX);
        self.lanes_max = self.lanes_max.min(lanes_max);
        self.outbox_len_max = self.outbox_len_max.clamp(1, limits::OUTBOX_LEN_MAX);
        self.wire_max = self.wire_max.clamp(WIRE_MIN, WIRE_MAX);
        self
    }
}
