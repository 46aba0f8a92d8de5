//! Runs that wait for a place, in the order in which they are served: by tier and priority, then the namespace with the
//! smallest share, then turns. Classes for which there is no room are left out, and cost nothing.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use weir_wire::{id::RunId, kind::Tier};

use crate::{
    class::{Class, ClassId, ClassKey, Reach},
    fair::{Shares, SpaceId},
    group::Book,
    limits::NODES_FREED_MAX,
    node::Nodes,
    room::Room,
};

/// What is served together: one tier and priority. The smallest is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Band {
    pub(crate) tier: Tier,
    /// 255 − priority, so that the highest comes first.
    pub(crate) rank: u8,
}

impl Band {
    /// The band of a tier and priority.
    pub(crate) const fn new(tier: Tier, priority: u8) -> Self {
        Self { tier, rank: u8::MAX - priority }
    }
}

/// The runs of one namespace in one band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) band: Band,
    pub(crate) space: SpaceId,
}

/// The place of a run in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) lane: Lane,
    /// Drawn anew at each grant, so that runs take turns.
    pub(crate) turn: u64,
}

/// The classes of one lane that are not blocked.
#[derive(Debug, Default)]
struct Heads {
    /// The first turn of each.
    turns: BTreeSet<(u64, ClassId)>,
    /// The share under which the namespace stands in its band.
    share: u64,
}

/// A class that is told of freed nodes; a copy of what it takes, so that few classes have to be looked at.
#[derive(Debug, Clone, Copy)]
struct Sleeper {
    class: ClassId,
    book: Book,
    want: Room,
}

/// All waiting runs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    classes: Vec<Option<Class>>,
    unused: Vec<ClassId>,
    by_key: BTreeMap<ClassKey, ClassId>,
    heads: BTreeMap<Lane, Heads>,
    /// Namespaces with something to serve, by share; no band in it is empty.
    bands: BTreeMap<Band, BTreeSet<(u64, SpaceId)>>,
    sleepers: Vec<Sleeper>,
    next_turn: u64,
}

impl Queue {
    /// The class with this key, for one more run; made on first use.
    pub(crate) fn join_class(&mut self, key: ClassKey, nodes: &mut Nodes) -> ClassId {
        let id = self.by_key.get(&key).copied().unwrap_or_else(|| {
            let class = Class::new(key.clone(), nodes);
            let id = self.unused.pop().unwrap_or_else(|| {
                self.classes.push(None);
                ClassId(u32::try_from(self.classes.len() - 1).expect("fewer classes than runs"))
            });
            self.classes[id.0 as usize] = Some(class);
            self.by_key.insert(key, id);
            id
        });
        self.get_mut(id).runs += 1;
        id
    }

    /// A run of a class has ended.
    pub(crate) fn leave_class(&mut self, id: ClassId) {
        let class = self.get_mut(id);
        assert!(class.runs > 0, "a class is left more often than it was joined");
        class.runs -= 1;
        if class.runs == 0 {
            assert!(class.lanes.is_empty(), "a run that has ended waits");
            let class = self.classes[id.0 as usize].take().expect("it was there");
            self.by_key.remove(&class.key);
            self.sleepers.retain(|sleeper| sleeper.class != id);
            self.unused.push(id);
        }
    }

    /// A class by number; its last run has not ended.
    pub(crate) fn get(&self, id: ClassId) -> &Class {
        self.classes[id.0 as usize].as_ref().expect("classes live as long as their runs")
    }

    /// A class by number; its last run has not ended.
    pub(crate) fn get_mut(&mut self, id: ClassId) -> &mut Class {
        self.classes[id.0 as usize].as_mut().expect("classes live as long as their runs")
    }

