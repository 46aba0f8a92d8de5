//! S1 and L2 by the simulator's own books: which attempts of fenced tasks run where, and how often.
//!
//! An attempt on a frozen machine does not run: its executor looks at its lease before it lets the guest go on. Machines
//! that ignore their lease, or whose clock drifts by more than ε, are exempt; their attempts count for nobody else.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use weir_wire::{
    id::{AttemptId, TaskId},
    kind::Execution,
    limits::{CLOCK_DRIFT_PERMILLE, LEASE_GRACE, NODE_LEASE},
};

use crate::{
    event::Kind,
    property::{Check, Property, broken},
    world::{World, ns},
};

/// How long after its last answered renewal a machine may run what needs a lease, by the slowest clock.
fn fence() -> u64 {
    ns(NODE_LEASE + NODE_LEASE * CLOCK_DRIFT_PERMILLE / 1000 + LEASE_GRACE)
}

/// The books.
#[derive(Debug, Default)]
pub(crate) struct Fenced {
    /// Machines that run an attempt of a fenced task.
    running: BTreeMap<TaskId, Vec<usize>>,
    /// Tasks that may be executed once, and were.
    once: BTreeSet<TaskId>,
}

impl World {
    /// An attempt begins.
    pub(crate) fn fenced_begins(&mut self, at: usize, id: AttemptId, execution: Execution) -> Check {
        if execution.at_most_once && !self.fenced.once.insert(id.task) {
            return broken(Property::Once, format!("{} is executed again, as {id}", id.task));
        }
        if !execution.is_fenced() {
            return Ok(());
        }
        self.alone(at, id.task)?;
        self.fenced.running.entry(id.task).or_default().push(at);
        Ok(())
    }

    /// Whether nobody else runs an attempt of a task.
    fn alone(&self, at: usize, task: TaskId) -> Check {
        let runs = |other: &&usize| {
            let node = &self.nodes[**other];
            **other != at && node.frozen_until <= self.now && !node.exempt
        };
        let other = self.fenced.running.get(&task).and_then(|nodes| nodes.iter().find(runs));
        match other {
            Some(other) if !self.nodes[at].exempt => {
                broken(Property::Once, format!("{task} runs on n{at} while it runs on n{other}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An attempt is over.
    pub(crate) fn fenced_ends(&mut self, at: usize, task: TaskId) {
        if let Some(nodes) = self.fenced.running.get_mut(&task) {
            if let Some(place) = nodes.iter().position(|node| *node == at) {
                nodes.swap_remove(place);
            }
            if nodes.is_empty() {
                self.fenced.running.remove(&task);
            }
        }
    }

    /// A frozen machine goes on: its executor looks at the time before any guest does anything.
    pub(crate) fn thaw(&mut self, at: usize) -> Check {
        if self.nodes[at].frozen_until > self.now {
            return Ok(());
        }
        self.nodes[at].thawing = true;
        let done = self.node_input(at, weir_agent::Input::Tick);
        self.nodes[at].thawing = false;
        done?;
        let fenced = self.nodes[at].running.iter().filter(|(_, running)| running.spec.execution.is_fenced());
        let tasks: Vec<TaskId> = fenced.map(|(id, _)| id.task).collect();
        tasks.into_iter().try_for_each(|task| self.alone(at, task))
    }

    /// Freezes a machine.
    pub(crate) fn freeze(&mut self, at: usize, until: u64) {
        let node = &mut self.nodes[at];
        node.frozen_until = node.frozen_until.max(until);
        let epoch = node.epoch;
        self.events.push(node.frozen_until, Kind::Thaw { node: at, epoch });
    }

    /// Whether what needs a lease runs without one on any machine.
    pub(crate) fn check_orphans(&self) -> Check {
        for (at, node) in self.nodes.iter().enumerate() {
            if node.running.is_empty() || node.exempt || node.frozen_until > self.now {
                continue;
            }
            let needs = node.running.iter().filter(|(_, running)| running.spec.execution.stops_on_disconnect());
            for (id, running) in needs {
                let since = running.since.max(node.renewed_at);
                if self.now.saturating_sub(since) > fence() {
                    let age = Duration::from_nanos(self.now - since);
                    return broken(Property::NoOrphan, format!("{id} runs on n{at} {age:?} after its last renewal"));
                }
            }
        }
        Ok(())
    }
}
