//! The nodes, and the order in which they are filled.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};

use weir_wire::{
    id::{NodeId, RunId},
    node::{Hello, NodeRecord},
    placement::{Constraint, NODE_ATTRIBUTE},
    resources::Resources,
    units::Instant,
};

use crate::{grant::GrantKey, input::SessionId, operate::Operated, queue::ClassKey, view::NodeState};

/// What is to be settled once a node's old outcomes have arrived.
#[derive(Debug)]
pub(crate) struct Reconcile {
    /// All outcomes below this number have to arrive first.
    pub(crate) outbox_next: u64,
    /// Grants with the first task that the node still holds; `None` where it does not hold the grant.
    pub(crate) grants: Vec<(GrantKey, Option<u32>)>,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) record: NodeRecord,
    pub(crate) session: Option<SessionId>,
    /// Its registration is durable and it was welcomed.
    pub(crate) welcomed: bool,
    /// It has presented its full state in this session.
    pub(crate) presented: bool,
    pub(crate) reconcile: Option<Reconcile>,
    /// It said in this session that it is to end.
    pub(crate) draining: bool,
    /// Given up.
    pub(crate) lost: bool,
    pub(crate) boot: u64,
    pub(crate) version: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) capacity: Resources,
    pub(crate) lanes_max: u32,
    pub(crate) reserved: Resources,
    pub(crate) grants: BTreeSet<GrantKey>,
    pub(crate) last_seen: Instant,
    /// When a renewal of it was last answered, by whichever machine has its name.
    pub(crate) renewed_at: Instant,
    /// What its attempts that are not revocable really use; without it, what they reserve counts as used.
    pub(crate) measured: Option<Resources>,
    /// No new grants before then: it just gave one back untouched.
    pub(crate) holdoff: Option<Instant>,
    pub(crate) defined: BTreeSet<RunId>,
    /// The highest outcome number seen in this session.
    pub(crate) seen_through: u64,
    /// Outcome numbers to acknowledge once a batch is durable.
    pub(crate) acks: VecDeque<(u64, u64)>,
    /// A silence deadline is set for it.
    pub(crate) watched: bool,
    /// What its operator and the brake do with it.
    pub(crate) ops: Operated,
    /// Its place in the fill order, while it is there.
    load: Option<u32>,
}

impl Node {
    /// A registered node that has not connected yet.
    pub(crate) const fn registered(record: NodeRecord, now: Instant) -> Self {
        Self {
            record,
            session: None,
            welcomed: false,
            presented: false,
            reconcile: None,
            draining: false,
            lost: false,
            boot: 0,
            version: String::new(),
            attributes: Vec::new(),
            capacity: Resources { cpu: weir_wire::units::CpuMillis(0), memory: weir_wire::units::MemBytes(0) },
            lanes_max: 0,
            reserved: Resources { cpu: weir_wire::units::CpuMillis(0), memory: weir_wire::units::MemBytes(0) },
            grants: BTreeSet::new(),
            last_seen: now,
            renewed_at: Instant(0),
            measured: None,
            holdoff: None,
            defined: BTreeSet::new(),
            seen_through: 0,
            acks: VecDeque::new(),
            watched: false,
            ops: Operated::NONE,
            load: None,
        }
    }

    /// The name.
    pub(crate) const fn id(&self) -> &NodeId {
        &self.record.node
    }

    /// Takes over what an executor says about itself, for a session that begins.
    pub(crate) fn connect(&mut self, session: SessionId, hello: &Hello, now: Instant) {
        self.session = Some(session);
        self.welcomed = false;
        self.presented = false;
        self.reconcile = None;
        self.draining = false;
        self.lost = false;
        self.ops.begin_session();
        self.boot = hello.boot;
        self.version.clone_from(&hello.version);
        self.attributes.clone_from(&hello.attributes);
        self.capacity = hello.capacity;
        self.lanes_max = hello.lanes_max;
        self.last_seen = now;
        self.holdoff = None;
        self.measured = None;
        self.defined.clear();
        self.seen_through = 0;
        self.acks.clear();
    }

    /// Takes the place of a node that was removed.
    fn succeed(&mut self, record: NodeRecord, now: Instant) {
        self.record = record;
        self.ops = Operated::NONE;
        self.draining = false;
        self.lost = false;
        self.boot = 0;
        self.version.clear();
        self.attributes.clear();
        self.last_seen = now;
        self.defined.clear();
    }

    /// Ends the session.
    pub(crate) fn disconnect(&mut self) {
        self.session = None;
        self.welcomed = false;
        self.presented = false;
        self.reconcile = None;
        self.acks.clear();
    }

    /// Whether it may get grants.
    pub(crate) const fn is_ready(&self) -> bool {
        self.session.is_some()
            && self.presented
            && !self.draining
            && !self.record.cordoned
            && !self.lost
            && self.holdoff.is_none()
    }

    /// What is not reserved.
    pub(crate) fn free(&self) -> Resources {
        // Adopted grants may exceed a capacity that was lowered by a restart.
        self.capacity.checked_sub(&self.reserved).unwrap_or_default()
    }

    /// Lanes that are not taken.
    pub(crate) fn lanes_free(&self) -> u32 {
        self.lanes_max.saturating_sub(u32::try_from(self.grants.len()).unwrap_or(u32::MAX))
    }

