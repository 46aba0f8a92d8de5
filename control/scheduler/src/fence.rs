//! Fenced attempts: their grants are stored before they are sent, and none is replaced before it is known to be gone.
//!
//! A node that answers says itself what became of a grant. One that does not answer is waited for until its **fence** has
//! passed: the end of the lease that it may have, by the slowest clock, and the grace in which it ends what runs.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::time::Duration;

use weir_wire::{
    id::{NodeId, RunId},
    limits::{CLOCK_DRIFT_PERMILLE, LEASE_GRACE},
    message::{self, HeldGrant, ToExecutor},
    node::Hello,
    outcome::{Failure, Outcome},
    record::{Exception, Fenced},
    task::{Reason, Source, Status},
    units::Instant,
};

use crate::{
    definition,
    grant::{Grant, GrantKey, GrantRef},
    phase::Phase,
    scheduler::{Leading, Scheduler},
};

/// A fenced grant that counts: no other one of its task may be sent.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) key: GrantKey,
    pub(crate) node: NodeId,
    installation: u64,
    boot: u64,
    /// It was sent, or may have been.
    pub(crate) sent: bool,
    /// When its fence has passed, while its node does not answer.
    until: Option<Instant>,
}

impl Held {
    fn new(grant: &Fenced, sent: bool) -> Self {
        let Fenced { term, grant: number, node, installation, boot, .. } = grant.clone();
        Self { key: GrantKey { term, grant: number }, node, installation, boot, sent, until: None }
    }
}

/// The fenced grants of one run, by task.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// What the store holds.
    stored: BTreeMap<u32, Fenced>,
    /// What counts: also what waits for its commit, and without what waits to be taken out.
    live: BTreeMap<u32, Held>,
}

impl Table {
    /// Takes a stored grant over.
    pub(crate) fn store(&mut self, grant: Fenced) {
        self.stored.insert(grant.index, grant);
    }

    /// The grant of a task is over in the store.
    pub(crate) fn unstore(&mut self, index: u32) {
        self.stored.remove(&index);
    }

    /// The stored grants of some tasks.
    pub(crate) fn stored(&self, tasks: core::ops::Range<u32>) -> Vec<Fenced> {
        self.stored.range(tasks).map(|(_, grant)| grant.clone()).collect()
    }

    /// The grant that counts.
    pub(crate) fn held(&self, index: u32) -> Option<&Held> {
        self.live.get(&index)
    }

    /// The grant of a task counts no more.
    pub(crate) fn release(&mut self, index: u32) -> bool {
        !self.live.is_empty() && self.live.remove(&index).is_some()
    }

    /// Whether a node speaks for a task with this grant.
    pub(crate) fn speaks(&self, index: u32, key: GrantKey, node: &NodeId) -> bool {
        self.live.get(&index).is_some_and(|held| held.key == key && held.node == *node)
    }
}

/// The tasks whose nodes do not answer.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    /// How long after the last answered renewal a node may still run something.
    length: Duration,
    /// An earlier leader may have answered renewals until then.
    elected_at: Instant,
    due: BTreeSet<(Instant, RunId, u32)>,
    by_node: BTreeSet<(NodeId, RunId, u32)>,
}

impl Fences {
    pub(crate) fn new(lease: Duration, elected_at: Instant) -> Self {
        let length = lease + lease * CLOCK_DRIFT_PERMILLE / 1000 + LEASE_GRACE;
        Self { length, elected_at, ..Self::default() }
    }

    /// When the next fence has passed.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    fn of_node(&self, node: &NodeId) -> Vec<(RunId, u32)> {
        let from = (node.clone(), RunId(0), 0);
        let entries = self.by_node.range(from..).take_while(|(name, ..)| name == node);
        entries.map(|(_, run, index)| (*run, *index)).collect()
    }
}

impl Leading {
    /// Stages a fenced grant; it is sent when it is durable.
    pub(crate) fn stage_fenced(&mut self, id: RunId, index: u32, key: GrantKey, slot: usize) {
        let node = self.nodes.get(slot);
        let GrantKey { term, grant } = key;
        let (installation, boot) = (node.record.installation, node.boot);
        let grant = Fenced { index, term, grant, node: node.id().clone(), installation, boot };
        let Some(run) = self.runs.get_mut(&id) else { return };
        let before = run.fenced.live.insert(index, Held::new(&grant, false));
        assert!(before.is_none(), "task {id}.{index} has a fenced grant, and was given another one");
        let batch = self.open_batch();
        batch.fence(id, grant);
        batch.urgent = true;
    }

    /// Stages the end of a fenced grant whose task goes on.
    pub(crate) fn unfence(&mut self, id: RunId, index: u32) {
        if self.runs.get_mut(&id).is_some_and(|run| run.fenced.release(index)) {
            self.open_batch().unfence(id, index);
        }
    }

