//! Runs that wait for a place, by equivalence class: what does not fit for one run of a class does not fit for any.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use weir_wire::{id::RunId, placement::Constraint, resources::Resources};

/// A number for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(pub(crate) u32);

/// What all runs of a class have in common, as far as placement is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey {
    pub(crate) resources: Resources,
    pub(crate) constraints: Vec<Constraint>,
}

/// The place of a run in its queue: priority first, then whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    /// 255 − priority, so that the highest comes first.
    pub(crate) rank: u8,
    /// Drawn anew at each grant, so that runs of one priority take turns.
    pub(crate) turn: u64,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) key: ClassKey,
    waiting: BTreeSet<(Ticket, RunId)>,
    /// No node can take another task of this class until one of them changes.
    pub(crate) blocked: bool,
    /// Tasks of this class that all ready nodes could run at the same time, when that was last counted.
    pub(crate) lanes: u32,
    /// The state of the node table for which `lanes` was counted.
    pub(crate) lanes_generation: u64,
}

/// All waiting runs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    classes: Vec<Class>,
    by_key: BTreeMap<ClassKey, ClassId>,
    next_turn: u64,
}

impl Queue {
    /// The class with this key, made on first use.
    pub(crate) fn class(&mut self, key: ClassKey) -> ClassId {
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        let id = ClassId(u32::try_from(self.classes.len()).expect("fewer classes than runs"));
        self.by_key.insert(key.clone(), id);
        self.classes.push(Class { key, waiting: BTreeSet::new(), blocked: false, lanes: 0, lanes_generation: 0 });
        id
    }

    /// A class by number.
    pub(crate) fn get(&self, id: ClassId) -> &Class {
        &self.classes[id.0 as usize]
    }

    /// A class by number.
    pub(crate) fn get_mut(&mut self, id: ClassId) -> &mut Class {
        &mut self.classes[id.0 as usize]
    }

    /// All classes.
    pub(crate) fn classes_mut(&mut self) -> impl Iterator<Item = &mut Class> {
        self.classes.iter_mut()
    }

    /// Puts a run at the end of its priority.
    pub(crate) fn push(&mut self, class: ClassId, priority: u8, run: RunId) -> Ticket {
        self.next_turn += 1;
        let ticket = Ticket { rank: u8::MAX - priority, turn: self.next_turn };
        self.get_mut(class).waiting.insert((ticket, run));
        ticket
    }

    /// Takes a run out.
    pub(crate) fn remove(&mut self, class: ClassId, ticket: Ticket, run: RunId) {
        let removed = self.get_mut(class).waiting.remove(&(ticket, run));
        assert!(removed, "run {run} holds a ticket and is not in its queue");
    }

    /// The run that is to be served next, of all classes that are not blocked.
    pub(crate) fn first(&self) -> Option<(ClassId, RunId)> {
        let mut best: Option<((Ticket, RunId), ClassId)> = None;
        for (at, class) in self.classes.iter().enumerate() {
            let Some(&first) = class.waiting.first() else { continue };
            if !class.blocked && best.is_none_or(|(ticket, _)| first < ticket) {
                best = Some((first, ClassId(u32::try_from(at).unwrap_or(u32::MAX))));
            }
        }
        best.map(|((_, run), class)| (class, run))
    }

    /// The number of runs that are served before one.
    pub(crate) fn ahead_of(&self, ticket: Ticket) -> usize {
        self.classes.iter().map(|class| class.waiting.iter().take_while(|(other, _)| *other < ticket).count()).sum()
    }
}
