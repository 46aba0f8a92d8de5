//! What executors say, and what becomes of their silence.

use alloc::{boxed::Box, vec::Vec};

use weir_wire::{
    id::{NodeId, RunId, Term},
    message::{
        Ack, FullState, HeldGrant, OutcomeGroup, RefuseCode, Renewed, Report, Returned, Started, Stop, TaskProgress,
        ToControl, ToExecutor, WIRE_MAX, WIRE_MIN, Welcome,
    },
    node::{Hello, NodeRecord},
    outcome::{Failure, Outcome},
    record::Exception,
    segment::Entry,
    task::{Reason, Source, Status},
};

use crate::{
    grant::{Grant, GrantKey},
    input::SessionId,
    limits,
    node::Reconcile,
    output::Output,
    phase::Phase,
    retry::{self, Cause, Verdict},
    scheduler::{Leading, Scheduler},
};

/// How long a node that gave a grant back untouched gets no new one.
const HOLDOFF: core::time::Duration = core::time::Duration::from_millis(100);

impl Scheduler {
    pub(crate) fn node_connected(&mut self, session: SessionId, hello: &Hello) {
        if let Err((code, message)) = self.admit(hello) {
            self.refuse(session, code, message);
            return;
        }
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let record =
            NodeRecord { node: hello.node.clone(), incarnation: hello.incarnation, first_seen_ms: now.wall_ms };
        let known = leading.nodes.slot(&hello.node);
        let slot = known.unwrap_or_else(|| leading.nodes.register(record.clone(), now.mono));
        let node = leading.nodes.get_mut(slot);
        let restarted = known.is_some() && (node.record.incarnation, node.boot) != (hello.incarnation, hello.boot);
        let register = known.is_none() || node.record.incarnation < hello.incarnation;
        node.record.incarnation = hello.incarnation;
        let record = node.record.clone();
        let old = node.session.take();
        if let Some(old) = old {
            self.end_session(old, slot, restarted);
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.nodes.bind(session, slot);
        leading.nodes.get_mut(slot).connect(session, hello, now.mono);
        leading.nodes.update_order(slot);
        leading.watch(slot, now.mono + self.config.node_timeout);
        if restarted {
            leading.drop_node_grants(slot, Reason::ExecutorRestarted);
        }
        // A node is granted work only once its registration is durable: a later leader waits for registered nodes.
        let batch = leading.open_batch();
        if register {
            batch.nodes.push(record);
        }
        batch.welcomes.push(session);
        batch.urgent = true;
        tracing::info!(node.id = %hello.node, incarnation = hello.incarnation.0, restarted, "node connected");
    }

    fn admit(&self, hello: &Hello) -> Result<(), (RefuseCode, &'static str)> {
        let Some(leading) = self.leading.as_ref() else {
            return Err((RefuseCode::NotLeader, "this replica is not the leader"));
        };
        if hello.cluster != self.config.cluster {
            return Err((RefuseCode::Cluster, "this is another cluster"));
        }
        if hello.wire_min > WIRE_MAX || hello.wire_max < WIRE_MIN {
            return Err((RefuseCode::WireVersion, "no wire version in common; upgrade the older side"));
        }
        let Some(slot) = leading.nodes.slot(&hello.node) else {
            if leading.nodes.len() >= limits::NODES_MAX {
                return Err((RefuseCode::NotLeader, "the cluster has as many nodes as it can have"));
            }
            return Ok(());
        };
        let node = leading.nodes.get(slot);
        if hello.incarnation < node.record.incarnation {
            return Err((
                RefuseCode::Superseded,
                "a later start of this node's executor is known; its data directory was restored or is used twice",
            ));
        }
        if node.session.is_some() && hello.incarnation == node.record.incarnation && hello.boot != node.boot {
            return Err((
                RefuseCode::Identity,
                "another executor with this name is connected; give each machine a certificate of its own",
            ));
        }
        Ok(())
    }

    /// Ends a session that a newer one of the same node replaces.
    fn end_session(&mut self, session: SessionId, slot: usize, superseded: bool) {
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.nodes.unbind(session);
            leading.nodes.get_mut(slot).disconnect();
            leading.nodes.update_order(slot);
        }
        if superseded {
            self.refuse(session, RefuseCode::Superseded, "a later start of this node's executor has taken over");
        } else {
            // The same daemon has connected again: it must not take this for an order to exit.
            self.outputs.push_back(Output::Close { session });
        }
    }

