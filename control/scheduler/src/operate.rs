//! What operators ask of nodes: cordon, labels, removal. It is durable before it has an effect.

use alloc::{boxed::Box, collections::BTreeSet, format, string::String, vec::Vec};

use weir_wire::{
    id::NodeId,
    limits::{LABEL_NAME_LEN_MAX, LABEL_VALUE_LEN_MAX, NODE_LABELS_MAX},
    node::NodeRecord,
    placement::{NODE_ATTRIBUTE, WIRE_ATTRIBUTE},
    task::Reason,
    units::Instant,
};

use crate::{
    grant::GrantKey,
    input::RequestId,
    output::{Reply, RequestError},
    scheduler::{Leading, Scheduler},
};

/// What an operator and the brake do with a node.
#[derive(Debug, Default)]
pub(crate) struct Operated {
    /// The newest registration, while its commit is awaited.
    pub(crate) staged: Option<Box<NodeRecord>>,
    /// When the tasks of a drain have had their time.
    pub(crate) drain_until: Option<Instant>,
    /// The end of the drain was noticed.
    pub(crate) drained: bool,
    /// Grants whose tasks were asked to end in this session, because of the drain.
    pub(crate) stops: BTreeSet<GrantKey>,
    /// It is silent beyond its time, and the brake keeps it from being given up.
    pub(crate) held: bool,
    /// When it was given up in this term.
    pub(crate) lost_at: Option<Instant>,
    /// Its place in the table is free.
    pub(crate) removed: bool,
}

impl Operated {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        staged: None,
        drain_until: None,
        drained: false,
        stops: BTreeSet::new(),
        held: false,
        lost_at: None,
        removed: false,
    };

    /// Another session of the node begins.
    pub(crate) fn begin_session(&mut self) {
        self.stops.clear();
        self.lost_at = None;
    }
}

impl Scheduler {
    pub(crate) fn cordon(&mut self, id: RequestId, node: &NodeId, on: bool) -> Result<(), RequestError> {
        self.change_node(id, node, |record| {
            record.cordoned = on;
            if !on {
                record.drain = None;
            }
            Ok(())
        })
    }

    pub(crate) fn label(
        &mut self,
        id: RequestId,
        node: &NodeId,
        labels: Vec<(String, Option<String>)>,
    ) -> Result<(), RequestError> {
        self.change_node(id, node, |record| relabel(record, labels))
    }

    pub(crate) fn remove_node(&mut self, id: RequestId, node: &NodeId) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        let slot = leading.nodes.slot(node).ok_or_else(|| RequestError::NoSuchNode(node.clone()))?;
        let known = leading.nodes.get(slot);
        if known.session.is_some() {
            return Err(RequestError::Conflict("the node is connected; stop its executor first".into()));
        }
        if !known.lost && !known.ops.held {
            let silent = self.now.mono.since(known.last_seen).as_secs();
            let message = format!("the node has been silent for {silent} s only, and may come back; try again soon");
            return Err(RequestError::Conflict(message));
        }
        self.give_up(slot);
        let Some(leading) = self.leading.as_deref_mut() else {
            return Err(RequestError::NotLeader);
        };
        // Another node may take its place in the table, and is not to be taken for it.
        leading.runs.for_each(|run| run.defined_on.remove(slot));
        leading.untell_all(slot);
        leading.nodes.remove(slot);
        leading.node_changed(slot);
        let batch = leading.open_batch();
        batch.delete_node(node.clone());
        batch.replies.push((id, Reply::Done));
        batch.urgent = true;
        tracing::info!(node.id = %node, "node removed");
        self.changed();
        Ok(())
    }

    /// Stages a change of a node's registration; the answer and the effect come once it is durable.
    pub(crate) fn change_node(
        &mut self,
        id: RequestId,
        node: &NodeId,
        change: impl FnOnce(&mut NodeRecord) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        let slot = leading.nodes.slot(node).ok_or_else(|| RequestError::NoSuchNode(node.clone()))?;
        let mut record = leading.nodes.get(slot).newest().clone();
        change(&mut record)?;
        if record != *leading.nodes.get(slot).newest() {
            leading.stage_node(slot, record);
        }
        let batch = leading.open_batch();
        batch.replies.push((id, Reply::Done));
        batch.urgent = true;
        Ok(())
    }

    /// A registration is durable, or its end: it has its effect from here on.
    pub(crate) fn node_committed(&mut self, node: &NodeId, record: Option<NodeRecord>) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        // A node that registered anew after its removal has a record of its own in a later batch.
        let (Some(record), Some(slot)) = (record, leading.nodes.slot(node)) else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.ops.staged.take_if(|staged| **staged == record);
        let relabelled = node.record.labels != record.labels;
        let cordoned = node.record.cordoned != record.cordoned;
        let drain = node.record.drain != record.drain;
        node.record.labels = record.labels;
        node.record.cordoned = record.cordoned;
        node.record.drain = record.drain;
        if relabelled {
            leading.nodes.relabel(slot);
        }
        if drain {
            self.drain_changed(slot);
        }
        if cordoned {
            let on = record.cordoned;
            tracing::info!(node.id = %record.node, on, "node cordoned or uncordoned");
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.node_changed(slot);
        if relabelled || cordoned {
            leading.node_freed(slot);
        }
    }

    /// Gives a node up: its work is replaced, and nobody waits for it any more.
    pub(crate) fn give_up(&mut self, slot: usize) {
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        if node.lost {
            return;
        }
        node.lost = true;
        node.ops.lost_at = Some(now.mono);
        let held = core::mem::take(&mut node.ops.held);
        let session = node.session.take();
        node.disconnect();
        tracing::warn!(node.id = %node.id(), grants = node.grants.len(), "node lost: its work is replaced");
        node.record.gone_ms = Some(now.wall_ms);
        let record = NodeRecord { gone_ms: Some(now.wall_ms), ..node.newest().clone() };
        leading.brake.held -= usize::from(held);
        leading.stage_node(slot, record);
        leading.nodes.update_order(slot);
        if let Some(session) = session {
            leading.nodes.unbind(session);
        }
        self.drop_grants(slot, Reason::NodeLost);
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.node_changed(slot);
        }
        if let Some(session) = session {
            self.outputs.push_back(crate::output::Output::Close { session });
        }
    }
}

