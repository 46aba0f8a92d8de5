//! The world: all machines, the network between them, and the heap of things to come.

use core::{fmt, time::Duration};
use std::collections::BTreeMap;

use weir_scheduler::RequestId;
use weir_wire::{
    id::Digest,
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use crate::{
    client::{Pending, State},
    control::{Call, Replica},
    event::{Event, Events, Kind, Side},
    net::Session,
    node::Node,
    options::Options,
    oracle::{Check, Oracle, Property, Violation, broken},
    rng::Rng,
    store::Store,
    trace::{ErrorWatch, Trace, take_errors},
    workload::{NODE_CPU_MIN, NODE_MEMORY_MIN, Workload, ZONES},
};

/// The name of the simulated cluster.
pub(crate) const CLUSTER: &str = "sim";
/// Wake-ups at one moment after which a core counts as spinning.
const SPINS_MAX: u32 = 2000;

/// A simulated cluster.
#[derive(Debug)]
pub struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) events: Events,
    pub(crate) trace: Trace,
    pub(crate) store: Store,
    pub(crate) blobs: BTreeMap<Digest, Box<[u8]>>,
    pub(crate) oracle: Oracle,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) next_session: u64,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) next_call: u64,
    pub(crate) workload: Workload,
    pub(crate) wishes: Vec<State>,
    /// Wishes with an event to come.
    pub(crate) wish_planned: Vec<bool>,
    pub(crate) jobs_ready: Vec<bool>,
    pub(crate) pending: BTreeMap<RequestId, Pending>,
    pub(crate) next_request: u64,
    pub(crate) healed: bool,
    spins: u32,
    spins_at: u64,
    done: bool,
}

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The broken property, if one was.
    pub violation: Option<Violation>,
    /// Folds everything that happened: the same seed gives the same hash.
    pub hash: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated time, nanoseconds.
    pub time_ns: u64,
    /// Tasks with a recorded outcome.
    pub tasks: u64,
    /// Transactions of the store.
    pub commits: u64,
    /// Terms.
    pub terms: u64,
    /// The trace, if it was asked for.
    pub lines: Vec<String>,
}

/// A duration in nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Unix milliseconds at a simulated time.
pub(crate) const fn wall_ms(now: u64) -> u64 {
    1_700_000_000_000 + now / 1_000_000
}

impl World {
    /// A cluster with everything switched on and nothing done.
    #[must_use]
    pub fn new(options: Options, keep_trace: bool) -> Self {
        let mut rng = Rng::new(options.seed, 3);
        let workload = Workload::draw(&options);
        let store = Store { sabotage: options.sabotage, ..Store::default() };
        let mut world = Self {
            now: 0,
            events: Events::default(),
            trace: Trace::new(keep_trace),
            store,
            blobs: BTreeMap::new(),
            oracle: Oracle::default(),
            replicas: (0..options.replicas).map(|_| replica(&mut rng)).collect(),
            nodes: (0..options.nodes).map(|at| node(&mut rng, at, &options)).collect(),
            sessions: BTreeMap::new(),
            next_session: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            wish_planned: vec![true; workload.wishes.len()],
            wishes: vec![State::Open; workload.wishes.len()],
            jobs_ready: vec![false; workload.jobs.len()],
            workload,
            pending: BTreeMap::new(),
            next_request: 0,
            healed: false,
            spins: 0,
            spins_at: 0,
            done: false,
            rng,
            options,
        };
        world.switch_on();
        world
    }

    fn switch_on(&mut self) {
        for at in 0..self.replicas.len() {
            self.control_start(at);
        }
        for at in 0..self.nodes.len() {
            self.node_start(at);
        }
        self.events.push(0, Kind::Campaign);
        for wish in 0..self.workload.wishes.len() {
            let at = ns(self.workload.wishes[wish].0);
            self.events.push(at, Kind::Wish { wish });
        }
        self.plan_faults();
        self.events.push(ns(self.options.safety), Kind::Heal);
    }

