//! The brake: when a large part of the nodes vanishes at once, the fault is rather between them and the control plane than
//! in them, and what they run goes on. Starting it all again elsewhere would do it twice, on nodes that cannot hold it.

use weir_wire::units::Instant;

use crate::{
    config::Config,
    input::RequestId,
    limits,
    node::Node,
    output::{Output, Reply, RequestError},
    scheduler::{Leading, Scheduler},
};

/// The state of the brake.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    /// When it is looked at again; set while it is on.
    pub(crate) check_at: Option<Instant>,
    /// Nodes that are silent beyond their time and are not given up.
    pub(crate) held: usize,
    /// An operator said then that what had vanished is to be replaced.
    released_at: Option<Instant>,
    /// The last count, and when that was: nodes are many, and fall silent together.
    counted: Option<(Instant, Count)>,
}

/// How many nodes have vanished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    vanished: usize,
    of: usize,
}

impl Count {
    /// Whether that is too many for them to have failed one by one.
    fn is_too_many(self, config: &Config) -> bool {
        self.vanished >= config.brake_nodes_min.max(1)
            && self.vanished.saturating_mul(100) > self.of.saturating_mul(config.brake_share_percent as usize)
    }
}

impl Scheduler {
    /// A node has been silent for too long: it is given up, or held while the brake is on.
    pub(crate) fn vanished(&mut self, slot: usize) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if !leading.brake.concerns(leading.nodes.get(slot)) {
            return self.give_up(slot);
        }
        if !leading.brake.is_on() {
            let count = leading.count_vanished(&self.config, now);
            if !count.is_too_many(&self.config) {
                return self.give_up(slot);
            }
            let Count { vanished, of } = count;
            tracing::warn!(
                vanished,
                of,
                "many nodes vanished at once: their work is not replaced until enough are back"
            );
        }
        leading.brake.check_at.get_or_insert(now + limits::BRAKE_CHECK_EVERY);
        leading.brake.held += 1;
        let node = leading.nodes.get_mut(slot);
        node.ops.held = true;
        let session = node.session.take();
        node.disconnect();
        leading.nodes.update_order(slot);
        if let Some(session) = session {
            leading.nodes.unbind(session);
            self.outputs.push_back(Output::Close { session });
        }
        self.changed();
    }

    /// Lets the brake go once enough nodes are back.
    pub(crate) fn check_brake(&mut self) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(at) = leading.brake.check_at else { return };
        let over = leading.brake.held == 0
            || (at <= now && !leading.count_vanished(&self.config, now).is_too_many(&self.config));
        if over {
            self.let_go();
        } else if at <= now {
            leading.brake.check_at = Some(now + limits::BRAKE_CHECK_EVERY);
        }
    }

    pub(crate) fn release_brake(&mut self, id: RequestId) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        if !leading.brake.is_on() {
            return Err(RequestError::Conflict("the brake is not on".into()));
        }
        leading.brake.released_at = Some(self.now.mono);
        leading.brake.counted = None;
        self.let_go();
        if let Some(leading) = self.leading.as_deref_mut() {
            let batch = leading.open_batch();
            batch.replies.push((id, Reply::Done));
            batch.urgent = true;
        }
        Ok(())
    }

    /// Gives up the nodes that were held.
    fn let_go(&mut self) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.brake.check_at = None;
        let held = leading.brake.held;
        tracing::warn!(held, "the brake is off: the work of nodes that are still away is replaced");
        let slots = if held == 0 { 0 } else { leading.nodes.len() };
        for slot in 0..slots {
            if self.leading.as_ref().is_some_and(|leading| leading.nodes.get(slot).ops.held) {
                self.give_up(slot);
            }
        }
        self.changed();
    }
}

impl Brake {
    /// Whether it is on.
    pub(crate) const fn is_on(&self) -> bool {
        self.check_at.is_some()
    }

    /// Whether a node that vanishes counts: not if it was about to leave, or if its loss was accepted.
    fn concerns(&self, node: &Node) -> bool {
        let leaving = node.draining || node.record.drain.is_some();
        !leaving && self.released_at.is_none_or(|released| node.last_seen > released)
    }
}

impl Leading {
    /// A held node is back.
    pub(crate) fn unhold(&mut self, slot: usize) {
        let node = self.nodes.get_mut(slot);
        if core::mem::take(&mut node.ops.held) {
            self.brake.held -= 1;
        }
    }

    /// Counts the nodes that vanished lately, and those that were there before.
    ///
    /// They do not fall silent in step, as each renews at its own time: one that has been silent for half of the timeout
    /// has missed a renewal, and counts when the first one is over its time.
    fn count_vanished(&mut self, config: &Config, now: Instant) -> Count {
        if let Some((at, count)) = self.brake.counted
            && at == now
        {
            return count;
        }
        let mut count = Count { vanished: 0, of: 0 };
        for node in self.nodes.iter().filter(|node| self.brake.concerns(node)) {
            let lately = node.ops.lost_at.is_some_and(|at| now.since(at) < limits::BRAKE_WINDOW);
            let vanished = if node.lost { lately } else { now.since(node.last_seen) >= config.node_timeout / 2 };
            count.of += usize::from(!node.lost || lately);
            count.vanished += usize::from(vanished);
        }
        self.brake.counted = Some((now, count));
        count
    }

    /// The wait after an election is over, unless too many of the registered nodes have not come: what they run is not
    /// known, and the brake keeps it from being started again.
    pub(crate) fn reconciliation_due(&mut self, now: Instant) {
        let missing = self.brake.is_on() && self.nodes.iter().any(|node| node.ops.held);
        if missing {
            self.reconcile_until = Some(now + limits::BRAKE_CHECK_EVERY);
        } else {
            self.end_reconciliation();
        }
    }
}
