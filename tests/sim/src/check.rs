//! Looking at the whole: a new leader's view, and the end of all work.

use std::collections::{BTreeMap, BTreeSet};

use weir_scheduler::{EntryLocation, Input, NodeState, NodeView};
use weir_wire::{
    id::{RunId, TaskId},
    outcome::Captured,
    segment,
    task::{RetryClass, Status},
};

use crate::{
    client::State,
    guest::{self, Nature},
    jobs,
    node::Node,
    oracle::{Checking, Known},
    property::{Check, Property, broken},
    workload::Wish,
    world::World,
};

impl World {
    /// Compares a leader's view of what is recorded with the oracle's.
    pub(crate) fn check_view(&self, at: usize) -> Check {
        for run in self.oracle.runs.keys() {
            self.check_run(at, *run)?;
        }
        self.check_records(at)?;
        self.check_nodes(at)
    }

    /// Compares quotas and the states of jobs.
    fn check_records(&self, at: usize) -> Check {
        let replica = &self.replicas[at];
        let Some(scheduler) = replica.scheduler.as_ref().filter(|_| !replica.committing) else { return Ok(()) };
        let quotas: Vec<_> = self.oracle.quotas.values().collect();
        let states: Vec<_> = self.oracle.job_states.values().collect();
        if scheduler.quotas() != quotas || scheduler.job_states() != states {
            return broken(Property::View, format!("replica {at} has other quotas or states of jobs than are stored"));
        }
        Ok(())
    }

    fn check_run(&self, at: usize, run: RunId) -> Check {
        let Some(scheduler) = &self.replicas[at].scheduler else { return Ok(()) };
        let Some(known) = self.oracle.runs.get(&run).filter(|known| !known.forgotten) else { return Ok(()) };
        let Some(view) = scheduler.run(run) else {
            return broken(Property::View, format!("replica {at} does not know run {run}"));
        };
        let count = |status: Status| known.status.iter().filter(|code| **code == status as u8).count();
        let counts = &view.counts;
        let seen = [counts.succeeded, counts.failed, counts.killed, counts.lost, counts.rejected];
        for (status, seen) in Status::ALL.into_iter().zip(seen) {
            if count(status) != seen as usize {
                let message = format!("replica {at} sees {seen} {status:?} tasks of {run}, recorded {}", count(status));
                return broken(Property::View, message);
            }
        }
        Ok(())
    }

    /// Compares the soft part of the leader's view with what quiet nodes hold.
    pub(crate) fn check_soft(&self) -> Check {
        let Some(term) = self.store.term() else { return Ok(()) };
        let Some(leader) = self.store.newest else { return Ok(()) };
        let replica = &self.replicas[leader.replica];
        let Some(scheduler) = replica.scheduler.as_ref().filter(|scheduler| scheduler.term() == Some(term)) else {
            return Ok(());
        };
        // A fenced grant is in the tables before it is stored, and sent only then.
        if replica.committing || scheduler.stats().batches_waiting > 0 {
            return Ok(());
        }
        let views = scheduler.nodes(replica.clock.now(self.now));
        let views: BTreeMap<&str, &NodeView> = views.iter().map(|view| (view.node.as_str(), view)).collect();
        for node in &self.nodes {
            let Some(agent) = node.agent.as_ref().filter(|_| self.is_quiet(node, leader.replica)) else { continue };
            let Some(view) = views.get(node.id.as_str()) else {
                return broken(Property::View, format!("node {} is connected and unknown", node.id));
            };
            let held = agent.stats();
            let reserved = held.reserved.checked_add(&held.revocable).unwrap_or_default();
            if view.state == NodeState::Ready && (view.reserved != reserved || view.grants != held.ranges) {
                let message = format!(
                    "the leader sees {} grants with {} on {}, which holds {} with {}",
                    view.grants, view.reserved, node.id, held.ranges, reserved
                );
                return broken(Property::View, message);
            }
        }
        Ok(())
    }

    /// Whether a node and this replica have told each other everything.
    fn is_quiet(&self, node: &Node, replica: usize) -> bool {
        let Some(session) = node.session.map(|id| self.session(id)) else { return false };
        let told = node.agent.as_ref().is_some_and(|agent| {
            let nothing_due = agent.poll_deadline().is_none_or(|(_, reason)| reason != weir_agent::Reason::Report);
            nothing_due && agent.stats().outbox_len == 0
        });
        // What ignores the fence goes on after it was stopped, and nobody counts it.
        told && !node.zombie
            && session.replica == replica
            && session.alive
            && session.open
            && session.under_way == [0, 0]
            // What ends because it is not wanted, the leader has counted out already.
            && node.ends_until.max(node.told_at) < self.now
            && node.frozen_until.max(self.replicas[replica].frozen_until) <= self.now
    }