    /// Runs until all work has ended, or a property is broken.
    #[must_use]
    pub fn run(mut self) -> Summary {
        let _ = take_errors();
        let violation = tracing::subscriber::with_default(ErrorWatch, || self.drive()).err();
        let violation = violation.map(|(property, message)| Violation { property, at_ns: self.now, message });
        Summary {
            violation,
            hash: self.trace.hash(),
            events: self.events.made(),
            time_ns: self.now,
            tasks: self.oracle.runs.values().map(|known| u64::from(known.ended)).sum(),
            commits: self.store.head.0,
            terms: self.store.leader.map_or(0, |leader| leader.term.0),
            lines: self.trace.into_lines(),
        }
    }

    fn drive(&mut self) -> Check {
        let end = ns(self.options.safety + self.options.liveness);
        while !self.done {
            let Some(Event { at, kind, .. }) = self.events.pop() else {
                return broken(Property::Ends, "nothing will ever happen again");
            };
            if self.events.made() > self.options.events_max {
                return broken(Property::Fixpoint, format!("endless activity: {}", self.unsettled()));
            }
            if at > end {
                return broken(Property::Ends, self.unsettled());
            }
            if let Some(until) = self.frozen(&kind).filter(|until| *until > at) {
                self.events.push(until, kind);
                continue;
            }
            self.now = at;
            self.trace.number(at);
            self.happen(kind)?;
            if let Some(error) = take_errors().into_iter().next() {
                return broken(Property::Invariant, format!("an ERROR event: {error}"));
            }
        }
        self.check_end()
    }

    /// Until when the machine that an event belongs to does nothing.
    fn frozen(&self, kind: &Kind) -> Option<u64> {
        let node = |at: &usize| Some(self.nodes[*at].frozen_until);
        let replica = |at: &usize| Some(self.replicas[*at].frozen_until);
        match kind {
            Kind::Deliver { session, to: side, .. } | Kind::Lost { session, side } => {
                let session = self.sessions.get(session)?;
                match side {
                    Side::Node => node(&session.node),
                    Side::Control => replica(&session.replica),
                }
            }
            Kind::Connect { node: at, .. }
            | Kind::NodeTick { node: at, .. }
            | Kind::Guest { node: at, .. }
            | Kind::Module { node: at, .. }
            | Kind::Prepared { node: at, .. }
            | Kind::Payload { node: at, .. }
            | Kind::Upload { node: at, .. } => node(at),
            Kind::ControlTick { replica: at, .. }
            | Kind::Loaded { replica: at, .. }
            | Kind::KeepAlive { replica: at, .. } => replica(at),
            Kind::Answer { call } => self.call_owner(*call).and_then(|at| replica(&at)),
            Kind::Break { .. }
            | Kind::NodeRestart { .. }
            | Kind::ControlRestart { .. }
            | Kind::Campaign
            | Kind::Apply { .. }
            | Kind::Wish { .. }
            | Kind::Fault(_)
            | Kind::Heal
            | Kind::Probe => None,
        }
    }

    fn happen(&mut self, kind: Kind) -> Check {
        let is_node = |world: &Self, at: usize, epoch: u64| world.nodes[at].epoch == epoch;
        match kind {
            Kind::Deliver { session, to, frame } => self.deliver(session, to, frame),
            Kind::Break { session } => {
                self.break_session(session, [true, true]);
                Ok(())
            }
            Kind::Lost { session, side } => self.lost(session, side),
            Kind::Connect { node, epoch } => self.connect(node, epoch),
            Kind::NodeTick { node, epoch, due } if is_node(self, node, epoch) && self.nodes[node].armed == due => {
                self.nodes[node].armed = u64::MAX;
                self.node_input(node, weir_agent::Input::Tick)
            }
            Kind::NodeRestart { node } => {
                self.node_start(node);
                Ok(())
            }
            Kind::Guest { node, epoch, id, act } if is_node(self, node, epoch) => self.guest(node, id, act),
            Kind::Module { node, epoch, session, digest } if is_node(self, node, epoch) => {
                self.module(node, session, digest)
            }
            Kind::Prepared { node, epoch, digest } if is_node(self, node, epoch) => self.prepared(node, digest),
            Kind::Payload { node, epoch, session, run, digest } if is_node(self, node, epoch) => {
                self.payload(node, session, run, digest)
            }
            Kind::Upload { node, epoch, session, id, part, bytes } if is_node(self, node, epoch) => {
                self.upload(node, session, id, part, bytes)
            }
            Kind::NodeTick { .. }
            | Kind::Guest { .. }
            | Kind::Module { .. }
            | Kind::Prepared { .. }
            | Kind::Payload { .. }
            | Kind::Upload { .. } => Ok(()),
            Kind::ControlTick { .. }
            | Kind::ControlRestart { .. }
            | Kind::Campaign
            | Kind::Loaded { .. }
            | Kind::KeepAlive { .. }
            | Kind::Apply { .. }
            | Kind::Answer { .. }
            | Kind::Wish { .. }
            | Kind::Fault(_)
            | Kind::Heal
            | Kind::Probe => self.happen_to_control(kind),
        }
    }