    /// Whether another task of a class fits.
    pub(crate) fn takes(&self, class: &ClassKey) -> bool {
        self.lanes_free() > 0 && class.resources.fits(&self.free()) && self.matches(&class.constraints)
    }

    /// Whether all constraints hold.
    pub(crate) fn matches(&self, constraints: &[Constraint]) -> bool {
        constraints.iter().all(|constraint| self.satisfies(constraint))
    }

    /// Whether one constraint holds.
    pub(crate) fn satisfies(&self, constraint: &Constraint) -> bool {
        let wanted = |value: &str| constraint.values.iter().any(|wanted| wanted == value);
        self.attribute(&constraint.attribute).is_some_and(wanted)
    }

    /// The value of an attribute; a label of its operator goes before what the machine says.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        if name == NODE_ATTRIBUTE {
            return Some(self.id().as_str());
        }
        let given = self.record.labels.iter().chain(&self.attributes);
        given.into_iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The most filled dimension, in thousandths.
    fn fill(&self) -> u32 {
        let share = |used: u64, of: u64| u32::try_from((used * 1000).checked_div(of).unwrap_or(1000)).unwrap_or(1000);
        let cpu = share(u64::from(self.reserved.cpu.0), u64::from(self.capacity.cpu.0));
        let memory = share(self.reserved.memory.0 >> 10, self.capacity.memory.0 >> 10);
        let lanes = share(self.grants.len() as u64, u64::from(self.lanes_max));
        cpu.max(memory).max(lanes)
    }

    /// The state that people see.
    pub(crate) const fn state(&self) -> NodeState {
        let draining = self.draining || self.record.drain.is_some();
        match (self.lost, self.session.is_some(), draining, self.presented) {
            (true, ..) => NodeState::Lost,
            (false, false, ..) => NodeState::Silent,
            (false, true, true, _) => NodeState::Draining,
            (false, true, false, false) => NodeState::Joining,
            (false, true, false, true) => NodeState::Ready,
        }
    }
}

/// All nodes, by their place in the table.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    table: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    by_session: BTreeMap<SessionId, usize>,
    /// Places of removed nodes, to be used again.
    unused: Vec<usize>,
    /// Ready nodes, least filled first.
    order: BTreeSet<(u32, usize)>,
    /// Counts changes of the set of ready nodes.
    pub(crate) generation: u64,
}

impl Nodes {
    /// Adds a registered node.
    pub(crate) fn register(&mut self, record: NodeRecord, now: Instant) -> usize {
        let slot = self.unused.pop().unwrap_or(self.table.len());
        self.by_id.insert(record.node.clone(), slot);
        match self.table.get_mut(slot) {
            Some(node) => node.succeed(record, now),
            None => self.table.push(Node::registered(record, now)),
        }
        slot
    }

    /// Forgets a node; its place is used again. Nothing refers to it.
    pub(crate) fn remove(&mut self, slot: usize) {
        let node = &mut self.table[slot];
        assert!(node.grants.is_empty() && node.session.is_none(), "a node was removed that holds something");
        node.lost = true;
        node.ops.removed = true;
        self.by_id.remove(&node.record.node);
        self.unused.push(slot);
        self.update_order(slot);
    }

    /// Takes over changed labels of a node.
    pub(crate) fn relabel(&mut self, slot: usize) {
        self.generation += 1;
        self.update_order(slot);
    }

    /// The number of registered nodes.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The place of a node.
    pub(crate) fn slot(&self, node: &NodeId) -> Option<usize> {
        self.by_id.get(node).copied()
    }

    /// The place of the node behind a connection.
    pub(crate) fn of_session(&self, session: SessionId) -> Option<usize> {
        self.by_session.get(&session).copied()
    }

    /// Binds a connection to a node.
    pub(crate) fn bind(&mut self, session: SessionId, slot: usize) {
        self.by_session.insert(session, slot);
    }

    /// Forgets a connection.
    pub(crate) fn unbind(&mut self, session: SessionId) -> Option<usize> {
        self.by_session.remove(&session)
    }

    /// A node.
    pub(crate) fn get(&self, slot: usize) -> &Node {
        &self.table[slot]
    }

    /// A node. [`Nodes::update_order`] is to be called after a change of what it has free.
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Node {
        &mut self.table[slot]
    }

    /// All nodes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.table.iter().filter(|node| !node.ops.removed)
    }

    /// The places of all nodes, by name.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = usize> {
        self.by_id.values().copied()
    }

    /// The number of places, those of removed nodes included.
    pub(crate) const fn len(&self) -> usize {
        self.table.len()
    }

    /// Moves a node to its place in the fill order, or out of it.
    pub(crate) fn update_order(&mut self, slot: usize) {
        let node = &mut self.table[slot];
        let load = node.is_ready().then(|| node.fill());
        if load == node.load {
            return;
        }
        if load.is_some() != node.load.is_some() {
            self.generation += 1;
        }
        if let Some(old) = node.load {
            self.order.remove(&(old, slot));
        }
        if let Some(new) = load {
            self.order.insert((new, slot));
        }
        node.load = load;
    }

    /// Ready nodes, least filled first.
    pub(crate) fn least_filled(&self) -> impl Iterator<Item = usize> {
        self.order.iter().map(|(_, slot)| *slot)
    }
}
