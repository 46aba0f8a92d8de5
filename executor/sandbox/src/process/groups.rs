//! Which guests share worker processes. A group of processes is there when somebody needs it, and gone some time after.
//!
//! Without clock and processes: it is told the time and which seats are busy, and says which seats begin and which end. The
//! number of a seat is never given twice, so that nothing late is taken for something of the seat's next process.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use weir_wire::{id::Namespace, units::Instant, work::WorkSpec};

use crate::{
    apart::Apart,
    limits::{APART_GROUPS_MAX, GROUP_IDLE_MAX},
};

/// Whose guests share processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// The namespace, if its guests are kept apart from all others.
    namespace: Option<Namespace>,
    /// Its guests have network access.
    pub(super) networked: bool,
}

impl Group {
    /// That of all guests without network access that are not kept apart.
    pub(super) const SHARED: Self = Self { namespace: None, networked: false };

    #[cfg(test)]
    pub(super) const fn apart(namespace: Namespace, networked: bool) -> Self {
        Self { namespace: Some(namespace), networked }
    }
}

/// The processes of each group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of a group whose namespaces are not kept apart.
    pub(super) shared: usize,
    /// Of one for a namespace.
    pub(super) apart: usize,
}

impl Sizes {
    pub(super) const fn of(&self, group: &Group) -> usize {
        if group.namespace.is_some() { self.apart } else { self.shared }
    }
}

/// Where an attempt of a group can go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// These seats are there.
    Open(Range<usize>),
    /// These seats begin, and those of another group end for it.
    New(Range<usize>, Option<Range<usize>>),
    /// There are as many groups as there may be, and attempts in all of them.
    None,
}

/// The groups that there are.
#[derive(Debug)]
pub(super) struct Groups {
    apart: Apart,
    /// Guests may have network access.
    network: bool,
    sizes: Sizes,
    open: BTreeMap<Group, Open>,
    /// Seats whose processes are about to end.
    ending: BTreeSet<usize>,
    /// The first seat of the next group.
    next: usize,
    now: Instant,
}

#[derive(Debug)]
struct Open {
    seats: Range<usize>,
    /// When it had an attempt last, or began.
    used: Instant,
}

impl Groups {
    /// With the group that is always there, whose seats come first.
    pub(super) fn new(apart: Apart, network: bool, sizes: Sizes) -> Self {
        let first = Open { seats: 0..sizes.shared, used: Instant::default() };
        let open = BTreeMap::from([(Group::SHARED, first)]);
        let (ending, now) = (BTreeSet::new(), Instant::default());
        Self { apart, network, sizes, open, ending, next: sizes.shared, now }
    }

    /// The group of a run's guests. Where there is no network, any process will say so.
    pub(super) fn of(&self, work: &WorkSpec) -> Group {
        let namespace = self.apart.contains(&work.namespace).then(|| work.namespace.clone());
        Group { namespace, networked: self.network && !work.capabilities.nets.is_empty() }
    }

    /// Where an attempt of a group can go; with `make_room`, an idle group ends if that is what it takes.
    pub(super) fn enter(&mut self, group: &Group, make_room: bool, busy: impl Fn(&Range<usize>) -> bool) -> Room {
        if let Some(open) = self.open.get_mut(group) {
            open.used = self.now;
            return Room::Open(open.seats.clone());
        }
        let mut ended = None;
        // What ends counts until it has, so that not even a flood of namespaces has more processes.
        if group.namespace.is_some() && self.ending.len() >= APART_GROUPS_MAX * self.sizes.apart {
            return Room::None;
        }
        if group.namespace.is_some() && self.is_full() {
            let Some(idle) = self.longest_idle(busy).filter(|_| make_room) else { return Room::None };
            ended = self.close(&idle);
        }
        let seats = self.next..self.next + self.sizes.of(group);
        self.next = seats.end;
        self.open.insert(group.clone(), Open { seats: seats.clone(), used: self.now });
        Room::New(seats, ended)
    }

    fn is_full(&self) -> bool {
        self.open.keys().filter(|group| group.namespace.is_some()).count() >= APART_GROUPS_MAX
    }

    fn longest_idle(&self, busy: impl Fn(&Range<usize>) -> bool) -> Option<Group> {
        let apart = self.open.iter().filter(|(group, open)| group.namespace.is_some() && !busy(&open.seats));
        apart.min_by_key(|(_, open)| open.used).map(|(group, _)| group.clone())
    }

    /// Takes in the time; the seats of groups that end because they had no attempt for long.
    pub(super) fn tick(&mut self, now: Instant, busy: impl Fn(&Range<usize>) -> bool) -> Vec<Range<usize>> {
        // The first time makes the groups before it no older.
        let first = std::mem::replace(&mut self.now, now) == Instant::default();
        let mut over = Vec::new();
        for (group, open) in &mut self.open {
            if first || *group == Group::SHARED || busy(&open.seats) {
                open.used = now;
            } else if now.since(open.used) >= GROUP_IDLE_MAX {
                over.push(group.clone());
            }
        }
        over.iter().filter_map(|group| self.close(group)).collect()
    }

    /// Ends the group of a seat; which seats it had.
    pub(super) fn close_that_of(&mut self, seat: usize) -> Option<Range<usize>> {
        let group = self.open.iter().find(|(_, open)| open.seats.contains(&seat)).map(|(group, _)| group.clone());
        group.and_then(|group| self.close(&group))
    }

    fn close(&mut self, group: &Group) -> Option<Range<usize>> {
        let seats = self.open.remove(group)?.seats;
        self.ending.extend(seats.clone());
        Some(seats)
    }

