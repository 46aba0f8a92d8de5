//! A node presents what it holds: both books are brought together.

use alloc::vec::Vec;

use weir_wire::{
    limits,
    message::{FullState, HeldGrant, Returned, Started, Stop, ToExecutor},
    task::Reason,
};

use crate::{
    definition,
    grant::{Grant, GrantKey, GrantRef},
    node::Reconcile,
    phase::Phase,
    scheduler::Scheduler,
};

impl Scheduler {
    pub(crate) fn node_state(&mut self, slot: usize, state: &FullState) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.seen_through = node.seen_through.max(state.outbox_first.saturating_sub(1));
        let mut settle: Vec<(GrantRef, Option<u32>)> =
            leading.grants_on(slot).into_iter().map(|grant| (grant, None)).collect();
        for held in &state.grants {
            let key = GrantKey { term: held.grant.term, grant: held.grant.grant };
            if let Some(entry) = settle.iter_mut().find(|(known, _)| known.key == key) {
                entry.1 = Some(held.next);
                self.sync_grant(slot, key, held);
            } else if !self.adopt_fenced(slot, key, held) {
                self.adopt_or_stop(slot, key, held);
            }
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        if node.presented {
            // Said again in one session: it may have crossed with a grant, so that silence about one proves nothing.
            settle.retain(|(_, next)| next.is_some());
        }
        node.reconcile = Some(Reconcile { outbox_next: state.outbox_next, grants: settle });
        self.finish_reconcile(slot);
    }

    /// A grant that both sides know: take over what was given back and what runs.
    pub(crate) fn sync_grant(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let weir_wire::message::Grant { term, grant, run, .. } = held.grant;
        if held.end < held.grant.first.saturating_add(held.grant.len) {
            self.tasks_returned(slot, &Returned { run, term, grant, from: held.end.max(held.next) });
        }
        if held.running {
            let task = weir_wire::id::TaskId { run, index: held.next };
            self.tasks_started(slot, &[Started { id: weir_wire::id::AttemptId { task, term, grant } }]);
        }
        self.stop_again(slot, key, held);
    }

    /// Repeats the stops that may have been lost with an earlier session, and notes that the node knows the run.
    pub(crate) fn stop_again(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let evicted = leading.grant_in(key, &held.grant).is_some_and(|grant| leading.grants.get(grant.slot).evicted);
        let node = leading.nodes.get_mut(slot);
        let Some(session) = node.session else { return };
        let Some(run) = leading.runs.get_mut(&held.grant.run) else {
            return;
        };
        definition::tell(run, node, slot);
        let grant = Some(key.grant);
        let mut stops = Vec::new();
        if let Some(reason) = run.stop.filter(|_| run.stop_recorded) {
            stops.push(Stop { run: run.id, index: None, grant, reason, grace: core::time::Duration::ZERO });
        } else {
            if evicted {
                let (reason, grace) = (Reason::Preempted, self.config.preempt_grace);
                stops.push(Stop { run: run.id, index: None, grant, reason, grace });
            }
            // The last one first: a stop gives the rest of the range back.
            let single = run.stopping.range(held.next..held.end.max(held.next)).rev();
            stops.extend(single.map(|(index, reason)| Stop {
                run: run.id,
                index: Some(*index),
                grant,
                reason: *reason,
                grace: core::time::Duration::ZERO,
            }));
        }
        for stop in stops {
            self.send(session, ToExecutor::Stop(stop));
        }
    }

    /// A grant of an earlier term, or one that was given up: taken over if all of its tasks still wait.
    pub(crate) fn adopt_or_stop(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let run_id = held.grant.run;
        leading.want_here(slot, run_id, held.next);
        // What is fenced runs on where it is stored, and nowhere else.
        let adoptable = leading.runs.get(&run_id).is_some_and(|run| {
            !run.job.execution.is_fenced()
                && held.next < held.end
                && held.end - held.next <= limits::GRANT_LEN_MAX
                && held.end <= run.count()
                && run.stop.is_none()
                && leading.grant_in(key, &held.grant).is_none()
                && (held.next..held.end).all(|i| matches!(run.phase(i), Phase::Pending | Phase::Backoff))
        });
        if !adoptable {
            // It is told to stop with the others, once the stop is durable.
            if let Some(run) = leading.runs.get_mut(&run_id).filter(|run| run.stop.is_some() && !run.stop_recorded) {
                definition::tell(run, leading.nodes.get_mut(slot), slot);
                return;
            }
            if let Some(session) = leading.nodes.get(slot).session {
                let stop = Stop {
                    run: run_id,
                    index: None,
                    grant: Some(key.grant),
                    reason: Reason::Cancelled,
                    grace: core::time::Duration::ZERO,
                };
                self.send(session, ToExecutor::Stop(stop));
            }
            return;
        }
        leading.dequeue(run_id);
        let Some(run) = leading.runs.get_mut(&run_id) else {
            return;
        };
        run.raise_fresh(held.next);
        run.take_range(held.next, held.end - held.next);
        definition::tell(run, leading.nodes.get_mut(slot), slot);
        if held.running {
            run.set_phase(held.next, Phase::Running);
            leading.task_runs(run_id, held.next, now);
        }
        let (first, end) = (held.next, held.end);
        leading.add_grant(Grant::new(key, run_id, slot, first, end));
        leading.requeue(run_id);
    }

    /// Settles what a reconnected node did not mention, once its old outcomes are in; then it may get grants.
    pub(crate) fn finish_reconcile(&mut self, slot: usize) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        let arrived = node.seen_through.saturating_add(1);
        let Some(reconcile) = node.reconcile.take_if(|reconcile| arrived >= reconcile.outbox_next) else {
            return;
        };
        node.presented = true;
        for (presented, next) in reconcile.grants {
            let Some(grant) = leading.grants.find_mut(presented) else {
                continue;
            };
            let gone = grant.next..next.unwrap_or(grant.end).min(grant.end);
            grant.next = grant.next.max(gone.end);
            let run = grant.run;
            leading.requeue_range(run, gone);
            leading.settle_grant(presented);
        }
        self.settle_unmentioned(slot);
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.node_freed(slot);
        leading.node_changed(slot);
        let settled = || leading.nodes.iter().all(|node| node.presented || node.lost);
        if leading.reconcile_until.is_some() && settled() {
            leading.end_reconciliation();
        }
        self.drain_step(slot);
        self.changed();
    }
}