impl Leading {
    /// Enters a registration that was stored in an earlier term.
    pub(crate) fn load_node(
        &mut self,
        record: NodeRecord,
        now: weir_wire::units::Now,
        node_timeout: core::time::Duration,
    ) {
        let slot = self.nodes.register(record, now.mono);
        let node = self.nodes.get_mut(slot);
        node.lost = node.record.gone_ms.is_some();
        if !node.lost {
            self.watch(slot, now.mono + node_timeout);
        }
        self.arm_drain(slot, now);
    }

    /// Stages a registration.
    pub(crate) fn stage_node(&mut self, slot: usize, record: NodeRecord) {
        self.nodes.get_mut(slot).ops.staged = Some(Box::new(record.clone()));
        self.open_batch().put_node(record);
    }
}

impl crate::node::Node {
    /// The registration with all changes that wait for their commit.
    pub(crate) fn newest(&self) -> &NodeRecord {
        self.ops.staged.as_deref().unwrap_or(&self.record)
    }
}

/// Sets and removes labels.
fn relabel(record: &mut NodeRecord, labels: Vec<(String, Option<String>)>) -> Result<(), RequestError> {
    for (name, value) in labels {
        check_label(&name, value.as_deref())?;
        record.labels.retain(|(known, _)| *known != name);
        record.labels.extend(value.map(|value| (name, value)));
    }
    if record.labels.len() > NODE_LABELS_MAX {
        return Err(RequestError::Limit("a node has at most 64 labels"));
    }
    record.labels.sort();
    Ok(())
}

fn check_label(name: &str, value: Option<&str>) -> Result<(), RequestError> {
    let named = name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'/'));
    if name.is_empty() || name.len() > LABEL_NAME_LEN_MAX || !named {
        return Err(RequestError::Limit("the name of a label has 1 to 128 letters, digits, and - _ . /"));
    }
    if name == WIRE_ATTRIBUTE {
        let why = "`wire` is the version of the node's session, and cannot be a label";
        return Err(RequestError::Invalid(why.into()));
    }
    if name == NODE_ATTRIBUTE {
        return Err(RequestError::Invalid("`node` is the name of the node, and cannot be a label".into()));
    }
    if value.is_some_and(|value| {
        value.is_empty() || value.len() > LABEL_VALUE_LEN_MAX || value.chars().any(char::is_control)
    }) {
        return Err(RequestError::Limit("the value of a label has 1 to 256 bytes, without control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> NodeRecord {
        NodeRecord {
            node: "n".parse().expect("a valid name"),
            installation: 1,
            incarnation: weir_wire::id::Incarnation(1),
            first_seen_ms: 0,
            cordoned: false,
            drain: None,
            labels: Vec::new(),
            gone_ms: None,
        }
    }

    #[test]
    fn labels_are_set_replaced_and_removed() {
        let mut record = record();
        let set = |name: &str, value: Option<&str>| (String::from(name), value.map(String::from));
        relabel(&mut record, alloc::vec![set("zone", Some("b")), set("disk", Some("ssd"))]).expect("valid");
        relabel(&mut record, alloc::vec![set("zone", Some("a")), set("disk", None), set("none", None)]).expect("valid");
        assert_eq!(record.labels, [("zone".into(), "a".into())]);
    }

    #[test]
    fn labels_are_bounded() {
        let label = |name: &str, value: &str| alloc::vec![(String::from(name), Some(String::from(value)))];
        for (name, value) in [("", "a"), ("a b", "a"), ("node", "a"), ("a", ""), ("a", "\n"), (&"a".repeat(129), "a")] {
            assert!(relabel(&mut record(), label(name, value)).is_err(), "{name:?} {value:?}");
        }
        assert!(relabel(&mut record(), label("a", &"a".repeat(257))).is_err());
        let many = |n: usize| (0..n).map(|at| (format!("l{at}"), Some("x".into()))).collect();
        assert!(relabel(&mut record(), many(64)).is_ok());
        assert_eq!(relabel(&mut record(), many(65)), Err(RequestError::Limit("a node has at most 64 labels")));
    }
}
