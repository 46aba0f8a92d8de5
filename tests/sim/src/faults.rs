//! What goes wrong, drawn from the seed.

use core::time::Duration;

use crate::{
    event::Kind,
    options::Options,
    rng::{Purpose, Rng},
    world::{World, ns},
};

/// The number of kinds of faults.
pub(crate) const FAULTS: usize = 14;

/// A fault that happens at a time, to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An executor dies, and is started again on the same disk.
    NodeCrash,
    /// A machine is lost, and another one takes its name.
    NodeWipe,
    /// A machine does nothing for a while.
    NodeFreeze,
    /// Some machines are cut off.
    Partition,
    /// Some machines are cut off in one direction.
    OneWay,
    /// A connection breaks.
    LinkBreak,
    /// A replica dies.
    ControlCrash,
    /// A replica does nothing for a while, and believes what it believed when it wakes up.
    ControlFreeze,
    /// A replica cannot reach the store.
    StoreCut,
    /// A replica cannot reach any machine.
    Isolation,
    /// The leader's lease ends although it is alive.
    LeaseLoss,
    /// The leader dies when its next transaction is durable, before it can say so to anybody.
    CommitCrash,
    /// The store forgets old revisions.
    Compaction,
    /// The wall clock of a replica is put forward.
    WallStep,
}

impl Fault {
    pub(crate) const ALL: [Self; FAULTS] = [
        Self::NodeCrash,
        Self::NodeWipe,
        Self::NodeFreeze,
        Self::Partition,
        Self::OneWay,
        Self::LinkBreak,
        Self::ControlCrash,
        Self::ControlFreeze,
        Self::StoreCut,
        Self::Isolation,
        Self::LeaseLoss,
        Self::CommitCrash,
        Self::Compaction,
        Self::WallStep,
    ];

    /// Its name in options, traces and totals.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NodeCrash => "node-crash",
            Self::NodeWipe => "node-wipe",
            Self::NodeFreeze => "node-freeze",
            Self::Partition => "partition",
            Self::OneWay => "one-way-partition",
            Self::LinkBreak => "link-break",
            Self::ControlCrash => "control-crash",
            Self::ControlFreeze => "control-freeze",
            Self::StoreCut => "store-cut",
            Self::Isolation => "isolation",
            Self::LeaseLoss => "lease-loss",
            Self::CommitCrash => "commit-crash",
            Self::Compaction => "compaction",
            Self::WallStep => "wall-step",
        }
    }

    /// Most of them in a small world.
    pub(crate) const fn often(self) -> u64 {
        match self {
            Self::NodeCrash | Self::ControlCrash | Self::LinkBreak | Self::Compaction => 4,
            Self::NodeFreeze | Self::Partition => 3,
            Self::NodeWipe
            | Self::OneWay
            | Self::ControlFreeze
            | Self::StoreCut
            | Self::Isolation
            | Self::LeaseLoss
            | Self::CommitCrash
            | Self::WallStep => 2,
        }
    }

    /// Whether it befalls one machine, so that there are more of them where there are more machines.
    pub(crate) const fn is_of_one_node(self) -> bool {
        matches!(self, Self::NodeCrash | Self::NodeWipe | Self::NodeFreeze | Self::LinkBreak)
    }
}

/// A fault of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    name: String,
    pub(crate) at: u64,
    /// How long until it has passed.
    time: u64,
    /// Draws its victims when it happens.
    rng: Rng,
}

