use std::time::Duration;

use weir_api::{Node, NodeDrain, NodeState, NodeTotals};
use weir_scheduler::{self as scheduler, DrainView, NodeView};
use weir_wire::{limits, resources::Resources, units::Now};

/// The attributes that name a published directory begin with this.
const PUBLISHED_PREFIX: &str = "dir.";

/// A node that is well renews its lease before it has been silent for as long as this.
const SILENT_FROM: Duration = limits::NODE_RENEW_EVERY.saturating_add(Duration::from_millis(500));

/// A node.
pub(crate) fn node(now: Now, view: &NodeView) -> Node {
    let published =
        view.attributes.iter().filter_map(|(name, _)| name.strip_prefix(PUBLISHED_PREFIX)).map(str::to_owned);
    Node {
        id: view.node.to_string(),
        state: state(view.state),
        incarnation: view.incarnation.0,
        published: published.collect(),
        attributes: view.attributes.iter().cloned().collect(),
        labels: view.labels.iter().cloned().collect(),
        cordoned: view.cordoned,
        drain: view.drain.as_ref().map(|drain| self::drain(now, drain)),
        capacity: totals(&view.capacity, view.lanes_max.into()),
        allocated: totals(&view.reserved, view.grants as u64),
        running: view.grants as u64,
        fuel_per_s: view.fuel_per_s,
        last_seen_ms: now.wall_ms.saturating_sub(view.silent_ms),
        silent_ms: Some(view.silent_ms).filter(|ms| Duration::from_millis(*ms) >= SILENT_FROM),
        version: Some(view.version.clone()).filter(|version| !version.is_empty()),
    }
}

fn drain(now: Now, view: &DrainView) -> NodeDrain {
    let until = |left: Duration| now.wall_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    NodeDrain {
        since_ms: view.since_ms,
        until_ms: view.left.map(until),
        ignore_system: view.ignore_system,
        message: view.message.clone(),
        done: view.drained,
    }
}

pub(crate) fn state(state: scheduler::NodeState) -> NodeState {
    match state {
        scheduler::NodeState::Ready => NodeState::Ready,
        scheduler::NodeState::Joining => NodeState::Joining,
        scheduler::NodeState::Draining => NodeState::Draining,
        scheduler::NodeState::Silent => NodeState::Silent,
        scheduler::NodeState::Lost => NodeState::Lost,
    }
}

fn totals(resources: &Resources, slots: u64) -> NodeTotals {
    NodeTotals { cpu_milli: resources.cpu.0.into(), memory_bytes: resources.memory.0, slots }
}
