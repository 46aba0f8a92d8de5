//! The scheduler's settings.

use core::time::Duration;

use weir_wire::{id::ClusterName, limits, message::WIRE_MAX};

use crate::limits::{KEEP_ENDED_FOR, KEEP_ENDED_MAX, KEEP_ENDED_MIN, OPEN_TASKS_MAX};

/// How nodes are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Evenly: of two nodes drawn at random, the less filled one.
    #[default]
    Spread,
    /// One after the other, so that others stay empty.
    Pack,
}

/// The scheduler's settings; the same on every replica.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster; executors of another one are refused.
    pub cluster: ClusterName,
    /// A node that is silent for this long is given up and its work is replaced. Default 12 s; it must leave
    /// executors the time to notice a dead connection and to come back, see [`limits::NODE_TIMEOUT`].
    pub node_timeout: Duration,
    /// When more than this share of the nodes vanishes at once, in percent, their work is not replaced until enough of
    /// them come back or an operator says so. Default 30; 100 turns the brake off.
    pub brake_share_percent: u32,
    /// Fewer nodes than this never pull the brake, whatever their share. Default 3.
    pub brake_nodes_min: usize,
    /// How long a renewal holds on an executor. Default 15 s.
    pub lease: Duration,
    /// How often executors renew. Default 4 s.
    pub renew_every: Duration,
    /// How long outcomes are gathered while the cluster is busy. Default 10 ms.
    pub batch_window: Duration,
    /// Work per grant: ranges are as long as this much of smoothed task time. Default 20 ms.
    pub range_target: Duration,
    /// Most tasks that are open in the whole cluster; a submission beyond that is refused. Default 50,000,000, which is
    /// the most.
    pub open_tasks_max: u64,
    /// The newest wire version of sessions. Default: the newest one that there is.
    pub wire_max: u32,
    /// How nodes are filled. Default [`Policy::Spread`].
    pub placement: Policy,
    /// How long production waits for room before it has others make some. Default 1 s.
    pub preempt_delay: Duration,
    /// How long attempts that are to make room may still go on. Default 10 s.
    pub preempt_grace: Duration,
    /// How many ended runs are kept; those that others need in any case, and the newest of each job
    /// while no more than half of [`RUNS_MAX`](crate::limits::RUNS_MAX) are known. Default 100,000.
    pub keep_ended_max: usize,
    /// How long an ended run is kept. Default 7 days.
    pub keep_ended_for: Duration,
    /// How long an ended run is kept however many there are, so that whoever waits for it, or asks again with its
    /// idempotency key, finds it. Default 5 min.
    pub keep_ended_min: Duration,
    /// Check each placement independently, and panic if one is wrong. Default: in debug builds only.
    pub check_plans: bool,
    /// Deltas in the log that start a checkpoint. Default 2,000.
    pub checkpoint_log_len: usize,
    /// Bytes in the log that start a checkpoint. Default 4 MiB.
    pub checkpoint_log_bytes: usize,
}

impl Config {
    /// The defaults for a cluster.
    #[must_use]
    pub const fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            node_timeout: limits::NODE_TIMEOUT,
            lease: weir_wire::limits::NODE_LEASE,
            renew_every: weir_wire::limits::NODE_RENEW_EVERY,
            brake_share_percent: 30,
            brake_nodes_min: 3,
            batch_window: Duration::from_millis(10),
            range_target: Duration::from_millis(20),
            open_tasks_max: OPEN_TASKS_MAX,
            wire_max: WIRE_MAX,
            placement: Policy::Spread,
            preempt_delay: Duration::from_secs(1),
            preempt_grace: Duration::from_secs(10),
            keep_ended_max: KEEP_ENDED_MAX,
            keep_ended_for: KEEP_ENDED_FOR,
            keep_ended_min: KEEP_ENDED_MIN,
            check_plans: cfg!(debug_assertions),
            checkpoint_log_len: 2000,
            checkpoint_log_bytes: 4 << 20,
        }
    }
}