    /// Whether all that can end has ended, and nobody has anything left to say.
    pub(crate) fn is_settled(&self) -> bool {
        let wishes = self.wishes.iter().enumerate().all(|(at, state)| match state {
            State::Done(_) | State::Abandoned => true,
            State::Open => self.waits_for_ever(at),
        });
        let runs = self.oracle.open.iter().filter_map(|run| self.oracle.runs.get(run));
        let runs = runs.into_iter().all(|known| {
            let waits = self.oracle.dependencies_hold(known).is_none();
            !known.stopped && (waits || !jobs::is_feasible(&self.options, &known.job))
        });
        let quiet = self.nodes.iter().all(|node| {
            node.running.is_empty()
                && node.agent.as_ref().is_some_and(|agent| {
                    let stats = agent.stats();
                    stats.ranges == 0 && stats.outbox_len == 0
                })
        });
        wishes && runs && quiet && self.is_led()
    }

    /// Whether the newest leader is there, and holds nothing back.
    fn is_led(&self) -> bool {
        let Some(leader) = self.store.newest else { return false };
        let replica = &self.replicas[leader.replica];
        let Some(scheduler) = &replica.scheduler else { return false };
        let stats = scheduler.stats();
        // What the store has done already, its leader may learn in a moment.
        self.store.led
            && !replica.committing
            && scheduler.term() == Some(leader.term)
            && stats.grants == 0
            && stats.batches_waiting == 0
            && stats.nodes_connected == self.nodes.len()
    }