/// All faults of a world.
pub(crate) fn plan(options: &Options) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (kind, fault) in Fault::ALL.into_iter().enumerate() {
        for number in 0..options.faults.counts[kind] {
            let name = format!("{}-{number}", fault.name());
            if !options.keeps(&name) {
                continue;
            }
            let mut rng = Rng::new(options.seed, Purpose::Fault, (kind as u64) << 32 | number as u64);
            let at = ns(rng.duration(Duration::ZERO, options.safety));
            let time = ns(rng.duration(Duration::from_millis(1), options.faults.recover_max));
            planned.push(Planned { fault, name, at, time, rng });
        }
    }
    planned
}

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self, at: usize) {
        let Planned { fault, name, time, mut rng, .. } = self.faults[at].clone();
        self.count(fault.name());
        let until = self.now + time;
        let node = rng.index(self.nodes.len());
        // Faults of the control plane mostly hit the leader: the others have nothing to lose.
        let any = rng.index(self.replicas.len());
        let replica = self.store.newest.map_or(any, |leader| leader.replica);
        let whom = if fault.is_of_one_node() { node } else { replica };
        self.trace.line(self.now, format_args!("{name}: {whom} until {} s", crate::trace::Seconds(until)));
        match fault {
            Fault::NodeCrash | Fault::NodeWipe => {
                if self.nodes[node].agent.is_some() {
                    self.node_crash(node, fault == Fault::NodeWipe);
                    self.events.push(until, Kind::NodeRestart { node });
                }
            }
            Fault::NodeFreeze => {
                self.freeze(node, until);
                self.silence(node, time);
            }
            Fault::Partition => self.partition([true, true], until, &mut rng),
            Fault::OneWay => {
                let directions = *rng.pick(&[[true, false], [false, true]]);
                self.partition(directions, until, &mut rng);
            }
            Fault::LinkBreak => {
                if let Some(session) = self.nodes[node].session {
                    self.break_session(session, [true, true]);
                }
            }
            Fault::ControlCrash
            | Fault::ControlFreeze
            | Fault::StoreCut
            | Fault::Isolation
            | Fault::LeaseLoss
            | Fault::CommitCrash
            | Fault::Compaction
            | Fault::WallStep => self.control_fault(fault, replica, until, &mut rng),
        }
    }

    fn control_fault(&mut self, fault: Fault, at: usize, until: u64, rng: &mut Rng) {
        match fault {
            Fault::ControlCrash => self.control_dies(at, until),
            Fault::ControlFreeze => {
                self.replicas[at].frozen_until = until;
                self.hush(at, until - self.now);
            }
            Fault::StoreCut => self.replicas[at].cut_until = until,
            Fault::Isolation => {
                self.replicas[at].isolated_until = until;
                self.hush(at, until - self.now);
            }
            Fault::LeaseLoss => self.lose_lease(),
            Fault::CommitCrash => self.replicas[at].dies_at_commit = true,
            Fault::Compaction => self.store.compacted = self.store.revision,
            Fault::WallStep => {
                self.replicas[at].clock.wall_ahead_ms += rng.range(1, 7_200_000);
                self.replicas[at].clock_set_at = Some(self.now);
            }
            Fault::NodeCrash
            | Fault::NodeWipe
            | Fault::NodeFreeze
            | Fault::Partition
            | Fault::OneWay
            | Fault::LinkBreak => {}
        }
    }

    /// A replica dies, and is started again later.
    pub(crate) fn control_dies(&mut self, at: usize, until: u64) {
        if self.replicas[at].scheduler.is_some() {
            self.control_crash(at);
            self.events.push(until, Kind::ControlRestart { replica: at });
        }
    }

    /// Cuts some nodes off, in one direction or both.
    fn partition(&mut self, directions: [bool; 2], until: u64, rng: &mut Rng) {
        let share = *rng.pick(&[50_000, 300_000, 1_000_000]);
        let one = rng.index(self.nodes.len());
        for at in 0..self.nodes.len() {
            if at != one && !rng.chance(share) {
                continue;
            }
            for (slot, _) in self.nodes[at].blocked.iter_mut().zip(directions).filter(|(_, hit)| *hit) {
                *slot = (*slot).max(until);
            }
            self.silence(at, until - self.now);
        }
    }

    /// The session of a node breaks if the silence outlasts the idle timeout.
    fn silence(&mut self, node: usize, time: u64) {
        if let Some(session) = self.nodes[node].session {
            self.break_if_silent(session, time);
        }
    }

    /// The sessions of a replica break if the silence outlasts the idle timeout.
    fn hush(&mut self, replica: usize, time: u64) {
        for session in self.sessions_of(replica) {
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