    /// The process of a seat that was to end has ended.
    pub(super) fn ended(&mut self, seat: usize) {
        self.ending.remove(&seat);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SIZES: Sizes = Sizes { shared: 2, apart: 1 };

    fn groups(apart: &[&str]) -> Groups {
        let texts: Vec<String> = apart.iter().map(|text| (*text).to_owned()).collect();
        Groups::new(Apart::new(&texts).expect("usable"), true, SIZES)
    }

    fn group(namespace: &str, networked: bool) -> Group {
        Group::apart(namespace.parse().expect("a name"), networked)
    }

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(1000 + seconds)
    }

    const NOBODY: fn(&Range<usize>) -> bool = |_| false;
    const ALL: fn(&Range<usize>) -> bool = |_| true;

    #[test]
    fn a_group_begins_once_and_by_itself() {
        let mut groups = groups(&["*"]);
        let net = Group { namespace: None, networked: true };
        assert_eq!(groups.enter(&Group::SHARED, true, NOBODY), Room::Open(0..2));
        assert_eq!(groups.enter(&net, true, NOBODY), Room::New(2..4, None));
        assert_eq!(groups.enter(&group("a", false), true, NOBODY), Room::New(4..5, None));
        assert_eq!(groups.enter(&group("a", true), true, NOBODY), Room::New(5..6, None));
        assert_eq!(groups.enter(&group("b", false), true, NOBODY), Room::New(6..7, None));
        assert_eq!(groups.enter(&group("a", false), true, NOBODY), Room::Open(4..5));
        assert_eq!(groups.enter(&net, true, NOBODY), Room::Open(2..4));
    }

    #[test]
    fn a_group_without_attempts_ends_after_some_time_and_begins_in_other_seats() {
        let mut groups = groups(&["*"]);
        let (a, b) = (group("a", false), group("b", true));
        groups.enter(&a, true, NOBODY);
        groups.enter(&b, true, NOBODY);
        let idle = GROUP_IDLE_MAX.as_secs();
        assert!(groups.tick(at(0), NOBODY).is_empty(), "no clock was known before");
        assert!(groups.tick(at(idle - 1), |seats| *seats == (2..3)).is_empty());
        assert_eq!(groups.tick(at(idle), |seats| *seats == (2..3)).pop(), Some(3..4));
        assert!(groups.tick(at(2 * idle - 1), NOBODY).is_empty(), "it was busy");
        groups.enter(&a, true, NOBODY);
        assert!(groups.tick(at(3 * idle - 2), NOBODY).is_empty(), "it was entered");
        assert_eq!(groups.tick(at(3 * idle - 1), NOBODY).pop(), Some(2..3));
        assert!(groups.tick(at(9 * idle), NOBODY).is_empty(), "the first group stays");
        assert_eq!(groups.enter(&a, true, NOBODY), Room::New(4..5, None));
    }

    #[test]
    fn groups_are_bounded_and_idle_ones_make_room() {
        let mut groups = groups(&["*"]);
        for number in 0..APART_GROUPS_MAX {
            groups.enter(&group(&format!("n{number}"), false), true, ALL);
            groups.tick(at(number as u64), ALL);
        }
        let more = group("more", false);
        assert_eq!(groups.enter(&more, true, ALL), Room::None);
        assert_eq!(groups.enter(&more, false, NOBODY), Room::None, "only an attempt ends others");
        let net = Group { namespace: None, networked: true };
        assert!(matches!(groups.enter(&net, true, ALL), Room::New(_, None)), "that is not one of them");
        // The one entered last is idle, and so is the one before: that one goes.
        let idle = |seats: &Range<usize>| seats.start < APART_GROUPS_MAX;
        groups.enter(&group(&format!("n{}", APART_GROUPS_MAX - 1), false), true, ALL);
        groups.tick(at(40), idle);
        groups.enter(&group(&format!("n{}", APART_GROUPS_MAX - 1), false), true, ALL);
        let Room::New(seats, Some(ended)) = groups.enter(&more, true, idle) else { panic!("there is room") };
        assert_eq!(ended, APART_GROUPS_MAX..APART_GROUPS_MAX + 1);
        assert!(seats.start > APART_GROUPS_MAX + 1, "seats are not used again");
    }

    #[test]
    fn what_is_about_to_end_counts_until_it_has() {
        let mut groups = groups(&["*"]);
        let enter =
            |groups: &mut Groups, number: usize| groups.enter(&group(&format!("n{number}"), false), true, NOBODY);
        let ended: Vec<_> = (0..2 * APART_GROUPS_MAX)
            .filter_map(|number| match enter(&mut groups, number) {
                Room::New(_, ended) => ended,
                Room::Open(_) | Room::None => panic!("there is room"),
            })
            .collect();
        assert_eq!(ended.len(), APART_GROUPS_MAX);
        assert_eq!(enter(&mut groups, 1000), Room::None);
        groups.ended(ended[0].start);
        assert!(matches!(enter(&mut groups, 1000), Room::New(_, Some(_))));
        assert_eq!(enter(&mut groups, 1001), Room::None);
    }

    #[test]
    fn a_group_whose_process_cannot_begin_is_closed_whole() {
        let mut groups = groups(&[]);
        groups.enter(&Group { namespace: None, networked: true }, true, NOBODY);
        assert_eq!(groups.close_that_of(3), Some(2..4));
        assert_eq!(groups.close_that_of(3), None);
    }
}
