//! The driver of a real agent: what the executor's daemon does, against a model of the link.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use weir_agent::{Agent, Config, ExitReason, Input, Output};
use weir_wire::{
    codec::Document,
    id::{AttemptId, ClusterName, Digest, GrantSeq, Incarnation, NodeId, RunId, Term},
    kind::Tier,
    message::{RefuseCode, ToControl, ToExecutor},
    outcome::BlobRef,
    resources::Resources,
};

use crate::{
    clock::{Clock, EPSILON_PPM},
    event::{Frame, Kind, Side},
    fold,
    options::Sabotage,
    property::{Check, Property, broken},
    rng::{Rng, mix},
    sandbox::{Running, Spec},
    world::{CLUSTER, World, ns},
};

/// One machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) zone: &'static str,
    pub(crate) pool: Option<&'static str>,
    pub(crate) capacity: Resources,
    pub(crate) lanes_max: u32,
    pub(crate) agent: Option<Agent>,
    /// Counts starts and crashes.
    pub(crate) epoch: u64,
    /// Drawn anew when another machine takes the name.
    pub(crate) installation: u64,
    pub(crate) incarnation: u64,
    /// Another machine has taken the name.
    wiped: bool,
    pub(crate) session: Option<u64>,
    pub(crate) frozen_until: u64,
    /// Until when attempts end that were cancelled, or what they left is uploaded.
    pub(crate) ends_until: u64,
    /// Until when messages to the node, and from it, are held up.
    pub(crate) blocked: [u64; 2],
    pub(crate) armed: u64,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    /// It ignores its lease, or its clock drifts by more than ε.
    pub(crate) exempt: bool,
    /// It lets run what its executor ends when its lease lapses.
    pub(crate) zombie: bool,
    /// It goes on after it was frozen: nothing has happened on it yet.
    pub(crate) thawing: bool,
    /// When a renewal was last answered.
    pub(crate) renewed_at: u64,
    /// It has said what it holds in this session.
    presented: bool,
    /// What runs, by the simulator's own books.
    pub(crate) running: BTreeMap<AttemptId, Running>,
    pub(crate) specs: BTreeMap<RunId, Spec>,
    /// For each grant, one more than the last task of it that was started.
    pub(crate) begun: BTreeMap<(Term, GrantSeq), u32>,
    /// When the sandbox has said everything that it has to say so far.
    pub(crate) told_at: u64,
    /// A measurement is to come.
    pub(crate) measures: bool,
    pub(crate) prepared: BTreeSet<Digest>,
    term: Term,
    /// Grants that were of an older term when they arrived.
    pub(crate) stale: BTreeSet<(Term, GrantSeq)>,
}

impl Node {
    pub(crate) const fn new(
        id: NodeId,
        zone: &'static str,
        (capacity, lanes_max): (Resources, u32),
        clock: Clock,
        rng: Rng,
    ) -> Self {
        Self {
            id,
            zone,
            pool: None,
            capacity,
            lanes_max,
            agent: None,
            epoch: 0,
            installation: 1,
            incarnation: 0,
            wiped: false,
            session: None,
            frozen_until: 0,
            ends_until: 0,
            blocked: [0; 2],
            armed: u64::MAX,
            clock,
            rng,
            exempt: clock.fast_ppm.unsigned_abs() > EPSILON_PPM,
            zombie: false,
            thawing: false,
            renewed_at: 0,
            presented: false,
            running: BTreeMap::new(),
            specs: BTreeMap::new(),
            begun: BTreeMap::new(),
            told_at: 0,
            measures: false,
            prepared: BTreeSet::new(),
            term: Term(0),
            stale: BTreeSet::new(),
        }
    }

    /// What attempts reserve that are revocable, or that are not.
    pub(crate) fn reserved(&self, revocable: bool) -> Resources {
        let of_book = self.running.values().filter(|running| (running.spec.tier == Tier::Revocable) == revocable);
        let sum = |sum: Resources, running: &Running| sum.checked_add(&running.spec.resources).unwrap_or(sum);
        of_book.fold(Resources::default(), sum)
    }
}