    /// The task waits for its node, or for the fence.
    fn await_fence(&mut self, id: RunId, index: u32, until: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.set_phase(index, Phase::Unknown);
        let Some(held) = run.fenced.live.get_mut(&index) else { return };
        held.until = Some(until);
        self.fences.by_node.insert((held.node.clone(), id, index));
        self.fences.due.insert((until, id, index));
    }

    /// Takes over the stored grants of a run at the start of a term: any of them may have been sent.
    pub(crate) fn load_fenced(&mut self, id: RunId) {
        let until = self.fences.elected_at + self.fences.length;
        let Some(run) = self.runs.get_mut(&id) else { return };
        let count = run.count();
        let open = |index: &u32| *index < count && run.phase(*index).is_open();
        let open: Vec<u32> = run.fenced.stored.keys().copied().filter(open).collect();
        run.fenced.stored.retain(|index, _| open.binary_search(index).is_ok());
        run.fenced.live = run.fenced.stored.iter().map(|(index, grant)| (*index, Held::new(grant, true))).collect();
        for index in open {
            self.await_fence(id, index, until);
        }
    }

    /// Takes back a fenced grant that its node was not told of; false if it is none. Once its task has ended, it would be
    /// neither stored nor sent.
    pub(crate) fn take_back_unsent(&mut self, id: RunId, index: u32, grant: GrantRef) -> bool {
        let held = self.runs.get(&id).and_then(|run| run.fenced.live.get(&index));
        let unsent = held.is_some_and(|held| held.key == grant.key && !held.sent);
        if unsent {
            self.take_back(grant);
        }
        unsent
    }

    /// Takes a grant that nobody can run out of the tables; its task waits again if it still has to be run.
    fn take_back(&mut self, taken: GrantRef) {
        let Some(grant) = self.grants.find_mut(taken) else { return };
        let (id, range) = (grant.run, grant.next..grant.end);
        grant.next = grant.end;
        self.requeue_range(id, range);
        self.remove_grant(taken);
    }
}

