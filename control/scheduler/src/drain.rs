//! Nodes that are emptied: what goes when, and how far it is.

use alloc::vec::Vec;
use core::time::Duration;

use weir_wire::{
    id::NodeId,
    kind::Kind,
    limits::DRAIN_MESSAGE_LEN_MAX,
    message::{Stop, ToExecutor},
    node::Drain,
    task::Reason,
    units::{Instant, Now},
};

use crate::{
    grant::{GrantKey, GrantRef},
    input::RequestId,
    limits,
    node::Node,
    output::RequestError,
    scheduler::{Leading, Scheduler},
    view::{DrainView, KindCounts},
};

impl Scheduler {
    pub(crate) fn drain(&mut self, id: RequestId, node: &NodeId, drain: Drain) -> Result<(), RequestError> {
        if drain.deadline.is_some_and(|deadline| deadline > limits::DRAIN_DEADLINE_MAX) {
            return Err(RequestError::Limit("the deadline of a drain is at most 30 days"));
        }
        if drain.message.len() > DRAIN_MESSAGE_LEN_MAX {
            return Err(RequestError::Limit("the note of a drain has at most 1,024 bytes"));
        }
        let since_ms = self.now.wall_ms;
        self.change_node(id, node, |record| {
            record.cordoned = true;
            let mut drain = Drain { since_ms, ..drain };
            // A deadline that was set holds until another one is named, and counts from where it did.
            if let (None, Some(before)) = (drain.deadline, &record.drain)
                && before.deadline.is_some()
            {
                (drain.deadline, drain.since_ms) = (before.deadline, before.since_ms);
            }
            record.drain = Some(drain);
            Ok(())
        })
    }

    /// A drain began, was changed, or was called off.
    pub(crate) fn drain_changed(&mut self, slot: usize) {
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.arm_drain(slot, now);
        let node = leading.nodes.get_mut(slot);
        node.ops.drained = false;
        if node.record.drain.is_none() {
            // What was asked to end is not called back: it is placed anew.
            node.ops.stops.clear();
        }
        let (on, grants) = (node.record.drain.is_some(), node.grants.len());
        tracing::info!(node.id = %node.id(), on, grants, "drain");
        leading.nodes.update_order(slot);
        self.drain_step(slot);
        self.changed();
    }

    /// The time that drains give to tasks has passed for some nodes.
    pub(crate) fn drain_deadlines(&mut self) {
        while let Some(leading) = self.leading.as_deref_mut()
            && let Some(&(at, slot)) = leading.drains.first()
            && at <= self.now.mono
        {
            leading.drains.pop_first();
            self.drain_step(slot);
        }
    }

    /// Asks what is to leave a node by now, and was not asked yet, to end.
    pub(crate) fn drain_step(&mut self, slot: usize) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot);
        let (Some(session), Some(drain)) = (node.session.filter(|_| node.presented), node.record.drain.as_ref()) else {
            return;
        };
        let left = leading.tasks_of(slot);
        let over = node.ops.drain_until.is_some_and(|at| at <= now);
        let stays = drain.ignore_system;
        let due = |kind: &Kind| match kind {
            Kind::Batch | Kind::Cron(_) | Kind::Function => over,
            Kind::Service(_) => true,
            Kind::System => !stays && left.without_system() == 0,
        };
        let mut stops: Vec<(GrantKey, Stop)> = Vec::new();
        for GrantRef { key, slot } in leading.grants_on(slot) {
            let run = leading.runs.get(&leading.grants.get(slot).run);
            let Some(run) = run.filter(|_| !node.ops.stops.contains(&key)) else { continue };
            if due(&run.job.kind) {
                let (run, grant) = (run.id, Some(key.grant));
                stops.push((key, Stop { run, index: None, grant, reason: Reason::Drained, grace: Duration::ZERO }));
            }
        }
        let done = left.without_system() == 0 && (stays || left.system == 0);
        let node = leading.nodes.get_mut(slot);
        node.ops.stops.extend(stops.iter().map(|(key, _)| *key));
        if done && !core::mem::replace(&mut node.ops.drained, true) {
            tracing::info!(node.id = %node.id(), system = left.system, "node drained");
            self.changed();
        }
        for (_, stop) in stops {
            self.send(session, ToExecutor::Stop(stop));
        }
    }
}

impl Leading {
    /// Sets the deadline of a node's drain: what is left of it by wall-clock time, and never more than all of it.
    pub(crate) fn arm_drain(&mut self, slot: usize, now: Now) {
        let node = self.nodes.get_mut(slot);
        if let Some(old) = node.ops.drain_until.take() {
            self.drains.remove(&(old, slot));
        }
        let Some((length, since_ms)) =
            node.record.drain.as_ref().and_then(|drain| Some((drain.deadline?, drain.since_ms)))
        else {
            return;
        };
        let gone = Duration::from_millis(now.wall_ms.saturating_sub(since_ms));
        let until = now.mono + length.saturating_sub(gone);
        node.ops.drain_until = Some(until);
        self.drains.insert((until, slot));
    }

    /// The tasks in grants of a node, by kind.
    pub(crate) fn tasks_of(&self, slot: usize) -> KindCounts {
        let mut counts = KindCounts::default();
        for grant in self.nodes.get(slot).grants.iter().map(|slot| self.grants.get(*slot)) {
            let Some(run) = self.runs.get(&grant.run) else { continue };
            let left = grant.end.saturating_sub(grant.next);
            match run.job.kind {
                Kind::Batch => counts.batch += left,
                Kind::Service(_) => counts.service += left,
                Kind::Cron(_) => counts.cron += left,
                Kind::System => counts.system += left,
                Kind::Function => counts.function += left,
            }
        }
        counts
    }

    /// How far the drain of a node is.
    pub(crate) fn drain_view(&self, slot: usize, node: &Node, now: Instant) -> Option<DrainView> {
        let drain = node.record.drain.as_ref()?;
        let tasks = self.tasks_of(slot);
        let known = node.presented || node.lost;
        Some(DrainView {
            since_ms: drain.since_ms,
            deadline: drain.deadline,
            left: node.ops.drain_until.map(|until| until.since(now)),
            ignore_system: drain.ignore_system,
            message: drain.message.clone(),
            tasks,
            drained: known && tasks.without_system() == 0 && (drain.ignore_system || tasks.system == 0),
        })
    }
}
