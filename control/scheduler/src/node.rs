//! The nodes and what each of them has free.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use weir_wire::{
    id::{Digest, NodeId, RunId},
    kind::Tier,
    message::WIRE_MIN,
    node::{Hello, NodeRecord},
    placement::{NODE_ATTRIBUTE, POOL_ATTRIBUTE, WIRE_ATTRIBUTE},
    resources::Resources,
    units::{CpuMillis, Instant, MemBytes},
};

use crate::{
    grant::{GrantRef, GrantSlot},
    group::{Book, Groups, Place, Values},
    input::SessionId,
    limits::{ASKED_ATTRIBUTES_MAX, MEASURED_MARGIN_PERCENT, MODULES_MAX},
    operate::Operated,
    room::Room,
    slab::Slab,
    view::NodeState,
};

/// What is to be settled once a node's old outcomes have arrived.
#[derive(Debug)]
pub(crate) struct Reconcile {
    /// All outcomes below this number have to arrive first.
    pub(crate) outbox_next: u64,
    /// Grants with the first task that the node still holds; `None` where it does not hold the grant.
    pub(crate) grants: Vec<(GrantRef, Option<u32>)>,
}

/// What grants and claims have taken of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Books {
    /// Limits of grants that are not revocable.
    pub(crate) firm: Resources,
    /// Limits of revocable grants.
    pub(crate) revocable: Resources,
    /// Limits of preemptible grants; part of `firm`.
    pub(crate) preemptible: Resources,
    /// Grants that production may evict.
    pub(crate) evictable: u32,
    /// What attempts that are not revocable really used, when that was last reported.
    pub(crate) measured: Option<Resources>,
    /// Limits of grants that are not revocable and came after that report.
    pub(crate) unmeasured: Resources,
    /// Room that is kept for runs that evict others, and lanes.
    pub(crate) claimed: Resources,
    pub(crate) claims: u32,
}

impl Books {
    /// Counts a grant in, or out.
    pub(crate) fn count(&mut self, tier: Tier, resources: &Resources, more: bool) {
        let change = if more { plus } else { minus };
        if tier == Tier::Revocable {
            self.revocable = change(&self.revocable, resources);
        } else {
            self.firm = change(&self.firm, resources);
            self.unmeasured = change(&self.unmeasured, resources);
        }
        if tier == Tier::Preemptible {
            self.preemptible = change(&self.preemptible, resources);
        }
        if tier != Tier::Production {
            self.evictable = if more { self.evictable + 1 } else { self.evictable - 1 };
        }
    }

    /// Keeps room for a run that has others make room, or gives it up.
    pub(crate) fn claim(&mut self, resources: &Resources, more: bool) {
        self.claimed = if more { plus(&self.claimed, resources) } else { minus(&self.claimed, resources) };
        self.claims = if more { self.claims + 1 } else { self.claims - 1 };
    }

    /// What counts as used by tasks that are not revocable.
    pub(crate) fn used(&self) -> Resources {
        let Some(measured) = self.measured else {
            return self.firm;
        };
        let cpu = u64::from(measured.cpu.0) * u64::from(100 + MEASURED_MARGIN_PERCENT) / 100;
        let memory = measured.memory.0 / 100 * u64::from(100 + MEASURED_MARGIN_PERCENT);
        let cpu = u32::try_from(cpu).unwrap_or(u32::MAX).saturating_add(self.unmeasured.cpu.0);
        let memory = memory.saturating_add(self.unmeasured.memory.0);
        Resources { cpu: CpuMillis(cpu.min(self.firm.cpu.0)), memory: MemBytes(memory.min(self.firm.memory.0)) }
    }
}

const NOTHING: Resources = Resources { cpu: CpuMillis(0), memory: MemBytes(0) };

/// The mark of a module: modules may share one, which misleads a preference only.
pub(crate) const fn mark(module: u32) -> u64 {
    1 << (module % u64::BITS)
}

/// The sum, as large as numbers go.
fn plus(one: &Resources, other: &Resources) -> Resources {
    Resources {
        cpu: CpuMillis(one.cpu.0.saturating_add(other.cpu.0)),
        memory: MemBytes(one.memory.0.saturating_add(other.memory.0)),
    }
}

