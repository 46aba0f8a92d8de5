//! The operators: they cordon, drain, label and remove nodes while all else goes wrong, and leave the cluster in order.

use core::time::Duration;

use weir_scheduler::Request;
use weir_wire::{codec::Document, key, node::Drain, node::NodeRecord};

use crate::{
    client::State,
    options::Options,
    property::{Check, Property, broken},
    rng::{Purpose, Rng},
    workload::Wish,
    world::{World, ns},
};

/// One thing that an operator does, to a node by number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Cordon(usize),
    /// Ends a cordon or a drain.
    Uncordon(usize),
    Drain(usize, Option<Duration>),
    Label(usize, u64),
    Remove(usize),
    Release,
    /// Ends a cordon or a drain, once nothing else is left to be done.
    Reopen(usize),
}

/// What operators of a world do, by time. All nodes take work again when the faults end.
pub(crate) fn draw(options: &Options) -> Vec<(Duration, Operation)> {
    let mut operations = Vec::new();
    for at in 0..options.work.operations {
        if !options.keeps(&format!("operation-{at}")) {
            continue;
        }
        let mut rng = Rng::new(options.seed, Purpose::Operation, at as u64);
        let node = rng.index(options.nodes);
        let deadline = rng.duration(Duration::ZERO, options.faults.recover_max);
        let operation = match rng.below(12) {
            0 | 1 => Operation::Cordon(node),
            2 | 3 => Operation::Uncordon(node),
            4 | 5 => Operation::Drain(node, Some(deadline)),
            6 => Operation::Drain(node, Some(Duration::ZERO)),
            7 => Operation::Drain(node, None),
            8 | 9 => Operation::Label(node, rng.below(3)),
            10 => Operation::Remove(node),
            _ => Operation::Release,
        };
        operations.push((rng.duration(Duration::ZERO, options.safety), operation));
    }
    if !operations.is_empty() {
        operations.extend((0..options.nodes).map(|node| (options.safety, Operation::Reopen(node))));
    }
    operations
}

impl World {
    /// The request of an operation, once it is its turn.
    pub(crate) fn operation(&self, operation: Operation) -> Option<Request> {
        let node = |at: usize| self.nodes[at].id.clone();
        Some(match operation {
            Operation::Cordon(at) => Request::Cordon { node: node(at), on: true },
            Operation::Reopen(_) if !self.operated_all() => return None,
            Operation::Uncordon(at) | Operation::Reopen(at) => Request::Cordon { node: node(at), on: false },
            Operation::Drain(at, deadline) => {
                let drain = Drain { since_ms: 0, deadline, ignore_system: false, message: String::new() };
                Request::Drain { node: node(at), drain }
            }
            Operation::Label(at, value) => {
                let value = (value > 0).then(|| format!("r{value}"));
                Request::Label { node: node(at), labels: vec![("rack".to_owned(), value)] }
            }
            Operation::Remove(at) => Request::RemoveNode { node: node(at) },
            Operation::Release => Request::ReleaseBrake,
        })
    }

    /// Whether an operator had a node forgotten: nobody waits for what it has to say then.
    pub(crate) fn was_removed(&self, node: usize) -> bool {
        let now = self.now;
        let removes = |(at, wish): &(Duration, Wish)| {
            ns(*at) <= now && matches!(wish, Wish::Operate(Operation::Remove(removed)) if *removed == node)
        };
        self.workload.wishes.iter().any(removes)
    }

    fn operated_all(&self) -> bool {
        let mut wishes = self.workload.wishes.iter().zip(&self.wishes);
        wishes.all(|((_, wish), state)| match wish {
            Wish::Operate(Operation::Reopen(_))
            | Wish::Job(_)
            | Wish::Submit(_)
            | Wish::Stop { .. }
            | Wish::Quota(..)
            | Wish::Change(..)
            | Wish::Last(_) => true,
            Wish::Operate(_) => *state != State::Open,
        })
    }

    /// Compares what a leader knows of nodes with what is stored.
    pub(crate) fn check_nodes(&self, at: usize) -> Check {
        let replica = &self.replicas[at];
        // A registration is in the tables before it is stored, and what is asked for only afterwards.
        let Some(scheduler) = replica.scheduler.as_ref().filter(|_| !replica.committing) else { return Ok(()) };
        let stored = self.store.map.range(key::NODES.to_owned()..).take_while(|(name, _)| name.starts_with(key::NODES));
        let mut count = 0;
        for (name, value) in stored {
            count += 1;
            let Ok(record) = NodeRecord::from_bytes(value) else {
                return broken(Property::View, format!("{name} does not decode"));
            };
            let view = scheduler.node(replica.clock.now(self.now), &record.node);
            let same = view.as_ref().is_some_and(|view| {
                let drain = view.drain.as_ref().map(|drain| (drain.since_ms, drain.deadline));
                view.cordoned == record.cordoned
                    && view.labels == record.labels
                    && drain == record.drain.as_ref().map(|drain| (drain.since_ms, drain.deadline))
            });
            if !same {
                return broken(Property::View, format!("{name} is stored as {record:?}, and seen as {view:?}"));
            }
        }
        let known = scheduler.nodes_by_prefix("", usize::MAX).len();
        if known == count { Ok(()) } else { broken(Property::View, format!("{count} nodes are stored, {known} known")) }
    }
}