    pub(crate) fn node_disconnected(&mut self, session: SessionId) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(slot) = leading.nodes.unbind(session) else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.disconnect();
        tracing::warn!(node.id = %node.id(), "node disconnected");
        leading.nodes.update_order(slot);
    }

    /// A node's silence deadline has come: give it up, or wait for the rest if it was heard meanwhile.
    pub(crate) fn node_silent(&mut self, at: weir_wire::units::Instant, slot: usize) {
        let (now, timeout) = (self.now.mono, self.config.node_timeout);
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.silences.remove(&(at, slot));
        leading.nodes.get_mut(slot).watched = false;
        let node = leading.nodes.get_mut(slot);
        let due = node.last_seen + timeout;
        if due > now {
            leading.watch(slot, due);
            return;
        }
        if node.lost {
            return;
        }
        node.lost = true;
        let session = node.session.take();
        node.disconnect();
        tracing::warn!(node.id = %node.id(), grants = node.grants.len(), "node lost: its work is replaced");
        leading.nodes.update_order(slot);
        leading.drop_node_grants(slot, Reason::NodeLost);
        if let Some(session) = session {
            leading.nodes.unbind(session);
            self.outputs.push_back(Output::Close { session });
        }
    }

    pub(crate) fn node_message(&mut self, session: SessionId, message: ToControl) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(slot) = leading.nodes.of_session(session) else {
            return;
        };
        leading.nodes.get_mut(slot).last_seen = now;
        match message {
            ToControl::Hello(_) => {
                self.refuse(session, RefuseCode::Malformed, "a session says hello once");
                self.node_disconnected(session);
            }
            ToControl::Renew(renew) => {
                if now < self.leadership_until {
                    self.send(session, ToExecutor::Renewed(Renewed { token: renew.token }));
                }
            }
            ToControl::State(state) => self.node_state(slot, &state),
            ToControl::Report(report) => self.node_report(slot, report),
            ToControl::Output(output) => self.outputs.push_back(Output::TaskOutput(Box::new(output))),
        }
    }

    fn node_report(&mut self, slot: usize, report: Report) {
        let mut number = report.first;
        for OutcomeGroup { run, term, grant, outcomes } in report.groups {
            let key = GrantKey { term, grant };
            for (index, outcome) in outcomes {
                number += 1;
                self.outcome(slot, key, run, index, outcome);
            }
            self.settle_grant(key);
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if number > report.first {
            let node = leading.nodes.get_mut(slot);
            node.seen_through = node.seen_through.max(number - 1);
            self.acknowledge(slot, number - 1);
        }
        for started in &report.started {
            self.task_started(slot, started);
        }
        for returned in &report.returned {
            self.tasks_returned(slot, returned);
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        for TaskProgress { run, index, done, total } in report.progress {
            if let Some(run) = leading.runs.get_mut(&run)
                && index < run.count()
                && run.phase(index).is_granted()
            {
                run.progress.insert(index, (done, total));
            }
        }
        self.finish_reconcile(slot);
    }

    /// Acknowledges outcomes once all that is staged so far is durable.
    fn acknowledge(&mut self, slot: usize, through: u64) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let open = leading.batches.back().filter(|batch| !batch.is_empty()).map(|batch| batch.id);
        let in_flight = leading.in_flight.as_ref().filter(|in_flight| !in_flight.checkpoint);
        let node = leading.nodes.get_mut(slot);
        match open.or_else(|| in_flight.map(|in_flight| in_flight.batch.id)) {
            Some(batch) => match node.acks.back_mut() {
                Some(last) if last.0 == batch => last.1 = last.1.max(through),
                Some(_) | None => node.acks.push_back((batch, through)),
            },
            None => {
                if let Some(session) = node.session {
                    self.send(session, ToExecutor::Ack(Ack { through }));
                }
            }
        }
    }

    /// Takes in the end of one attempt.
    fn outcome(&mut self, slot: usize, key: GrantKey, id: RunId, index: u32, outcome: Outcome) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get_mut(&id).filter(|run| index < run.count()) else {
            leading.outcomes_ignored += 1;
            return;
        };
        let current = leading.grants.get_mut(&key).filter(|grant| grant.covers(id, slot, index));
        let is_current = current.is_some();
        let mut skipped = 0..0;
        if let Some(grant) = current {
            skipped = grant.next..index;
            grant.next = index + 1;
        }
        run.measure(outcome.usage.wall_us);
        let open = run.phase(index).is_open();
        leading.requeue_range(id, skipped);
        if !open || !(is_current || outcome.status == Status::Succeeded) {
            // Its usage is not added: an outcome that is sent again looks the same.
            leading.outcomes_ignored += 1;
            return;
        }
        leading.outcomes += 1;
        if !is_current {
            self.stop_superfluous(id, index);
        }
        match outcome.failure.as_ref().map(|failure| failure.reason) {
            Some(reason) if outcome.status != Status::Succeeded => {
                self.failed(slot, id, index, outcome, reason);
            }
            Some(_) | None => self.ended(id, index, outcome, None),
        }
    }

    /// A success from a superseded attempt arrived: the attempt that holds the task now is not needed.
    fn stop_superfluous(&mut self, id: RunId, index: u32) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get(&id) else { return };
        let Some(key) = run.lane_of(index).filter(|_| run.phase(index).is_granted()) else {
            return;
        };
        let Some(grant) = leading.grants.get(&key) else { return };
        if let Some(session) = leading.nodes.get(grant.node).session {
            let stop = Stop { run: id, index: Some(index), grant: Some(key.grant), reason: Reason::Cancelled };
            self.send(session, ToExecutor::Stop(stop));
        }
    }

    fn failed(&mut self, slot: usize, id: RunId, index: u32, outcome: Outcome, reason: Reason) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot).id().clone();
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let tries = run.tries.get(&index).copied().unwrap_or_default();
        let stopped = run.stop.is_some() || run.stopping.contains_key(&index);
        let verdict = if stopped {
            Verdict::End(outcome.status)
        } else if outcome.status == Status::Killed && reason == Reason::Cancelled {
            // Nobody asked for it: a stop meant for an attempt that is not current any more.
            Verdict::Again { delay: core::time::Duration::ZERO, counted: false }
        } else {
            let permanent = outcome.failure.as_ref().is_some_and(|failure| failure.permanent);
            retry::judge(&run.job.retry, tries, outcome.status, Cause { reason, permanent }, &mut self.rng)
        };
        match verdict {
            Verdict::End(_) => self.ended(id, index, outcome, Some(node)),
            Verdict::Again { delay, counted } => {
                leading.retry(id, index, delay, counted, outcome, node, self.now.mono);
            }
        }
    }

    /// Stages the end of a task.
    fn ended(&mut self, id: RunId, index: u32, outcome: Outcome, node: Option<NodeId>) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get_mut(&id) else { return };
        run.set_phase(index, Phase::Staged(outcome.status));
        let mut failures = run.tries.get(&index).map_or(0, |tries| tries.counted);
        if outcome.status == Status::Failed {
            failures += 1;
        }
        let batch = leading.open_batch();
        batch.outcomes += 1;
        batch.end(id, index, outcome.status);
        batch.run(id).usage.add(&outcome.usage);
        if let Some(failure) = outcome.failure {
            let status = Some(outcome.status);
            batch.except(id, Exception { index, failures, status, failure: *failure, node });
        }
        batch.keep(id, Entry { index, usage: outcome.usage, result: outcome.result, log: outcome.log });
        leading.requeue(id);
    }

    fn settle_grant(&mut self, key: GrantKey) {
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.settle_grant(key);
        }
    }

    fn task_started(&mut self, slot: usize, started: &Started) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let task = started.id.task;
        let key = GrantKey { term: started.id.term, grant: started.id.grant };
        let held = leading.grants.get(&key).is_some_and(|grant| grant.covers(task.run, slot, task.index));
        let Some(run) = leading.runs.get_mut(&task.run).filter(|_| held) else {
            return;
        };
        if run.phase(task.index) == Phase::Granted {
            run.set_phase(task.index, Phase::Running);
            self.changed();
        }
    }

    fn tasks_returned(&mut self, slot: usize, returned: &Returned) {
        let now = self.now.mono;
        let Returned { run, term, grant, from } = *returned;
        let key = GrantKey { term, grant };
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(held) = leading.grants.get_mut(&key).filter(|held| held.run == run && held.node == slot) else {
            return;
        };
        let from = from.clamp(held.next, held.end);
        let untouched = from == held.first;
        let range = from..held.end;
        held.end = from;
        leading.requeue_range(run, range);
        if untouched {
            // It had no room for it: its own books disagree with ours for a moment.
            let until = now + HOLDOFF;
            let node = leading.nodes.get_mut(slot);
            node.holdoff = Some(until);
            // Or it did not know the run: it may have dropped it to make room.
            node.defined.remove(&run);
            leading.holdoffs.insert((until, slot));
            leading.nodes.update_order(slot);
        }
        self.settle_grant(key);
    }

    fn node_state(&mut self, slot: usize, state: &FullState) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.seen_through = node.seen_through.max(state.outbox_first.saturating_sub(1));
        let mut settle: Vec<(GrantKey, Option<u32>)> = node.grants.iter().map(|key| (*key, None)).collect();
        for held in &state.grants {
            let key = GrantKey { term: held.grant.term, grant: held.grant.grant };
            if let Some(entry) = settle.iter_mut().find(|(known, _)| *known == key) {
                entry.1 = Some(held.next);
                self.sync_grant(slot, key, held);
            } else {
                self.adopt_or_stop(slot, key, held);
            }
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.reconcile = Some(Reconcile { outbox_next: state.outbox_next, grants: settle });
        self.finish_reconcile(slot);
    }

    /// A grant that both sides know: take over what was given back and what runs.
    fn sync_grant(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let weir_wire::message::Grant { term, grant, run, .. } = held.grant;
        if held.end < held.grant.first.saturating_add(held.grant.len) {
            self.tasks_returned(slot, &Returned { run, term, grant, from: held.end.max(held.next) });
        }
        if held.running {
            let task = weir_wire::id::TaskId { run, index: held.next };
            self.task_started(
                slot,
                &Started { id: weir_wire::id::AttemptId { task, term: key.term, grant: key.grant } },
            );
        }
        self.stop_again(slot, key, held);
    }

    /// Repeats the stops that may have been lost with an earlier session, and notes that the node knows the run.
    fn stop_again(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        let Some(session) = node.session else { return };
        node.defined.insert(held.grant.run);
        let Some(run) = leading.runs.get_mut(&held.grant.run) else {
            return;
        };
        run.defined_on.insert(slot);
        let grant = Some(key.grant);
        let mut stops = Vec::new();
        if let Some(reason) = run.stop {
            stops.push(Stop { run: run.id, index: None, grant, reason });
        } else {
            // The last one first: a stop gives the rest of the range back.
            let single = run.stopping.range(held.next..held.end.max(held.next)).rev();
            stops.extend(single.map(|(index, reason)| Stop {
                run: run.id,
                index: Some(*index),
                grant,
                reason: *reason,
            }));
        }
        for stop in stops {
            self.send(session, ToExecutor::Stop(stop));
        }
    }

    /// A grant of an earlier term, or one that was given up: taken over if all of its tasks still wait.
    fn adopt_or_stop(&mut self, slot: usize, key: GrantKey, held: &HeldGrant) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let run_id = held.grant.run;
        let adoptable = leading.runs.get(&run_id).is_some_and(|run| {
            held.next < held.end
                && held.end <= run.count()
                && run.stop.is_none()
                && !leading.grants.contains_key(&key)
                && (held.next..held.end).all(|i| matches!(run.phase(i), Phase::Pending | Phase::Backoff))
        });
        if !adoptable {
            if let Some(session) = leading.nodes.get(slot).session {
                let stop = Stop { run: run_id, index: None, grant: Some(key.grant), reason: Reason::Cancelled };
                self.send(session, ToExecutor::Stop(stop));
            }
            return;
        }
        leading.dequeue(run_id);
        let Some(run) = leading.runs.get_mut(&run_id) else {
            return;
        };
        run.raise_fresh(held.next);
        run.take_range(held.next, held.end - held.next, key);
        run.defined_on.insert(slot);
        if held.running {
            run.set_phase(held.next, Phase::Running);
        }
        let (first, end) = (held.next, held.end);
        leading.add_grant(key, Grant { run: run_id, node: slot, lane: first, first, next: first, end });
        leading.nodes.get_mut(slot).defined.insert(run_id);
        leading.requeue(run_id);
    }

    /// Settles what a reconnected node did not mention, once its old outcomes are in; then it may get grants.
    fn finish_reconcile(&mut self, slot: usize) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        let arrived = node.seen_through.saturating_add(1);
        let Some(reconcile) = node.reconcile.take_if(|reconcile| arrived >= reconcile.outbox_next) else {
            return;
        };
        node.presented = true;
        for (key, next) in reconcile.grants {
            let Some(grant) = leading.grants.get_mut(&key) else {
                continue;
            };
            let gone = grant.next..next.unwrap_or(grant.end).min(grant.end);
            grant.next = grant.next.max(gone.end);
            let run = grant.run;
            leading.requeue_range(run, gone);
            leading.settle_grant(key);
        }
        leading.node_freed(slot);
        let waiting = leading.nodes.iter().any(|node| !node.presented && !node.lost);
        if !waiting && leading.reconcile_until.is_some() {
            leading.end_reconciliation();
        }
        self.changed();
    }

    pub(crate) fn changed(&mut self) {
        let revision = self.revision();
        self.outputs.push_back(Output::Changed { revision });
    }

    /// Welcomes a session whose registration is durable.
    pub(crate) fn welcome(&mut self, session: SessionId, term: Term) {
        let known = self.leading.as_deref_mut().and_then(|leading| {
            let slot = leading.nodes.of_session(session)?;
            leading.nodes.get_mut(slot).welcomed = true;
            Some(())
        });
        if known.is_some() {
            let Self { config, .. } = self;
            let (lease, renew_every) = (config.lease, config.renew_every);
            self.send(session, ToExecutor::Welcome(Welcome { wire: WIRE_MAX, term, lease, renew_every }));
        }
    }
}