/// The difference, not below nothing.
fn minus(one: &Resources, other: &Resources) -> Resources {
    Resources {
        cpu: CpuMillis(one.cpu.0.saturating_sub(other.cpu.0)),
        memory: MemBytes(one.memory.0.saturating_sub(other.memory.0)),
    }
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
    /// The wire version of its session.
    pub(crate) wire: u32,
    /// Fuel for each second of CPU time of its attempts, once it has said so.
    pub(crate) fuel_per_s: Option<u64>,
    pub(crate) version: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) capacity: Resources,
    pub(crate) lanes_max: u32,
    pub(crate) books: Books,
    /// What it holds; each grant knows its place here.
    pub(crate) grants: Slab<GrantSlot>,
    /// Marks of the modules that it has compiled.
    modules: u64,
    pub(crate) last_seen: Instant,
    /// When a renewal of it was last answered, by whichever machine has its name.
    pub(crate) renewed_at: Instant,
    /// What its attempts that are not revocable really use; without it, what they reserve counts as used.
    pub(crate) measured: Option<Resources>,
    /// No new grants before then: it just gave one back untouched.
    pub(crate) holdoff: Option<Instant>,
    /// Runs that its executor was told in this session, with some that have ended since.
    pub(crate) told: Vec<RunId>,
    /// Those that have not ended.
    pub(crate) told_open: u32,
    /// The highest outcome number seen in this session.
    pub(crate) seen_through: u64,
    /// Outcome numbers to acknowledge once a batch is durable.
    pub(crate) acks: VecDeque<(u64, u64)>,
    /// A silence deadline is set for it.
    pub(crate) watched: bool,
    /// What its operator and the brake do with it.
    pub(crate) ops: Operated,
    /// Its place in the groups, and whether its attributes have changed since it got it.
    place: Option<Place>,
    moved: bool,
    /// It is on the list of nodes that may have got room.
    pub(crate) freed: bool,
    /// What it adds to the totals of the cluster, while it is ready.
    counted: Option<Resources>,
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
            wire: WIRE_MIN,
            fuel_per_s: None,
            version: String::new(),
            attributes: Vec::new(),
            capacity: NOTHING,
            lanes_max: 0,
            books: Books {
                firm: NOTHING,
                revocable: NOTHING,
                preemptible: NOTHING,
                evictable: 0,
                measured: None,
                unmeasured: NOTHING,
                claimed: NOTHING,
                claims: 0,
            },
            grants: Slab::new(),
            modules: 0,
            last_seen: now,
            renewed_at: Instant(0),
            measured: None,
            holdoff: None,
            told: Vec::new(),
            told_open: 0,
            seen_through: 0,
            acks: VecDeque::new(),
            watched: false,
            ops: Operated::NONE,
            place: None,
            moved: false,
            freed: false,
            counted: None,
        }
    }

    /// The name.
    pub(crate) const fn id(&self) -> &NodeId {
        &self.record.node
    }

    /// Takes over what an executor says about itself, for a session that begins.
    pub(crate) fn connect(&mut self, session: SessionId, hello: &Hello, wire_max: u32, now: Instant) {
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
        self.wire = hello.wire_max.min(wire_max);
        self.attributes.retain(|(name, _)| name != WIRE_ATTRIBUTE);
        if self.wire > WIRE_MIN {
            self.attributes.push((WIRE_ATTRIBUTE.into(), alloc::format!("{}", self.wire)));
        }
        self.capacity = hello.capacity;
        self.lanes_max = hello.lanes_max;
        self.books.measured = None;
        self.moved = true;
        self.last_seen = now;
        self.holdoff = None;
        self.measured = None;
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

    /// What is reserved by all grants.
    pub(crate) fn reserved(&self) -> Resources {
        plus(&self.books.firm, &self.books.revocable)
    }

    /// What tasks of one book may still take.
    pub(crate) fn room(&self, book: Book) -> Room {
        let taken = match book {
            Book::Firm => self.books.firm,
            Book::Slack => plus(&self.books.used(), &self.books.revocable),
        };
        let taken = plus(&taken, &self.books.claimed);
        let lanes = u32::try_from(self.grants.len()).unwrap_or(u32::MAX).saturating_add(self.books.claims);
        // Adopted grants may exceed a capacity that was lowered by a restart, and evicted ones a claim.
        Room {
            cpu: self.capacity.cpu.0.saturating_sub(taken.cpu.0),
            lanes: self.lanes_max.saturating_sub(lanes),
            memory: self.capacity.memory.0.saturating_sub(taken.memory.0),
        }
    }

    /// The value of an attribute; a label of its operator goes before what the machine says.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        if name == NODE_ATTRIBUTE {
            return Some(self.id().as_str());
        }
        // What its session can carry is no opinion of an operator.
        let labels = if name == WIRE_ATTRIBUTE { &[][..] } else { &self.record.labels[..] };
        let given = labels.iter().chain(&self.attributes);
        given.into_iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Notes that it compiles a module.
    pub(crate) const fn add_module(&mut self, module: u32) {
        self.modules |= mark(module);
    }

    /// The most filled dimension, in thousandths.
    fn fill(&self) -> u32 {
        self.fill_with(&NOTHING, 0)
    }

    /// The same, if it had some more tasks.
    pub(crate) fn fill_with(&self, task: &Resources, tasks: u32) -> u32 {
        let share = |used: u64, of: u64| u32::try_from((used * 1000).checked_div(of).unwrap_or(1000)).unwrap_or(1000);
        let reserved = self.reserved();
        let more = u64::from(tasks);
        let cpu = share(u64::from(reserved.cpu.0) + u64::from(task.cpu.0) * more, u64::from(self.capacity.cpu.0));
        let memory = share((reserved.memory.0 >> 10) + (task.memory.0 >> 10) * more, self.capacity.memory.0 >> 10);
        let lanes = share(self.grants.len() as u64 + more, u64::from(self.lanes_max));
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
    pub(crate) groups: Groups,
    /// The attributes by whose values nodes are grouped.
    asked: Vec<String>,
    /// Some class looks at the second book.
    slack: bool,
    modules: BTreeMap<Digest, u32>,
    /// Counts changes of the set of ready nodes.
    pub(crate) generation: u64,
    /// What all ready nodes offer together: thousandths of a core, and KiB.
    pub(crate) total_cpu: u64,
    pub(crate) total_memory_kib: u64,
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
        self.table[slot].moved = true;
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

    /// A node. [`Nodes::update_order`] is to be called after a change of what it has free or is ready for.
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

    /// The number of an attribute by which nodes are grouped from here on; `None` if there are too many.
    pub(crate) fn ask(&mut self, attribute: &str) -> Option<usize> {
        if self.asked.is_empty() {
            self.asked.push(POOL_ATTRIBUTE.into());
        }
        if let Some(at) = self.asked.iter().position(|known| known == attribute) {
            return Some(at);
        }
        if self.asked.len() >= ASKED_ATTRIBUTES_MAX {
            return None;
        }
        self.asked.push(attribute.into());
        self.regroup();
        Some(self.asked.len() - 1)
    }

    /// The second book is looked at from here on.
    pub(crate) fn ask_slack(&mut self) {
        if !core::mem::replace(&mut self.slack, true) {
            (0..self.table.len()).for_each(|slot| self.update_order(slot));
        }
    }

    fn regroup(&mut self) {
        self.groups.clear();
        for slot in 0..self.table.len() {
            self.table[slot].place = None;
            self.update_order(slot);
        }
    }

    /// The number of a module; the last one stands for all beyond the limit.
    pub(crate) fn module(&mut self, digest: &Digest) -> u32 {
        if let Some(number) = self.modules.get(digest) {
            return *number;
        }
        let number = u32::try_from(self.modules.len()).unwrap_or(u32::MAX);
        if self.modules.len() < MODULES_MAX {
            self.modules.insert(*digest, number);
        }
        number
    }

    /// Takes over which modules a node has compiled.
    pub(crate) fn set_modules(&mut self, slot: usize, modules: &[Digest]) {
        self.table[slot].modules = modules.iter().fold(0, |marks, digest| marks | mark(self.module(digest)));
    }

    /// Where a node stands in the groups; it has no place before [`Nodes::update_order`] was first called for it.
    pub(crate) fn place(&self, slot: usize) -> Option<Place> {
        self.table[slot].place
    }

    /// Brings what is known about free room up to date with a node.
    pub(crate) fn update_order(&mut self, slot: usize) {
        if self.table[slot].place.is_none() || self.table[slot].moved {
            self.assign(slot);
        }
        let node = &mut self.table[slot];
        let ready = node.is_ready();
        let counted = ready.then_some(node.capacity);
        if counted != node.counted {
            let old = core::mem::replace(&mut node.counted, counted).unwrap_or_default();
            let new = counted.unwrap_or_default();
            self.generation += 1;
            self.total_cpu = self.total_cpu + u64::from(new.cpu.0) - u64::from(old.cpu.0);
            self.total_memory_kib = self.total_memory_kib + (new.memory.0 >> 10) - (old.memory.0 >> 10);
        }
        let node = &self.table[slot];
        let Some(place) = node.place else { return };
        let room = |book| if ready { node.room(book) } else { Room::default() };
        self.groups.set_room(place, Book::Firm, room(Book::Firm));
        if self.slack {
            self.groups.set_room(place, Book::Slack, room(Book::Slack));
        }
        self.groups.set_standing(place, node.fill(), node.modules);
    }

    /// Puts a node into the group of its values.
    fn assign(&mut self, slot: usize) {
        if self.asked.is_empty() {
            self.asked.push(POOL_ATTRIBUTE.into());
        }
        let node = &mut self.table[slot];
        node.moved = false;
        let old = node.place.take();
        let values: Values = self.asked.iter().map(|name| node.attribute(name).map(String::from)).collect();
        if let Some(old) = old {
            if self.groups.get(old.group).values == values {
                self.table[slot].place = Some(old);
                return;
            }
            if let Some(moved) = self.groups.remove(old) {
                self.table[moved].place = Some(old);
            }
        }
        self.table[slot].place = Some(self.groups.add(values, slot));
    }
}
