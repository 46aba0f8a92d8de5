//! What happens when: the way from an event to the part of the world that it belongs to.

use weir_agent::Input;

use crate::{
    event::{Kind, Side},
    property::Check,
    world::World,
};

impl World {
    /// Until when the machine that an event belongs to does nothing.
    pub(crate) fn frozen(&self, kind: &Kind) -> Option<u64> {
        let node = |at: &usize| Some(self.nodes[*at].frozen_until);
        let replica = |at: &usize| Some(self.replicas[*at].frozen_until);
        match kind {
            Kind::Deliver { session, to: side, .. } | Kind::Lost { session, side } => {
                let session = self.session(*session);
                match side {
                    Side::Node => node(&session.node),
                    Side::Control => replica(&session.replica),
                }
            }
            Kind::Connect { node: at, .. }
            | Kind::NodeTick { node: at, .. }
            | Kind::Guest { node: at, .. }
            | Kind::Told { node: at, .. }
            | Kind::Module { node: at, .. }
            | Kind::Prepared { node: at, .. }
            | Kind::Payload { node: at, .. }
            | Kind::Upload { node: at, .. }
            | Kind::Measure { node: at, .. } => node(at),
            Kind::ControlTick { replica: at, .. }
            | Kind::Campaign { replica: at, .. }
            | Kind::Instant { replica: at, .. }
            | Kind::Assembled { replica: at, .. }
            | Kind::KeepAlive { replica: at, .. } => replica(at),
            Kind::Answer { call } => self.call_owner(*call).and_then(|at| replica(&at)),
            Kind::Break { .. }
            | Kind::NodeRestart { .. }
            | Kind::Thaw { .. }
            | Kind::ControlRestart { .. }
            | Kind::Expire { .. }
            | Kind::Remove { .. }
            | Kind::Apply { .. }
            | Kind::Wish { .. }
            | Kind::Fault { .. }
            | Kind::Heal
            | Kind::Probe => None,
        }
    }

    /// Whether an event belongs to a start of its machine that is over.
    fn is_stale(&self, kind: &Kind) -> bool {
        match kind {
            Kind::NodeTick { node, epoch, .. }
            | Kind::Thaw { node, epoch }
            | Kind::Guest { node, epoch, .. }
            | Kind::Told { node, epoch, .. }
            | Kind::Module { node, epoch, .. }
            | Kind::Prepared { node, epoch, .. }
            | Kind::Payload { node, epoch, .. }
            | Kind::Upload { node, epoch, .. }
            | Kind::Measure { node, epoch } => self.nodes[*node].epoch != *epoch,
            Kind::ControlTick { replica, epoch, .. }
            | Kind::Campaign { replica, epoch }
            | Kind::Instant { replica, epoch, .. }
            | Kind::Assembled { replica, epoch, .. }
            | Kind::KeepAlive { replica, epoch, .. } => self.replicas[*replica].epoch != *epoch,
            Kind::Deliver { .. }
            | Kind::Break { .. }
            | Kind::Lost { .. }
            | Kind::Connect { .. }
            | Kind::NodeRestart { .. }
            | Kind::ControlRestart { .. }
            | Kind::Expire { .. }
            | Kind::Remove { .. }
            | Kind::Apply { .. }
            | Kind::Answer { .. }
            | Kind::Wish { .. }
            | Kind::Fault { .. }
            | Kind::Heal
            | Kind::Probe => false,
        }
    }

    pub(crate) fn happen(&mut self, kind: Kind) -> Check {
        if self.is_stale(&kind) {
            return Ok(());
        }
        match kind {
            Kind::Deliver { session, to, frame } => self.deliver(session, to, frame),
            Kind::Break { session } => {
                self.break_session(session, [true, true]);
                Ok(())
            }
            Kind::Lost { session, side } => self.lost(session, side),
            Kind::Connect { node, epoch } => self.connect(node, epoch),
            Kind::NodeTick { node, due, .. } => self.node_tick(node, due),
            Kind::NodeRestart { node } => {
                self.node_start(node);
                Ok(())
            }
            Kind::Thaw { node, .. } => self.thaw(node),
            Kind::Guest { node, id, act, .. } => self.guest(node, id, act),
            Kind::Told { node, event, .. } => self.node_input(node, Input::Sandbox(*event)),
            Kind::Module { node, session, digest, .. } => self.module(node, session, digest),
            Kind::Prepared { node, digest, .. } => self.prepared(node, digest),
            Kind::Payload { node, session, run, digest, .. } => self.payload(node, session, run, digest),
            Kind::Upload { node, session, id, part, bytes, .. } => self.upload(node, session, id, part, bytes),
            Kind::Measure { node, .. } => self.measure(node),
            Kind::ControlTick { replica, due, .. } => self.control_tick(replica, due),
            Kind::Instant { replica, question, .. } => self.instant(replica, *question),
            Kind::Assembled { replica, run, well, .. } => self.assembled(replica, run, well),
            Kind::KeepAlive { replica, term, .. } => {
                self.keep_alive(replica, term);
                Ok(())
            }
            Kind::ControlRestart { replica } => {
                self.control_start(replica);
                Ok(())
            }
            Kind::Campaign { replica, .. } => {
                self.campaign(replica);
                Ok(())
            }
            Kind::Expire { term } => {
                self.expire(term);
                Ok(())
            }
            Kind::Remove { term } => {
                self.remove(term);
                Ok(())
            }
            Kind::Apply { call } => self.apply(call),
            Kind::Answer { call } => self.answer(call),
            Kind::Wish { wish } => self.wish(wish),
            Kind::Fault { at } => {
                self.fault(at);
                Ok(())
            }
            Kind::Heal => {
                self.heal();
                Ok(())
            }
            Kind::Probe => self.probe(),
        }
    }

    fn node_tick(&mut self, at: usize, due: u64) -> Check {
        if self.nodes[at].armed != due {
            return Ok(());
        }
        self.nodes[at].armed = u64::MAX;
        self.node_input(at, weir_agent::Input::Tick)
    }

    fn control_tick(&mut self, at: usize, due: u64) -> Check {
        if self.replicas[at].armed != due {
            return Ok(());
        }
        self.replicas[at].armed = u64::MAX;
        self.control_input(at, weir_scheduler::Input::Tick)
    }

    fn heal(&mut self) {
        self.trace.line(self.now, format_args!("no more faults from here on"));
        self.healed = true;
        for replica in &mut self.replicas {
            replica.dies_at_commit = false;
        }
    }

    /// Looks at what can be compared from outside, and whether all is done.
    fn probe(&mut self) -> Check {
        self.events.push(self.now + 1_000_000_000, Kind::Probe);
        self.done = self.healed && self.is_settled();
        self.check_orphans()?;
        self.check_cron()?;
        // Looking at every node costs as much as a simulated second of them.
        let every = 1 + self.nodes.len() as u64 / 100;
        if (self.now / 1_000_000_000).is_multiple_of(every) {
            self.check_soft()?;
            if self.oracle.comparison_is_due(self.store.bytes) {
                self.check_rebuild()?;
            }
        }
        Ok(())
    }
}
