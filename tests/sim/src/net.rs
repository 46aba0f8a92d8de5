//! The model of the network: sessions are reliable and ordered, as QUIC streams are, until they break.

use core::time::Duration;
use std::collections::VecDeque;

use weir_wire::{id::RunId, limits::FRAME_LEN_MAX, task::Status};

use crate::{
    event::{Frame, Kind, Side},
    oracle::{Check, Property, broken},
    world::{World, ns},
};

/// One connection of an executor to a replica.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: usize,
    pub(crate) node_epoch: u64,
    pub(crate) replica: usize,
    pub(crate) replica_epoch: u64,
    pub(crate) alive: bool,
    /// The control side has not closed it.
    pub(crate) open: bool,
    pub(crate) greeted: bool,
    /// When the last message to each side arrives: order is kept.
    last: [u64; 2],
    /// Outcomes that the control side has received and not acknowledged: number, run, task, status.
    pub(crate) received: VecDeque<(u64, RunId, u32, Status)>,
}

impl World {
    /// Puts a frame on its way.
    pub(crate) fn transmit(&mut self, id: u64, to: Side, frame: Frame) -> Check {
        if let Frame::Message(bytes) = &frame {
            if bytes.len() > FRAME_LEN_MAX {
                return broken(Property::Limits, format!("a message of {} bytes", bytes.len()));
            }
            self.trace.bytes(to as u64, bytes);
        }
        let net = self.options.net;
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.alive) else {
            return Ok(());
        };
        let mut delay = self.rng.duration(net.delay_min, net.delay_max);
        if !self.healed && self.rng.chance(net.spikes) {
            delay += self.rng.duration(Duration::ZERO, net.spike_max);
        }
        let blocked = self.nodes[session.node].blocked[to as usize];
        let at = (self.now + ns(delay)).max(session.last[to as usize]).max(blocked);
        session.last[to as usize] = at;
        self.events.push(at, Kind::Deliver { session: id, to, frame });
        if !self.healed && self.rng.chance(net.resets) {
            let at = self.now + ns(self.rng.duration(Duration::ZERO, net.delay_max * 2));
            self.events.push(at, Kind::Break { session: id });
        }
        Ok(())
    }

    /// Connects a node to some replica, or tries again later.
    pub(crate) fn connect(&mut self, node: usize, epoch: u64) -> Check {
        let state = &self.nodes[node];
        if state.epoch != epoch || state.agent.is_none() || state.session.is_some() {
            return Ok(());
        }
        let reachable = state.blocked.iter().all(|until| *until <= self.now);
        let replica = usize::try_from(self.rng.below(self.replicas.len() as u64)).unwrap_or(0);
        let target = &self.replicas[replica];
        if !reachable || target.scheduler.is_none() || target.frozen_until > self.now {
            self.connect_later(node);
            return Ok(());
        }
        self.next_session += 1;
        let id = self.next_session;
        let session = Session {
            node,
            node_epoch: epoch,
            replica,
            replica_epoch: target.epoch,
            alive: true,
            open: true,
            greeted: false,
            last: [self.now; 2],
            received: VecDeque::new(),
        };
        self.sessions.insert(id, session);
        self.nodes[node].session = Some(id);
        self.node_input(node, weir_agent::Input::Connected)
    }

    /// Tries to connect after a pause.
    pub(crate) fn connect_later(&mut self, node: usize) {
        let pause = self.rng.duration(Duration::from_millis(20), Duration::from_millis(600));
        let epoch = self.nodes[node].epoch;
        self.events.push(self.now + ns(pause), Kind::Connect { node, epoch });
    }

    /// Ends a session; both sides notice at some time.
    pub(crate) fn break_session(&mut self, id: u64, tell: [bool; 2]) {
        let idle = self.options.net.idle_timeout;
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.alive) else {
            return;
        };
        session.alive = false;
        for (side, told) in [(Side::Node, tell[0]), (Side::Control, tell[1])] {
            // A side hears of it at once, or finds out by silence.
            let late = if self.rng.chance(300_000) { idle } else { Duration::from_millis(30) };
            let after = self.rng.duration(Duration::ZERO, late);
            if told {
                self.events.push(self.now + ns(after), Kind::Lost { session: id, side });
            }
        }
    }

    /// One side notices that its session is gone.
    pub(crate) fn lost(&mut self, id: u64, side: Side) -> Check {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        match side {
            Side::Node => {
                let (node, epoch) = (session.node, session.node_epoch);
                if self.nodes[node].epoch != epoch || self.nodes[node].session != Some(id) {
                    return Ok(());
                }
                self.nodes[node].session = None;
                self.connect_later(node);
                self.node_input(node, weir_agent::Input::Disconnected)
            }
            Side::Control => {
                let (replica, epoch) = (session.replica, session.replica_epoch);
                if self.replicas[replica].epoch != epoch || !session.open {
                    return Ok(());
                }
                session.open = false;
                let session = weir_scheduler::SessionId(id);
                self.control_input(replica, weir_scheduler::Input::NodeDisconnected { session })
            }
        }
    }

    /// A frame has arrived.
    pub(crate) fn deliver(&mut self, id: u64, to: Side, frame: Frame) -> Check {
        let Some(session) = self.sessions.get(&id).filter(|session| session.alive) else {
            return Ok(());
        };
        match to {
            Side::Node => {
                let (node, epoch) = (session.node, session.node_epoch);
                if self.nodes[node].epoch != epoch || self.nodes[node].session != Some(id) {
                    return Ok(());
                }
                match frame {
                    Frame::Message(bytes) => self.node_message(node, &bytes),
                    Frame::Close => {
                        self.break_session(id, [false, true]);
                        self.nodes[node].session = None;
                        self.connect_later(node);
                        self.node_input(node, weir_agent::Input::Disconnected)
                    }
                }
            }
            Side::Control => {
                let (replica, epoch) = (session.replica, session.replica_epoch);
                if self.replicas[replica].epoch != epoch || !session.open {
                    return Ok(());
                }
                match frame {
                    Frame::Message(bytes) => self.control_message(replica, id, &bytes),
                    Frame::Close => Ok(()),
                }
            }
        }
    }
}