    /// What hinders the end.
    pub(crate) fn unsettled(&self) -> String {
        let wishes = self.wishes.iter().filter(|state| **state == State::Open).count();
        let open: Vec<String> = self
            .oracle
            .runs
            .iter()
            .filter(|(run, _)| self.oracle.open.contains(run))
            .map(|(run, known)| format!("{run} ({}) {}/{}", known.record.job, known.ended, known.status.len()))
            .take(5)
            .collect();
        let held: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|node| {
                let stats = node.agent.as_ref()?.stats();
                let busy = stats.ranges > 0 || stats.outbox_len > 0 || !node.running.is_empty();
                let (id, running) = (&node.id, node.running.len());
                busy.then(|| format!("{id}: {} ranges, {} outcomes, {running} running", stats.ranges, stats.outbox_len))
            })
            .take(5)
            .collect();
        let leader = self.store.newest.and_then(|leader| self.replicas[leader.replica].scheduler.as_ref());
        let stats = leader.map(weir_scheduler::Scheduler::stats);
        format!("{wishes} wishes wait; open runs {open:?}; nodes {held:?}; leader {stats:?}")
    }

    /// The last look, once everything is settled.
    pub(crate) fn check_end(&mut self) -> Check {
        self.oracle.rebuilds(&self.store.load(), Checking::Store)?;
        let Some(leader) = self.store.newest else {
            return broken(Property::Ends, "nobody leads at the end");
        };
        self.check_view(leader.replica)?;
        self.check_rebuild()?;
        for (run, known) in &self.oracle.runs {
            self.check_statuses(*run, known)?;
        }
        self.check_results(leader.replica)?;
        let Some(scheduler) = &self.replicas[leader.replica].scheduler else {
            return broken(Property::Ends, "the leader is down at the end");
        };
        let stats = scheduler.stats();
        let open: u64 = self.oracle.runs.values().map(Known::open).sum();
        if stats.grants != 0 || stats.batches_waiting != 0 || stats.open_tasks != open {
            return broken(
                Property::NoOrphan,
                format!("all work has ended, {open} tasks are open, and there is {stats:?}"),
            );
        }
        self.check_fixpoint(leader.replica)
    }

    /// A task that always succeeds has succeeded, and one that always fails has failed, unless it was stopped.
    fn check_statuses(&self, run: RunId, known: &Known) -> Check {
        let stopped: BTreeSet<u32> = self
            .workload
            .wishes
            .iter()
            .filter_map(|(_, wish)| match wish {
                Wish::Stop { submission, single: Some(index) } => match &self.wishes[*submission] {
                    State::Done(runs) if runs.first() == Some(&run) => Some(index % known.record.count.max(1)),
                    State::Done(_) | State::Open | State::Abandoned => None,
                },
                Wish::Stop { .. }
                | Wish::Job(_)
                | Wish::Submit(_)
                | Wish::Operate(_)
                | Wish::Quota(..)
                | Wish::Change(..)
                | Wish::Last(_) => None,
            })
            .collect();
        for (index, code) in (0..).zip(&known.status) {
            let Some(status) = Status::from_code(*code) else { continue };
            let once = known.job.execution.at_most_once;
            let asked = known.stopped || stopped.contains(&index);
            let right = match guest::nature(&self.options, run, index) {
                Nature::Good => status == Status::Succeeded,
                Nature::Poison(_) | Nature::Spin => status == Status::Failed,
                Nature::Flaky => matches!(status, Status::Succeeded | Status::Failed),
            };
            // What may execute once and is ended by a drain or to make room cannot be tried again.
            let work = &self.options.work;
            let moved = once && (work.operations > 0 || work.production > 0 || work.revocable > 0);
            let killed = (asked || moved) && status == Status::Killed;
            // Of what should not have run, nothing has; what was late was not started.
            let never = self.oracle.dependencies_hold(known) == Some(false);
            let right = if never { status == Status::Failed } else { right && !known.job.kind.is_long_running() };
            let late = known.job.start_deadline.is_some() && status == Status::Rejected;
            let endless = known.job.budgets.timeout.is_none() && status == Status::Failed;
            // What may execute once is not tried again where the module could not be had either.
            let lost = once && matches!(status, Status::Lost | Status::Failed);
            if !(right || killed || late || endless || lost) {
                return broken(Property::Terminal, format!("task {run}.{index} is recorded as {status:?}"));
            }
            // Whatever ends what may execute once, or is to be stopped, is the last end.
            if !(asked || once || never || endless) {
                self.check_attempts(known, TaskId { run, index }, status)?;
            }
        }
        Ok(())
    }

    /// A task that has failed for a reason that counts did so as often as it may: nothing that the cluster ended counts.
    fn check_attempts(&self, known: &Known, task: TaskId, status: Status) -> Check {
        let counts = match guest::nature(&self.options, task.run, task.index) {
            Nature::Poison(reason) => reason.retry_class() == RetryClass::Counted,
            Nature::Flaky | Nature::Spin => true,
            Nature::Good => false,
        };
        let (failures, attempts) = (self.failures.get(&task).copied().unwrap_or_default(), known.job.retry.attempts);
        if status == Status::Failed && counts && failures < attempts {
            let message = format!("{task} has failed for good after {failures} of {attempts} attempts that count");
            return broken(Property::Free, message);
        }
        Ok(())
    }

    /// The result of every success can be read, and is the right one.
    fn check_results(&self, at: usize) -> Check {
        let Some(scheduler) = &self.replicas[at].scheduler else { return Ok(()) };
        for (run, known) in self.oracle.runs.iter().filter(|(_, known)| !known.forgotten) {
            for (index, code) in (0..).zip(&known.status) {
                if *code != Status::Succeeded as u8 {
                    continue;
                }
                let captured = match scheduler.entry(*run, index) {
                    EntryLocation::Inline(entry) => Some(entry.result),
                    EntryLocation::Segments(names) => self.in_segments(&names, *run, index),
                    EntryLocation::None => None,
                };
                let bytes = match captured {
                    Some(Captured::Inline(bytes)) => Some(bytes),
                    Some(Captured::Blob(blob)) => self.blobs.get(&blob.digest).cloned(),
                    Some(Captured::Empty) | None => None,
                };
                if bytes.as_deref() != Some(&guest::result(*run, index)) {
                    return broken(Property::Accepted, format!("the result of {run}.{index} is lost"));
                }
            }
        }
        Ok(())
    }

    fn in_segments(&self, names: &[String], run: RunId, index: u32) -> Option<Captured> {
        names.iter().find_map(|name| {
            let entries = segment::Entries::new(self.store.objects.get(name)?).ok()?;
            let mut found = entries.flatten().filter(|(id, entry)| *id == run && entry.index == index);
            found.next().map(|(_, entry)| entry.result)
        })
    }

    /// Nothing has changed, so there is nothing to do.
    fn check_fixpoint(&mut self, at: usize) -> Check {
        let replica = &mut self.replicas[at];
        let now = replica.clock.now(self.now + 1);
        let Some(scheduler) = &mut replica.scheduler else { return Ok(()) };
        scheduler.handle(now, Input::Tick);
        match scheduler.poll_output() {
            None => Ok(()),
            Some(output) => broken(Property::Fixpoint, format!("an unchanged cluster makes the leader say {output:?}")),
        }
    }
}
