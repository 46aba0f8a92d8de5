//! The world: all machines, the network between them, and the heap of things to come.

use core::{fmt, time::Duration};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use weir_scheduler::RequestId;
use weir_wire::{
    id::{Digest, TaskId},
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use crate::{
    calls::Call,
    client::{Pending, State},
    clock::{Clock, EPSILON_PPM},
    control::Replica,
    event::{Event, Events, Kind},
    explore,
    faults::{self, Planned},
    fenced::Fenced,
    given::Given,
    jobs::{self, NODE_CPU_MIN, NODE_MEMORY_MIN},
    net::Session,
    node::Node,
    options::Options,
    oracle::Oracle,
    property::{Check, Property, Violation, broken},
    rng::{Purpose, Rng},
    store::Store,
    summary::{Summary, Totals},
    trace::{ErrorWatch, Trace, take_errors},
    workload::Workload,
};

/// The name of the simulated cluster.
pub(crate) const CLUSTER: &str = "sim";
/// Lanes for tasks that last, beside the others.
pub(crate) const LASTING_LANES: u32 = 24;
/// Events a second of one machine that are no sign of anything going on: renewals, and looks at all of it.
const IDLE_EVENTS_MAX: u64 = 20;
/// Wake-ups at one moment after which a core counts as spinning.
const SPINS_MAX: u32 = 2000;

/// A simulated cluster.
#[derive(Debug)]
pub struct World {
    pub(crate) options: Options,
    pub(crate) rng: Streams,
    pub(crate) now: u64,
    pub(crate) events: Events,
    pub(crate) trace: Trace,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) store: Store,
    pub(crate) blobs: BTreeMap<Digest, Box<[u8]>>,
    pub(crate) oracle: Oracle,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sessions: Vec<Session>,
    /// Frames sent and delivered.
    pub(crate) frames: u64,
    pub(crate) delivered: u64,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) next_call: u64,
    /// Leases that were ended.
    pub(crate) revoked: BTreeSet<u64>,
    /// Until when the store breaks what it promised for a lease.
    pub(crate) lease_broken_until: u64,
    pub(crate) faults: Vec<Planned>,
    pub(crate) fenced: Fenced,
    pub(crate) given: Given,
    /// Failures of attempts that count, by task.
    pub(crate) failures: BTreeMap<TaskId, u32>,
    pub(crate) workload: Workload,
    pub(crate) wishes: Vec<State>,
    /// Wishes with an event to come.
    pub(crate) wish_planned: Vec<bool>,
    /// The newest version of each job that was promised; 0 before the first one.
    pub(crate) versions: Vec<u64>,
    pub(crate) pending: BTreeMap<RequestId, Pending>,
    pub(crate) next_request: u64,
    pub(crate) healed: bool,
    pub(crate) done: bool,
    spins: u32,
    spins_at: u64,
}

/// The streams of randomness that belong to no machine.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) store: Rng,
    pub(crate) users: Rng,
}

