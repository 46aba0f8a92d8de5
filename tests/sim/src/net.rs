//! The model of the network: sessions are reliable and ordered, as QUIC streams are, until they break.
//!
//! Loss, duplication and reordering of packets are therefore delays here. What can reach the cores is modelled: a broken
//! connection loses what is under way, or lets it arrive after the next session of the same node has begun, so that a
//! report sent again arrives twice and out of order.

use core::time::Duration;
use std::collections::VecDeque;

use weir_wire::{id::RunId, limits::FRAME_LEN_MAX, task::Status};

use crate::{
    event::{Frame, Kind, Side},
    options::Flip,
    property::{Check, Property, broken},
    rng::{Purpose, Rng},
    store::flip_last_bit,
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
    /// Which sides still take in what arrives.
    hears: [bool; 2],
    /// When the last message to each side arrives: order is kept.
    last: [u64; 2],
    /// Messages under way to each side.
    pub(crate) under_way: [u32; 2],
    /// Outcomes that the control side has received and not acknowledged: number, run, task, status.
    pub(crate) received: VecDeque<(u64, RunId, u32, Status)>,
    pub(crate) rng: Rng,
}

impl World {
    /// The session of this number. Sessions are numbered from 0 and never removed.
    pub(crate) fn session(&self, id: u64) -> &Session {
        &self.sessions[usize::try_from(id).expect("sessions fit into memory")]
    }

    pub(crate) fn session_mut(&mut self, id: u64) -> &mut Session {
        &mut self.sessions[usize::try_from(id).expect("sessions fit into memory")]
    }

    /// The living sessions of a replica.
    pub(crate) fn sessions_of(&self, replica: usize) -> Vec<u64> {
        let living = |id: &u64| self.session(*id).alive && self.session(*id).replica == replica;
        self.nodes.iter().filter_map(|node| node.session).filter(living).collect()
    }

    /// Puts a frame on its way.
    pub(crate) fn transmit(&mut self, id: u64, to: Side, frame: Frame) -> Check {
        if let Frame::Message(bytes) = &frame {
            if bytes.len() > FRAME_LEN_MAX {
                return broken(Property::Limits, format!("a message of {} bytes", bytes.len()));
            }
            self.trace.number(id << 1 | to as u64);
            self.trace.bytes(bytes);
        }
        let net = self.options.net;
        let (now, healed, flip) = (self.now, self.healed, self.options.flip);
        let session = self.session_mut(id);
        if !session.alive {
            return Ok(());
        }
        let (node, replica) = (session.node, session.replica);
        let mut delay = ns(session.rng.duration(Duration::ZERO, net.delay_max));
        let tail = !healed && session.rng.chance(net.spikes);
        if tail {
            delay += ns(session.rng.duration(Duration::ZERO, net.spike_max));
        }
        let reset = !healed && session.rng.chance(net.resets);
        let breaks_at = now + ns(session.rng.duration(Duration::ZERO, net.delay_max * 2));
        self.frames += 1;
        delay += u64::from(flip == Some(Flip::Delay(self.frames)));
        let blocked = self.nodes[node].blocked[to as usize].max(self.replicas[replica].isolated_until);
        let session = self.session_mut(id);
        let at = (now + delay).max(session.last[to as usize]).max(blocked);
        session.last[to as usize] = at;
        session.under_way[to as usize] += 1;
        self.events.push(at, Kind::Deliver { session: id, to, frame });
        if tail {
            self.count("delay-tail");
        }
        if reset {
            self.count("reset");
            self.events.push(breaks_at, Kind::Break { session: id });
        }
        Ok(())
    }

    /// Connects a node to some replica, or tries again later.
    pub(crate) fn connect(&mut self, node: usize, epoch: u64) -> Check {
        let state = &mut self.nodes[node];
        if state.epoch != epoch || state.agent.is_none() || state.session.is_some() {
            return Ok(());
        }
        let reachable = state.blocked.iter().all(|until| *until <= self.now);
        let replica = state.rng.index(self.replicas.len());
        let target = &self.replicas[replica];
        let answers = target.scheduler.is_some() && target.frozen_until.max(target.isolated_until) <= self.now;
        if !reachable || !answers {
            self.connect_later(node);
            return Ok(());
        }
        let id = self.sessions.len() as u64;
        let session = Session {
            node,
            node_epoch: epoch,
            replica,
            replica_epoch: target.epoch,
            alive: true,
            open: true,
            greeted: false,
            hears: [true; 2],
            last: [self.now; 2],
            under_way: [0; 2],
            received: VecDeque::new(),
            rng: Rng::new(self.options.seed, Purpose::Session, id),
        };
        self.sessions.push(session);
        self.nodes[node].session = Some(id);
        self.node_input(node, weir_agent::Input::Connected)
    }

    /// Tries to connect after a pause.
    pub(crate) fn connect_later(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let pause = state.rng.duration(Duration::from_millis(20), Duration::from_millis(600));
        let epoch = state.epoch;
        self.events.push(self.now + ns(pause), Kind::Connect { node, epoch });
    }

    /// Ends a session; the sides that are told notice at some time. What is under way is lost, or still arrives.
    pub(crate) fn break_session(&mut self, id: u64, tell: [bool; 2]) {
        let net = self.options.net;
        let now = self.now;
        let session = self.session_mut(id);
        if !session.alive {
            return;
        }
        session.alive = false;
        self.given.session_ends(id);
        let session = self.session_mut(id);
        let mut notices = Vec::new();
        for (side, told) in [(Side::Node, tell[0]), (Side::Control, tell[1])] {
            // A side hears of it at once, or finds out by silence.
            let late = if session.rng.chance(300_000) { net.idle_timeout } else { Duration::from_millis(30) };
            let after = session.rng.duration(Duration::ZERO, late);
            session.hears[side as usize] = told && session.rng.chance(net.stragglers);
            if told {
                notices.push((now + ns(after), Kind::Lost { session: id, side }));
            }
        }
        for (at, kind) in notices {
            self.events.push(at, kind);
        }
    }

    /// One side notices that its session is gone.
    pub(crate) fn lost(&mut self, id: u64, side: Side) -> Check {
        let session = self.session_mut(id);
        session.hears[side as usize] = false;
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
                session.received = VecDeque::new();
                let (replica, epoch) = (session.replica, session.replica_epoch);
                if self.replicas[replica].epoch != epoch || !std::mem::take(&mut self.session_mut(id).open) {
                    return Ok(());
                }
                let session = weir_scheduler::SessionId(id);
                self.control_input(replica, weir_scheduler::Input::NodeDisconnected { session })
            }
        }
    }

    /// A frame has arrived.
    pub(crate) fn deliver(&mut self, id: u64, to: Side, mut frame: Frame) -> Check {
        self.delivered += 1;
        if let Frame::Message(bytes) = &mut frame
            && self.options.flip == Some(Flip::Frame(self.delivered))
        {
            flip_last_bit(bytes);
        }
        let session = self.session_mut(id);
        session.under_way[to as usize] -= 1;
        if !session.hears[to as usize] {
            return Ok(());
        }
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
                let (replica, epoch, open) = (session.replica, session.replica_epoch, session.open);
                if self.replicas[replica].epoch != epoch || !open {
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