    fn happen_to_control(&mut self, kind: Kind) -> Check {
        let is_replica = |world: &Self, at: usize, epoch: u64| world.replicas[at].epoch == epoch;
        match kind {
            Kind::ControlTick { replica, epoch, due }
                if is_replica(self, replica, epoch) && self.replicas[replica].armed == due =>
            {
                self.replicas[replica].armed = u64::MAX;
                self.control_input(replica, weir_scheduler::Input::Tick)
            }
            Kind::Loaded { replica, epoch, term } if is_replica(self, replica, epoch) => self.loaded(replica, term),
            Kind::KeepAlive { replica, epoch, term } if is_replica(self, replica, epoch) => {
                self.keep_alive(replica, epoch, term)
            }
            Kind::ControlRestart { replica } => {
                self.control_start(replica);
                Ok(())
            }
            Kind::Campaign => {
                self.campaign();
                Ok(())
            }
            Kind::Apply { call } => self.apply(call),
            Kind::Answer { call } => self.answer(call),
            Kind::Wish { wish } => self.wish(wish),
            Kind::Fault(fault) => {
                self.fault(fault);
                Ok(())
            }
            Kind::Heal => {
                self.trace.line(self.now, format_args!("no more faults from here on"));
                self.healed = true;
                self.events.push(self.now, Kind::Probe);
                Ok(())
            }
            Kind::Probe => {
                self.done = self.is_settled();
                self.events.push(self.now + 1_000_000_000, Kind::Probe);
                Ok(())
            }
            Kind::ControlTick { .. }
            | Kind::Loaded { .. }
            | Kind::KeepAlive { .. }
            | Kind::Deliver { .. }
            | Kind::Break { .. }
            | Kind::Lost { .. }
            | Kind::Connect { .. }
            | Kind::NodeTick { .. }
            | Kind::NodeRestart { .. }
            | Kind::Guest { .. }
            | Kind::Module { .. }
            | Kind::Prepared { .. }
            | Kind::Payload { .. }
            | Kind::Upload { .. } => Ok(()),
        }
    }

    /// Counts wake-ups that are due at once: a core that always wants another one is in a busy loop.
    pub(crate) fn spins(&mut self, due: u64, who: fmt::Arguments<'_>) -> Check {
        if due > self.now || self.spins_at != self.now {
            self.spins_at = self.now;
            self.spins = 0;
        }
        self.spins += 1;
        if self.spins > SPINS_MAX { broken(Property::Fixpoint, format!("a busy loop: {who}")) } else { Ok(()) }
    }

    /// What a core's own books say is spent may be asked for by a test.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }
}

fn replica(rng: &mut Rng) -> Replica {
    Replica {
        scheduler: None,
        epoch: 0,
        frozen_until: 0,
        cut_until: 0,
        armed: u64::MAX,
        loading: None,
        clock_offset: rng.range(1, 1 << 50),
    }
}

fn node(rng: &mut Rng, at: usize, options: &Options) -> Node {
    let id = format!("n{at}").parse().expect("a valid name");
    let cpu = CpuMillis(rng.range_u32(NODE_CPU_MIN, NODE_CPU_MIN * 8));
    let memory = MemBytes(NODE_MEMORY_MIN * rng.range(1, 8));
    let lanes_max = rng.range_u32(1, options.lanes_max);
    Node::new(id, ZONES[at % ZONES.len()], Resources { cpu, memory }, lanes_max, rng.range(1, 1 << 50))
}