/// A duration in nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// A cluster with everything switched on and nothing done; it writes a line for all that happens to `sink`.
    #[must_use]
    pub fn new(options: Options, sink: Option<Box<dyn Write>>) -> Self {
        let workload = Workload::draw(&options);
        let store = Store { sabotage: options.sabotage, flip: options.flip, ..Store::default() };
        let stream = |purpose| Rng::new(options.seed, purpose, 0);
        let mut world = Self {
            rng: Streams { store: stream(Purpose::Store), users: stream(Purpose::Users) },
            now: 0,
            events: Events::default(),
            trace: Trace::new(sink),
            counts: BTreeMap::new(),
            store,
            blobs: BTreeMap::new(),
            oracle: Oracle::default(),
            replicas: (0..options.replicas).map(|at| replica(&options, at)).collect(),
            nodes: (0..options.nodes).map(|at| node(&options, at)).collect(),
            sessions: Vec::new(),
            frames: 0,
            delivered: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            revoked: BTreeSet::new(),
            lease_broken_until: 0,
            faults: faults::plan(&options),
            fenced: Fenced::default(),
            given: Given::default(),
            failures: BTreeMap::new(),
            wish_planned: vec![true; workload.wishes.len()],
            wishes: vec![State::Open; workload.wishes.len()],
            versions: vec![0; workload.jobs.len()],
            workload,
            pending: BTreeMap::new(),
            next_request: 0,
            healed: false,
            done: false,
            spins: 0,
            spins_at: 0,
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
        for (wish, (at, _)) in self.workload.wishes.iter().enumerate() {
            self.events.push(ns(*at), Kind::Wish { wish });
        }
        for (at, fault) in self.faults.iter().enumerate() {
            self.events.push(fault.at, Kind::Fault { at });
        }
        self.events.push(ns(self.options.safety), Kind::Heal);
        self.events.push(0, Kind::Probe);
    }

    /// Runs until all work has ended, or a property is broken.
    #[must_use]
    pub fn run(mut self) -> Summary {
        let _ = take_errors();
        let violation = tracing::subscriber::with_default(ErrorWatch, || self.drive()).err();
        let violation = violation.map(|(property, message)| Violation { property, at_ns: self.now, message });
        let totals = Totals {
            worlds: 1,
            node_ms: self.now / 1_000_000 * self.nodes.len() as u64,
            events: self.events.made(),
            messages: self.frames,
            tasks: self.oracle.runs.values().map(|known| u64::from(known.ended)).sum(),
            commits: self.store.head.0,
            counts: self.counts,
        };
        Summary { violation, hash: self.trace.hash(), time_ns: self.now, totals }
    }

    fn drive(&mut self) -> Check {
        let end = ns(self.options.safety + self.options.liveness);
        while !self.done {
            let Some(Event { at, kind, .. }) = self.events.pop() else {
                return broken(Property::Ends, "nothing will ever happen again");
            };
            if at > end || self.events.made() > self.options.events_max {
                return self.unfinished();
            }
            if let Some(until) = self.frozen(&kind).filter(|until| *until > at) {
                self.events.push(until, kind);
                continue;
            }
            self.now = at;
            explore::note_time(at);
            self.happen(kind)?;
            if let Some(error) = take_errors().into_iter().next() {
                return broken(Property::Crash, format!("an ERROR event: {error}"));
            }
        }
        self.check_end()
    }

    /// Too much has happened, or too much time has passed: what is wrong.
    fn unfinished(&self) -> Check {
        let node_seconds = (self.now / 1_000_000_000 + 1) * self.nodes.len() as u64;
        if self.events.made() > self.options.events_max && self.events.made() / node_seconds > IDLE_EVENTS_MAX {
            return broken(Property::Fixpoint, format!("endless activity: {}", self.unsettled()));
        }
        match self.diverged() {
            Some(how) => broken(Property::Converges, how),
            None => broken(Property::Ends, self.unsettled()),
        }
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
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
}

fn replica(options: &Options, at: usize) -> Replica {
    let mut rng = Rng::new(options.seed, Purpose::Replica, at as u64);
    let clock = clock(&mut rng, options.faults.drifting, 0);
    let stream = |purpose| Rng::new(options.seed, purpose, at as u64);
    Replica::new(clock, stream(Purpose::Office), stream(Purpose::Daemon))
}

fn node(options: &Options, at: usize) -> Node {
    let mut rng = Rng::new(options.seed, Purpose::Node, at as u64);
    let id = format!("n{at}").parse().expect("a valid name");
    let cpu = CpuMillis(rng.range_u32(NODE_CPU_MIN, NODE_CPU_MIN * 8));
    let memory = MemBytes(NODE_MEMORY_MIN * rng.range(1, 8));
    // What lasts takes lanes for as long as it does: nothing else would ever run on a machine without further ones.
    let lanes_max = rng.range_u32(1, options.lanes_max) + if options.has_lasting() { LASTING_LANES } else { 0 };
    let clock = clock(&mut rng, options.faults.drifting, options.faults.drifting_far);
    let events = Rng::new(options.seed, Purpose::NodeEvents, at as u64);
    let zombie = rng.chance(options.faults.zombies);
    let mut node = Node::new(id, jobs::zone(at), (Resources { cpu, memory }, lanes_max), clock, events);
    node.zombie = zombie;
    node.pool = jobs::pool(options, at);
    node.exempt |= zombie;
    node
}

/// A clock that starts somewhere, and perhaps runs fast or slow: by up to ε, or on marked machines by far more.
fn clock(rng: &mut Rng, drifting: u64, drifting_far: u64) -> Clock {
    let offset = rng.range(1, 1 << 50);
    let (drifts, far) = (rng.chance(drifting), rng.chance(drifting_far));
    let (low, high) = if far { (EPSILON_PPM * 10, EPSILON_PPM * 80) } else { (0, EPSILON_PPM - 100) };
    let size = i32::try_from(rng.range_u32(low, high)).unwrap_or(0);
    let fast = rng.chance(500_000);
    let fast_ppm = if !(drifts || far) {
        0
    } else if fast {
        size
    } else {
        -size
    };
    Clock { offset, fast_ppm, wall_ahead_ms: 0 }
}