    /// All classes.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        let numbered = self.classes.iter().enumerate();
        numbered.filter_map(|(at, class)| Some((ClassId(u32::try_from(at).ok()?), class.as_ref()?)))
    }

    /// Puts a run at the end of its lane.
    pub(crate) fn push(&mut self, class: ClassId, lane: Lane, run: RunId, shares: &Shares) -> Ticket {
        self.next_turn += 1;
        let turn = self.next_turn;
        let entry = self.get_mut(class);
        let waiting = entry.lanes.entry(lane).or_default();
        waiting.insert((turn, run));
        if waiting.len() == 1 && !entry.is_blocked() {
            self.show(lane, turn, class, shares);
        }
        Ticket { lane, turn }
    }

    /// Takes a run out.
    pub(crate) fn remove(&mut self, class: ClassId, ticket: Ticket, run: RunId, shares: &Shares) {
        let Ticket { lane, turn } = ticket;
        let entry = self.get_mut(class);
        let blocked = entry.is_blocked();
        let waiting = entry.lanes.get_mut(&lane).expect("a run holds a ticket and its lane is empty");
        let removed = waiting.remove(&(turn, run));
        assert!(removed, "run {run} holds a ticket and is not in its queue");
        let next = waiting.first().map(|(turn, _)| *turn);
        if next.is_none() {
            entry.lanes.remove(&lane);
        }
        if blocked || next.is_some_and(|next| next < turn) {
            return;
        }
        match next {
            Some(next) => self.advance(lane, turn, next, class, shares),
            None => self.hide(lane, turn, class),
        }
    }

    /// Puts a run behind the others of its lane.
    pub(crate) fn rotate(&mut self, class: ClassId, ticket: Ticket, run: RunId, shares: &Shares) -> Ticket {
        let alone = self.get(class).lanes.get(&ticket.lane).is_some_and(|waiting| waiting.len() == 1);
        if alone && self.heads.get(&ticket.lane).is_none_or(|heads| heads.turns.len() <= 1) {
            return ticket;
        }
        self.remove(class, ticket, run, shares);
        self.push(class, ticket.lane, run, shares)
    }

    /// Enters a class into a lane.
    fn show(&mut self, lane: Lane, turn: u64, class: ClassId, shares: &Shares) {
        let heads = self.heads.entry(lane).or_default();
        if heads.turns.is_empty() {
            heads.share = shares.share(lane.space);
            self.bands.entry(lane.band).or_default().insert((heads.share, lane.space));
        }
        heads.turns.insert((turn, class));
    }

    /// Enters a class under another turn: as if it were taken out of the lane and entered again, but without taking the
    /// lane down.
    fn advance(&mut self, lane: Lane, from: u64, to: u64, class: ClassId, shares: &Shares) {
        let heads = self.heads.get_mut(&lane).expect("a class that is not blocked is in its lane");
        let removed = heads.turns.remove(&(from, class));
        assert!(removed, "a class that is not blocked is missing in its lane");
        let was_alone = heads.turns.is_empty();
        heads.turns.insert((to, class));
        if was_alone {
            self.reorder(lane, shares.share(lane.space));
        }
    }

    /// Takes a class out of a lane.
    fn hide(&mut self, lane: Lane, turn: u64, class: ClassId) {
        let Some(heads) = self.heads.get_mut(&lane) else { return };
        let removed = heads.turns.remove(&(turn, class));
        assert!(removed, "a class that is not blocked is missing in its lane");
        if !heads.turns.is_empty() {
            return;
        }
        let share = heads.share;
        self.heads.remove(&lane);
        if let Some(band) = self.bands.get_mut(&lane.band) {
            band.remove(&(share, lane.space));
            if band.is_empty() {
                self.bands.remove(&lane.band);
            }
        }
    }

    /// Moves a namespace to the place of its share in a band.
    fn reorder(&mut self, lane: Lane, share: u64) {
        let (Some(heads), Some(band)) = (self.heads.get_mut(&lane), self.bands.get_mut(&lane.band)) else {
            return;
        };
        if heads.share != share {
            band.remove(&(heads.share, lane.space));
            band.insert((share, lane.space));
            heads.share = share;
        }
    }

    /// The run that is to be served next, of all classes that are not blocked.
    pub(crate) fn first(&mut self, shares: &mut Shares) -> Option<(ClassId, RunId, Ticket)> {
        for space in shares.take_shrunk() {
            // A namespace that is alone in its band needs no place in an order.
            let bands: Vec<Band> =
                self.bands.iter().filter(|(_, spaces)| spaces.len() > 1).map(|(band, _)| *band).collect();
            bands.into_iter().for_each(|band| self.reorder(Lane { band, space }, shares.share(space)));
        }
        let (band, spaces) = self.bands.first_key_value()?;
        let band = *band;
        let mut space = spaces.first().expect("no band is empty").1;
        // A share that has grown since it was entered is put right when its namespace comes first.
        while spaces_len(&self.bands, band) > 1 {
            let share = shares.share(space);
            let lane = Lane { band, space };
            if self.heads.get(&lane).is_none_or(|heads| heads.share == share) {
                break;
            }
            self.reorder(lane, share);
            space = self.bands.get(&band)?.first()?.1;
        }
        let lane = Lane { band, space };
        let (turn, class) = *self.heads.get(&lane)?.turns.first()?;
        let run = self.get(class).lanes.get(&lane)?.first()?.1;
        Some((class, run, Ticket { lane, turn }))
    }

    /// Whether several namespaces wait in a band.
    pub(crate) fn is_contested(&self, band: Band) -> bool {
        spaces_len(&self.bands, band) > 1
    }

    /// Whether no run but one of a class could be served.
    pub(crate) fn is_alone(&self, class: ClassId) -> bool {
        let mut waiting = self.get(class).lanes.values();
        self.heads.len() == 1
            && self.heads.values().all(|heads| heads.turns.len() == 1)
            && waiting.next().is_some_and(|runs| runs.len() == 1)
            && waiting.next().is_none()
    }

    /// Whether anything could be served.
    pub(crate) fn is_idle(&self) -> bool {
        self.bands.is_empty()
    }

    /// No node has room for a class: it is left out until one gets some.
    pub(crate) fn block(&mut self, id: ClassId) {
        let class = self.get_mut(id);
        assert!(!class.is_blocked(), "a class is blocked twice");
        class.reach = Reach::Freed(Vec::new());
        let sleeper = Sleeper { class: id, book: class.key.book, want: class.key.want() };
        let asleep = core::mem::replace(&mut class.sleeping, true);
        let heads = heads_of(class);
        heads.into_iter().for_each(|(lane, turn)| self.hide(lane, turn, id));
        if !asleep {
            self.sleepers.push(sleeper);
        }
    }

    /// Waiting runs of a tier for which there is no room.
    pub(crate) fn blocked_runs(&self, tier: Tier) -> impl Iterator<Item = RunId> {
        let blocked = self.classes().filter(|(_, class)| class.is_blocked()).flat_map(|(_, class)| &class.lanes);
        blocked.filter(move |(lane, _)| lane.band.tier == tier).flat_map(|(_, runs)| runs).map(|(_, run)| *run)
    }

    /// A node has got room: classes that it has room for search it.
    pub(crate) fn wake(&mut self, slot: usize, nodes: &Nodes, shares: &Shares) {
        let node = nodes.get(slot);
        let rooms = [node.room(Book::Firm), node.room(Book::Slack)];
        let mut at = 0;
        while let Some(Sleeper { class: id, book, want }) = self.sleepers.get(at).copied() {
            at += 1;
            if !rooms[book as usize].takes(&want) {
                continue;
            }
            let class = self.get_mut(id);
            class.update(nodes);
            if !class.admits(nodes, slot) {
                continue;
            }
            let blocked = class.is_blocked();
            let Reach::Freed(slots) = &mut class.reach else { continue };
            if !slots.contains(&slot) {
                slots.push(slot);
            }
            // It is cheaper to search everything than a long list, or than to keep one for nobody.
            if slots.len() > NODES_FREED_MAX || class.lanes.is_empty() {
                class.reach = Reach::All;
                class.sleeping = false;
                at -= 1;
                self.sleepers.swap_remove(at);
            }
            if blocked {
                let heads = heads_of(self.get(id));
                heads.into_iter().for_each(|(lane, turn)| self.show(lane, turn, id, shares));
            }
        }
    }

    /// Shows each run that is served before another one, and those of other namespaces that share its band; without
    /// those that no node could ever run.
    pub(crate) fn ahead_of(&self, ticket: Ticket, nodes: &Nodes, mut show: impl FnMut(Lane, RunId)) {
        for (_, class) in self.classes().filter(|(_, class)| !class.is_hopeless(nodes)) {
            for (lane, waiting) in &class.lanes {
                let concerned = lane.band <= ticket.lane.band;
                let runs =
                    waiting.iter().filter(|(turn, _)| concerned && (*lane != ticket.lane || *turn < ticket.turn));
                runs.for_each(|(_, run)| show(*lane, *run));
            }
        }
    }
}

fn spaces_len(bands: &BTreeMap<Band, BTreeSet<(u64, SpaceId)>>, band: Band) -> usize {
    bands.get(&band).map_or(0, BTreeSet::len)
}

fn heads_of(class: &Class) -> Vec<(Lane, u64)> {
    class.lanes.iter().filter_map(|(lane, waiting)| waiting.first().map(|(turn, _)| (*lane, *turn))).collect()
}