impl Scheduler {
    /// Sends a fenced grant that is durable, if it is still wanted and its node is there.
    pub(crate) fn send_fenced(&mut self, id: RunId, stored: &Fenced) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let (index, key) = (stored.index, GrantKey { term: stored.term, grant: stored.grant });
        let Some(grant) = leading.grant_of(key, id, index) else {
            return;
        };
        let slot = leading.grants.get(grant.slot).node();
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let node = leading.nodes.get_mut(slot);
        let there = node.presented && !node.draining && !node.record.cordoned && !node.lost && node.boot == stored.boot;
        let wanted = run.phase(index) == Phase::Granted;
        let held = run.fenced.live.get_mut(&index).filter(|held| held.key == key && wanted && there);
        let (Some(held), Some(session)) = (held, node.session) else {
            leading.take_back(grant);
            return;
        };
        assert!(!held.sent, "a fenced grant of {id}.{index} was to be sent twice");
        held.sent = true;
        let define = definition::tell(run, node, slot).then(|| run.work());
        let ordinal = run.ordinal(index);
        if let Some(work) = define {
            self.send(session, ToExecutor::define(work));
        }
        let GrantKey { term, grant } = key;
        self.send(session, ToExecutor::Grant(message::Grant { run: id, term, grant, first: index, len: 1, ordinal }));
    }

    /// Gives up the fenced grants of a node: those that were never sent come back, the others are unknown if the node is
    /// silent, and over if its executor was started anew.
    pub(crate) fn drop_fenced(&mut self, slot: usize, reason: Reason) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot);
        let until = node.renewed_at.max(leading.fences.elected_at) + leading.fences.length;
        for dropped in leading.grants_on(slot) {
            let Some(leading) = self.leading.as_deref_mut() else {
                return;
            };
            let Some(grant) = leading.grants.find_mut(dropped) else {
                continue;
            };
            let (id, index) = (grant.run, grant.next);
            let Some(run) = leading.runs.get(&id).filter(|run| run.job.execution.is_fenced()) else {
                continue;
            };
            let sent = run.fenced.held(index).is_some_and(|held| held.key == dropped.key && held.sent);
            if !sent || !run.phase(index).is_granted() {
                leading.take_back(dropped);
                continue;
            }
            grant.next = grant.end;
            leading.await_fence(id, index, until);
            leading.remove_grant(dropped);
            if reason == Reason::ExecutorRestarted {
                self.fenced_over(id, index, reason);
            }
        }
    }

    /// Ends the wait for attempts that an earlier start of an executor had.
    pub(crate) fn settle_restarted(&mut self, hello: &Hello) {
        let earlier = |held: &Held| held.installation == hello.installation && held.boot != hello.boot;
        for (id, index) in self.unknown_of(&hello.node, earlier) {
            self.fenced_over(id, index, Reason::ExecutorRestarted);
        }
    }

    /// Ends the wait for attempts that a node which has said all has not mentioned: they were never started there.
    pub(crate) fn settle_unmentioned(&mut self, slot: usize) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot);
        let (id, installation, boot) = (node.id().clone(), node.record.installation, node.boot);
        let same = |held: &Held| held.installation == installation && held.boot == boot;
        for (run, index) in self.unknown_of(&id, same) {
            if let Some(leading) = self.leading.as_deref_mut() {
                leading.requeue_range(run, index..index + 1);
            }
        }
    }

    /// Tasks that wait for a node, of which it can say what became of them; they are taken out of its table.
    fn unknown_of(&mut self, node: &NodeId, answers: impl Fn(&Held) -> bool) -> Vec<(RunId, u32)> {
        let Some(leading) = self.leading.as_deref_mut() else {
            return Vec::new();
        };
        let mut answered = Vec::new();
        for (id, index) in leading.fences.of_node(node) {
            let run = leading.runs.get(&id).filter(|run| run.phase(index) == Phase::Unknown);
            let held = run.and_then(|run| run.fenced.held(index)).filter(|held| held.node == *node);
            // What is waited for no more was told of in another way.
            if held.is_none_or(&answers) {
                leading.fences.by_node.remove(&(node.clone(), id, index));
            }
            if held.is_some_and(&answers) {
                answered.push((id, index));
            }
        }
        answered
    }

    /// Takes over an attempt that was waited for; false if this is not one.
    pub(crate) fn adopt_fenced(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) -> bool {
        let Some(leading) = self.leading.as_deref_mut() else {
            return false;
        };
        let now = self.now.mono;
        let (id, index) = (held.grant.run, held.next);
        let node = leading.nodes.get(slot).id().clone();
        let whole = held.grant.len == 1 && held.next < held.end;
        let Some(run) = leading.runs.get_mut(&id).filter(|run| whole && index < run.count()) else {
            return false;
        };
        if run.phase(index) != Phase::Unknown || !run.fenced.speaks(index, key, &node) {
            return false;
        }
        if let Some(known) = run.fenced.live.get_mut(&index) {
            known.until = None;
        }
        run.raise_fresh(index);
        run.take_range(index, 1);
        definition::tell(run, leading.nodes.get_mut(slot), slot);
        if run.stop.is_some() || run.stopping.contains_key(&index) {
            run.set_phase(index, Phase::Stopping);
        } else if held.running {
            run.set_phase(index, Phase::Running);
            leading.task_runs(id, index, now);
        }
        leading.add_grant(Grant::new(key, id, slot, index, index + 1));
        leading.fences.by_node.remove(&(node, id, index));
        leading.requeue(id);
        self.stop_again(slot, key, held);
        true
    }

    /// Ends the wait for nodes whose fence has passed.
    pub(crate) fn fences_passed(&mut self) {
        let now = self.now.mono;
        while let Some(leading) = self.leading.as_deref_mut()
            && let Some(&(at, id, index)) = leading.fences.due.first()
            && at <= now
        {
            leading.fences.due.pop_first();
            let Some(run) = leading.runs.get(&id) else { continue };
            let waits = |held: &&Held| held.until == Some(at) && run.phase(index) == Phase::Unknown;
            let Some(node) = run.fenced.held(index).filter(waits).map(|held| held.node.clone()) else {
                continue;
            };
            leading.fences.by_node.remove(&(node, id, index));
            self.fenced_over(id, index, Reason::NodeLost);
        }
    }

    /// An attempt that may have begun is gone: its task is lost if it may be executed once only, and else waits again.
    fn fenced_over(&mut self, id: RunId, index: u32, reason: Reason) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let Some(node) = run.fenced.held(index).map(|held| held.node.clone()) else {
            return;
        };
        tracing::warn!(run.id = %id, index, node.id = %node, %reason, "fenced attempt gone");
        let failure = Failure::new(reason, Source::Control, format!("{reason} on {node}"));
        if run.job.execution.at_most_once {
            return self.ended(id, index, Outcome::not_run(Status::Lost, failure), Some(node));
        }
        if run.stop.is_none() && !run.stopping.contains_key(&index) {
            let tries = run.tries.entry(index).or_default();
            tries.free += 1;
            let failures = tries.counted;
            let exception = Exception { index, failures, status: None, failure, node: Some(node) };
            leading.open_batch().except(id, exception);
        }
        leading.requeue_range(id, index..index + 1);
    }
}