impl Leading {
    /// Sets the silence deadline of a node, unless there is one already.
    pub(crate) fn watch(&mut self, slot: usize, at: weir_wire::units::Instant) {
        let node = self.nodes.get_mut(slot);
        if !core::mem::replace(&mut node.watched, true) {
            self.silences.insert((at, slot));
        }
    }

    /// Puts tasks that were granted back to where they can be granted again.
    pub(crate) fn requeue_range(&mut self, id: RunId, range: core::ops::Range<u32>) {
        if range.is_empty() {
            return;
        }
        for index in range {
            self.requeue_task(id, index);
        }
        self.requeue(id);
    }

    fn requeue_task(&mut self, id: RunId, index: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !run.phase(index).is_granted() {
            return;
        }
        run.progress.remove(&index);
        let stop = run.stop.or_else(|| run.stopping.get(&index).copied());
        if stop.is_some() {
            run.set_phase(index, Phase::Staged(Status::Killed));
            self.open_batch().end(id, index, Status::Killed);
        } else {
            run.set_phase(index, Phase::Pending);
        }
    }

    /// Gives up all grants of a node.
    pub(crate) fn drop_node_grants(&mut self, slot: usize, reason: Reason) {
        let keys: Vec<GrantKey> = self.nodes.get(slot).grants.iter().copied().collect();
        let node = self.nodes.get(slot).id().clone();
        for key in keys {
            let Some(grant) = self.grants.get_mut(&key) else {
                continue;
            };
            let (id, range) = (grant.run, grant.next..grant.end);
            grant.next = grant.end;
            if let Some(run) = self.runs.get_mut(&id) {
                let failure = Failure::new(reason, Source::Control, alloc::format!("{reason} on {node}"));
                for index in range.clone() {
                    if run.phase(index) != Phase::Running {
                        continue;
                    }
                    run.tries.entry(index).or_default().free += 1;
                    let failures = run.tries.get(&index).map_or(0, |tries| tries.counted);
                    let node = Some(node.clone());
                    run.exceptions
                        .insert(index, Exception { index, failures, status: None, failure: failure.clone(), node });
                }
            }
            self.requeue_range(id, range);
            self.remove_grant(key);
        }
    }

    /// Stages a failure of a task that is tried again.
    #[expect(clippy::too_many_arguments, reason = "all of them are parts of one verdict")]
    fn retry(
        &mut self,
        id: RunId,
        index: u32,
        delay: core::time::Duration,
        counted: bool,
        outcome: Outcome,
        node: NodeId,
        now: weir_wire::units::Instant,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let tries = run.tries.entry(index).or_default();
        if counted {
            tries.counted += 1;
        } else {
            tries.free += 1;
        }
        let failures = tries.counted;
        run.progress.remove(&index);
        if delay.is_zero() {
            run.set_phase(index, Phase::Pending);
        } else {
            let at = now + delay;
            run.set_phase(index, Phase::Backoff);
            run.backoff.insert(index, at);
            self.backoffs.insert((at, id, index));
        }
        let batch = self.open_batch();
        batch.outcomes += 1;
        batch.run(id).usage.add(&outcome.usage);
        if let Some(failure) = outcome.failure {
            batch.except(id, Exception { index, failures, status: None, failure: *failure, node: Some(node) });
        }
        self.requeue(id);
    }
}