impl World {
    /// Starts the executor of a machine.
    pub(crate) fn node_start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let seed = node.rng.next();
        node.epoch += 1;
        node.incarnation += 1;
        let cluster: ClusterName = CLUSTER.parse().expect("a valid name");
        let mut config = Config::new(cluster, node.id.clone(), Incarnation(node.incarnation), node.capacity);
        if self.options.sabotage == Some(Sabotage::IgnoreCapacity) {
            config.capacity.cpu.0 *= 4;
            config.capacity.memory.0 *= 4;
        }
        config.installation = node.installation;
        config.boot = seed;
        let pool = node.pool.map(|pool| ("pool".to_owned(), pool.to_owned()));
        config.attributes = pool.into_iter().chain([("zone".to_owned(), node.zone.to_owned())]).collect();
        config.lanes_max = node.lanes_max;
        config.outbox_len_max = self.options.outbox_len_max();
        node.agent = Some(Agent::new(config, seed));
        node.armed = u64::MAX;
        let epoch = node.epoch;
        self.events.push(self.now, Kind::Connect { node: at, epoch });
    }

    /// Takes everything that is not on disk away from a machine, or that too.
    pub(crate) fn node_crash(&mut self, at: usize, wipe: bool) {
        let running: Vec<AttemptId> = self.nodes[at].running.keys().copied().collect();
        for id in running {
            self.fenced_ends(at, id.task);
        }
        let node = &mut self.nodes[at];
        if wipe {
            node.wiped = true;
            node.installation = node.rng.next();
            node.incarnation = 0;
        }
        node.agent = None;
        node.epoch += 1;
        node.running.clear();
        node.specs.clear();
        node.begun.clear();
        node.told_at = 0;
        node.measures = false;
        node.prepared.clear();
        node.stale.clear();
        node.term = Term(0);
        node.frozen_until = 0;
        if let Some(session) = node.session.take() {
            self.break_session(session, [false, true]);
        }
    }

    /// A message of the control plane has arrived.
    pub(crate) fn node_message(&mut self, at: usize, bytes: &[u8]) -> Check {
        let Ok(message) = ToExecutor::from_bytes(bytes) else {
            return broken(Property::Crash, "a message to an executor does not decode");
        };
        self.trace.bytes(bytes);
        self.trace.line(self.now, format_args!("{} <- {message:?}", self.nodes[at].id));
        let node = &mut self.nodes[at];
        if let ToExecutor::Renewed(_) = &message {
            node.renewed_at = self.now;
        }
        if let ToExecutor::Welcome(welcome) = &message {
            node.term = node.term.max(welcome.term);
            node.presented = false;
        }
        if let ToExecutor::Grant(grant) = &message {
            if !node.presented {
                return broken(Property::Once, format!("{} is granted work before it has said what it holds", node.id));
            }
            if grant.term < node.term {
                node.stale.insert((grant.term, grant.grant));
            }
            node.term = node.term.max(grant.term);
        }
        self.node_input(at, Input::Control(message))
    }

    /// Feeds an agent and carries out what it asks for.
    pub(crate) fn node_input(&mut self, at: usize, input: Input) -> Check {
        let node = &mut self.nodes[at];
        let now = node.clock.now(self.now);
        let Some(agent) = &mut node.agent else { return Ok(()) };
        self.trace.number(now.mono.0);
        self.trace.fold(|out| fold::agent_input(&input, out));
        agent.handle(now, input);
        while let Some(output) = self.nodes[at].agent.as_mut().and_then(Agent::poll_output) {
            self.node_output(at, output)?;
        }
        self.node_check(at)?;
        self.node_arm(at)
    }

    fn node_arm(&mut self, at: usize) -> Check {
        let now = self.now;
        let node = &mut self.nodes[at];
        let Some((deadline, reason)) = node.agent.as_ref().and_then(Agent::poll_deadline) else {
            return Ok(());
        };
        let due = node.clock.due(deadline).max(now);
        if due < node.armed {
            node.armed = due;
            let epoch = node.epoch;
            self.events.push(due, Kind::NodeTick { node: at, epoch, due });
            return self.spins(due, format_args!("agent {at} wants to be woken for {reason:?}"));
        }
        Ok(())
    }

    fn node_output(&mut self, at: usize, output: Output) -> Check {
        self.trace.fold(|out| fold::agent_output(&output, out));
        let node = &mut self.nodes[at];
        let (epoch, session) = (node.epoch, node.session);
        let soon = |rng: &mut Rng| ns(rng.duration(Duration::from_micros(100), Duration::from_millis(30)));
        match output {
            Output::Send(message) => return self.node_send(at, &message),
            Output::Sandbox(command) => return self.node_command(at, command),
            Output::Start(start) => return self.node_attempt(at, start.id, start.ahead),
            Output::FetchModule(digest) => {
                let due = self.now + soon(&mut node.rng);
                self.events.push(due, Kind::Module { node: at, epoch, session, digest });
            }
            Output::FetchPayload { run, blob } => {
                let due = self.now + soon(&mut node.rng);
                self.events.push(due, Kind::Payload { node: at, epoch, session, run, digest: blob.digest });
            }
            Output::Upload { id, part, bytes } => {
                let due = self.now + soon(&mut node.rng);
                node.ends_until = node.ends_until.max(due);
                self.events.push(due, Kind::Upload { node: at, epoch, session, id, part, bytes });
            }
            Output::Disconnect(reason) => {
                self.trace.line(self.now, format_args!("{} leaves: {reason}", self.nodes[at].id));
                if let Some(session) = self.nodes[at].session.take() {
                    self.break_session(session, [false, true]);
                }
                self.connect_later(at);
            }
            // The old machine of this name is not known to be gone: whoever supervises the new one starts it again.
            Output::Exit(ExitReason::Refused { code: RefuseCode::Identity, .. }) if node.wiped => {
                self.count("identity-refusal");
                self.node_crash(at, false);
                let due = self.now + ns(Duration::from_secs(2));
                self.events.push(due, Kind::NodeRestart { node: at });
            }
            Output::Exit(reason) => {
                return broken(Property::Crash, format!("the agent of node {at} exits: {reason}"));
            }
        }
        Ok(())
    }

    fn node_send(&mut self, at: usize, message: &ToControl) -> Check {
        self.trace.line(self.now, format_args!("{} -> {message:?}", self.nodes[at].id));
        self.nodes[at].presented |= matches!(message, ToControl::State(_));
        if let ToControl::Report(report) = message {
            for back in &report.returned {
                let begun = self.nodes[at].begun.get(&(back.term, back.grant)).copied().unwrap_or(0);
                if begun > back.from {
                    let what = format!(
                        "{} gives {} back from {}, and has started more",
                        self.nodes[at].id, back.run, back.from
                    );
                    return broken(Property::Once, what);
                }
            }
        }
        let Some(session) = self.nodes[at].session else { return Ok(()) };
        self.transmit(session, Side::Control, Frame::Message(message.to_bytes()))
    }

    /// The books of the agent itself.
    fn node_check(&self, at: usize) -> Check {
        let node = &self.nodes[at];
        let Some(agent) = &node.agent else { return Ok(()) };
        let stats = agent.stats();
        if !stats.reserved.fits(&stats.capacity) || stats.ranges > node.lanes_max as usize {
            return broken(
                Property::Capacity,
                format!("node {at} holds {} ranges with {}", stats.ranges, stats.reserved),
            );
        }
        if stats.outbox_len > self.options.outbox_len_max() + node.lanes_max as usize {
            return broken(Property::Limits, format!("the outbox of node {at} has {} entries", stats.outbox_len));
        }
        Ok(())
    }

    /// A module has come, or cannot come.
    pub(crate) fn module(&mut self, at: usize, session: Option<u64>, digest: Digest) -> Check {
        let input = match self.fetch(session, &digest) {
            Ok(()) => Input::ModuleStored { digest, path: "module".to_owned() },
            Err(message) => Input::ModuleFailed { digest, message, retry: true },
        };
        self.node_input(at, input)
    }

    /// A payload has come, or cannot come.
    pub(crate) fn payload(&mut self, at: usize, session: Option<u64>, run: RunId, digest: Digest) -> Check {
        let input = match self.fetch(session, &digest) {
            Ok(()) => Input::PayloadReady { run },
            Err(message) => Input::PayloadFailed { run, message, retry: true },
        };
        self.node_input(at, input)
    }

    /// A capture is stored, or cannot be.
    pub(crate) fn upload(
        &mut self,
        at: usize,
        session: Option<u64>,
        id: AttemptId,
        part: weir_agent::Part,
        bytes: Box<[u8]>,
    ) -> Check {
        let alive = session.map(|id| self.session(id)).is_some_and(|session| session.alive && session.open);
        if !alive {
            let message = "the session is gone".to_owned();
            return self.node_input(at, Input::BlobUploadFailed { id, part, bytes, message, retry: true });
        }
        let mut digest = [0; 32];
        for (place, chunk) in bytes.chunks(8).enumerate() {
            let word = chunk.iter().fold(place as u64, |word, byte| mix(word ^ u64::from(*byte)));
            for (slot, byte) in digest[place % 4 * 8..].iter_mut().zip(word.to_le_bytes()) {
                *slot ^= byte;
            }
        }
        let blob = BlobRef { digest: Digest(digest), len: bytes.len() as u64 };
        self.blobs.insert(blob.digest, bytes);
        self.node_input(at, Input::BlobUploaded { id, part, blob })
    }
}
