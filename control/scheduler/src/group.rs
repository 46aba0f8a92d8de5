//! Nodes grouped by the values of the attributes that jobs ask about: constraints are evaluated once per group.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::room::{Room, Tree};

/// The values of the asked attributes, in the order in which they were first asked about.
pub(crate) type Values = Vec<Option<String>>;

/// Which of a node's two books a task is entered into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Book {
    /// Limits of tasks that are not revocable.
    Firm,
    /// What these do not use, and limits of revocable tasks.
    Slack,
}

/// Where a node stands in the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: usize,
    pub(crate) leaf: usize,
}

/// Nodes with the same values.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) values: Values,
    /// The nodes, by leaf.
    pub(crate) slots: Vec<usize>,
    firm: Tree,
    slack: Tree,
    /// How filled each node is, thousandths, and the marks of its modules, by leaf.
    standing: Vec<(u32, u64)>,
}

impl Group {
    /// The number of nodes.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// What is free, by leaf.
    pub(crate) const fn tree(&self, book: Book) -> &Tree {
        match book {
            Book::Firm => &self.firm,
            Book::Slack => &self.slack,
        }
    }

    /// How filled a node is, thousandths, and the marks of the modules that it has compiled.
    pub(crate) fn standing(&self, leaf: usize) -> (u32, u64) {
        self.standing[leaf]
    }

    /// The value of an asked attribute.
    pub(crate) fn value(&self, attribute: usize) -> Option<&str> {
        self.values.get(attribute).and_then(Option::as_deref)
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    table: Vec<Group>,
    by_values: BTreeMap<Values, usize>,
    /// Counts rebuilds: what was derived from the groups of an earlier one is void.
    pub(crate) epoch: u64,
}

impl Groups {
    /// All groups; they are never removed between rebuilds.
    pub(crate) fn all(&self) -> &[Group] {
        &self.table
    }

    /// A group.
    pub(crate) fn get(&self, group: usize) -> &Group {
        &self.table[group]
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.by_values.clear();
        self.epoch += 1;
    }

    /// Adds a node to the group with its values.
    pub(crate) fn add(&mut self, values: Values, slot: usize) -> Place {
        let group = if let Some(group) = self.by_values.get(&values) {
            *group
        } else {
            let group = self.table.len();
            self.by_values.insert(values.clone(), group);
            let (firm, slack) = (Tree::default(), Tree::default());
            self.table.push(Group { values, slots: Vec::new(), firm, slack, standing: Vec::new() });
            group
        };
        let entry = &mut self.table[group];
        entry.slots.push(slot);
        entry.standing.push((0, 0));
        Place { group, leaf: entry.slots.len() - 1 }
    }

    /// Takes a node out; gives the node that has its leaf from here on.
    pub(crate) fn remove(&mut self, place: Place) -> Option<usize> {
        let group = &mut self.table[place.group];
        let last = group.slots.len() - 1;
        for tree in [&mut group.firm, &mut group.slack] {
            let room = tree.get(last);
            tree.set(last, Room::default());
            if place.leaf < last {
                tree.set(place.leaf, room);
            }
        }
        group.slots.swap_remove(place.leaf);
        group.standing.swap_remove(place.leaf);
        group.slots.get(place.leaf).copied()
    }

    /// Enters what a node has free in one book.
    pub(crate) fn set_room(&mut self, place: Place, book: Book, room: Room) {
        let group = &mut self.table[place.group];
        match book {
            Book::Firm => group.firm.set(place.leaf, room),
            Book::Slack => group.slack.set(place.leaf, room),
        }
    }

    /// Enters how filled a node is, and the marks of its modules.
    pub(crate) fn set_standing(&mut self, place: Place, fill: u32, modules: u64) {
        self.table[place.group].standing[place.leaf] = (fill, modules);
    }
}
