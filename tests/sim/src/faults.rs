//! What goes wrong, drawn from the seed.

use core::time::Duration;

use crate::{
    event::{Fault, Kind},
    world::{World, ns},
};

impl World {
    /// Draws the times of all faults.
    pub(crate) fn plan_faults(&mut self) {
        let faults = self.options.faults;
        let kinds = [
            (Fault::NodeCrash, faults.node_crashes),
            (Fault::NodeFreeze, faults.node_freezes),
            (Fault::Partition, faults.partitions),
            (Fault::ControlCrash, faults.control_crashes),
            (Fault::ControlFreeze, faults.control_freezes),
            (Fault::StoreCut, faults.store_cuts),
        ];
        for (fault, count) in kinds {
            for _ in 0..count {
                let at = self.rng.duration(Duration::ZERO, self.options.safety);
                self.events.push(ns(at), Kind::Fault(fault));
            }
        }
    }

    /// Something goes wrong.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let time = ns(self.rng.duration(Duration::from_millis(1), self.options.faults.recover_max));
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap_or(0);
        // Faults of the control plane mostly hit the leader: the others have nothing to lose.
        let any = usize::try_from(self.rng.below(self.replicas.len() as u64)).unwrap_or(0);
        let replica = self.store.leader.map_or(any, |leader| leader.replica);
        let until = self.now + time;
        let (label, at) = match fault {
            Fault::NodeCrash | Fault::NodeFreeze | Fault::Partition => ("node", node),
            Fault::ControlCrash | Fault::ControlFreeze | Fault::StoreCut => ("replica", replica),
        };
        self.trace.line(self.now, format_args!("{fault:?} of {label} {at} until {} s", crate::trace::Seconds(until)));
        match fault {
            Fault::NodeCrash => {
                if self.nodes[node].agent.is_some() {
                    self.node_crash(node);
                    self.events.push(until, Kind::NodeRestart { node });
                }
            }
            Fault::NodeFreeze => {
                self.nodes[node].frozen_until = until;
                self.silence(node, time);
            }
            Fault::Partition => self.partition(until, time),
            Fault::ControlCrash => {
                if self.replicas[replica].scheduler.is_some() {
                    self.control_crash(replica);
                    self.events.push(until, Kind::ControlRestart { replica });
                }
            }
            Fault::ControlFreeze => {
                self.replicas[replica].frozen_until = until;
                let ids: Vec<u64> =
                    self.sessions.iter().filter(|(_, s)| s.alive && s.replica == replica).map(|(id, _)| *id).collect();
                for id in ids {
                    self.break_if_silent(id, time);
                }
            }
            Fault::StoreCut => self.replicas[replica].cut_until = until,
        }
    }

    /// Cuts some nodes off, in one direction or both.
    fn partition(&mut self, until: u64, time: u64) {
        let share = *self.rng.pick(&[50_000, 300_000, 1_000_000]);
        let directions = *self.rng.pick(&[[true, true], [true, false], [false, true]]);
        let one = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap_or(0);
        for at in 0..self.nodes.len() {
            if at != one && !self.rng.chance(share) {
                continue;
            }
            for (slot, _) in self.nodes[at].blocked.iter_mut().zip(directions).filter(|(_, hit)| *hit) {
                *slot = (*slot).max(until);
            }
            self.silence(at, time);
        }
    }

    /// The session of a node breaks if the silence outlasts the idle timeout.
    fn silence(&mut self, node: usize, time: u64) {
        if let Some(session) = self.nodes[node].session {
            self.break_if_silent(session, time);
        }
    }

    fn break_if_silent(&mut self, session: u64, time: u64) {
        let idle = ns(self.options.net.idle_timeout);
        if time > idle {
            self.events.push(self.now + idle, Kind::Break { session });
        }
    }
}
