//! Why tasks wait: computed when somebody asks.

use alloc::{format, vec::Vec};

use weir_wire::{id::RunId, units::Now};

use crate::{
    node::Node,
    phase::Phase,
    queue::ClassKey,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::WhyPending,
};

impl Scheduler {
    /// Why tasks of a run wait, in numbers of nodes per cause.
    #[must_use]
    pub fn why(&self, now: Now, run: RunId) -> Option<WhyPending> {
        let leading = self.leading.as_ref()?;
        let run = leading.runs.get(&run)?;
        let mut why = WhyPending {
            pending: run.in_phase(Phase::Pending) + run.in_phase(Phase::Backoff),
            backoff: run.in_phase(Phase::Backoff),
            reconciling: run.restored && leading.reconcile_until.is_some(),
            brake: leading.brake_holds(run),
            ..WhyPending::default()
        };
        let next = run.backoff.values().min().map(|at| at.since(now.mono).as_millis());
        why.next_retry_ms = next.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
        let limit = run.job.max_running;
        let at_limit = limit > 0 && run.lanes.len() >= limit as usize;
        why.max_running = at_limit.then_some(limit);
        if why.pending > 0 {
            leading.count_nodes(run, &mut why);
        }
        if let Some(ticket) = run.ticket {
            why.ahead = u32::try_from(leading.queue.ahead_of(ticket)).unwrap_or(u32::MAX);
        }
        Some(why)
    }
}

impl Leading {
    /// The number of vanished nodes that are not given up, if tasks of the run may be there.
    fn brake_holds(&self, run: &Run) -> Option<u32> {
        let on_held = |key| self.grants.get(key).is_some_and(|grant| self.nodes.get(grant.node).ops.held);
        let unknown = run.restored && self.reconcile_until.is_some();
        let concerned = self.brake.is_on() && (unknown || run.lanes.values().any(on_held));
        concerned.then(|| u32::try_from(self.brake.held).unwrap_or(u32::MAX))
    }

    fn count_nodes(&self, run: &Run, why: &mut WhyPending) {
        let class = &self.queue.get(run.class).key;
        let mut excluded: Vec<u32> = alloc::vec![0; class.constraints.len()];
        let mut too_small = [("cpu", 0), ("memory", 0), ("lanes", 0)];
        let mut exhausted = too_small;
        for node in self.nodes.iter() {
            why.nodes += 1;
            if !node.is_ready() {
                why.nodes_not_ready += 1;
                continue;
            }
            if let Some(at) = class.constraints.iter().position(|constraint| !node.satisfies(constraint)) {
                excluded[at] += 1;
                continue;
            }
            match shortage(node, class) {
                Some((true, dimension)) => too_small[dimension].1 += 1,
                Some((false, dimension)) => exhausted[dimension].1 += 1,
                None => {}
            }
        }
        let named = class.constraints.iter().zip(excluded).filter(|(_, count)| *count > 0);
        why.excluded = named.map(|(c, count)| (format!("{} == {}", c.attribute, c.values.join(", ")), count)).collect();
        why.too_small = too_small.into_iter().filter(|(_, count)| *count > 0).collect();
        why.exhausted = exhausted.into_iter().filter(|(_, count)| *count > 0).collect();
    }
}

/// The first dimension in which a task does not fit: whether even the empty node is too small, and which one it is.
fn shortage(node: &Node, class: &ClassKey) -> Option<(bool, usize)> {
    let wanted = &class.resources;
    let free = node.free();
    if wanted.cpu > node.capacity.cpu {
        Some((true, 0))
    } else if wanted.memory > node.capacity.memory {
        Some((true, 1))
    } else if node.lanes_max == 0 {
        Some((true, 2))
    } else if wanted.cpu > free.cpu {
        Some((false, 0))
    } else if wanted.memory > free.memory {
        Some((false, 1))
    } else if node.lanes_free() == 0 {
        Some((false, 2))
    } else {
        None
    }
}
