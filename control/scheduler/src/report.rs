//! What executors report: ends, starts, give-backs, progress.

use core::ops::Range;

use weir_wire::{
    id::{AttemptId, NodeId, RunId, TaskId},
    message::{Ack, OutcomeGroup, Report, Returned, Started, Stop, TaskProgress, ToExecutor},
    outcome::Outcome,
    record::Exception,
    segment::Entry,
    task::{Reason, RetryClass, Status},
};

use crate::{
    grant::{GrantKey, GrantRef},
    phase::Phase,
    retry::{self, Cause, Verdict},
    scheduler::{Leading, Scheduler},
};

/// How long a node that gave a grant back untouched gets no new one.
const HOLDOFF: core::time::Duration = core::time::Duration::from_millis(100);

impl Scheduler {
    pub(crate) fn node_report(&mut self, slot: usize, report: Report) {
        let mut number = report.first;
        let Some(leading) = self.leading.as_deref() else { return };
        let mut grants = leading.grants_of(report.groups.iter().flat_map(attempts)).into_iter();
        for OutcomeGroup { run, term, grant, outcomes } in report.groups {
            let key = GrantKey { term, grant };
            let mut current = None;
            for (index, outcome) in outcomes {
                number += 1;
                let grant = grants.next().flatten();
                let skipped = self.leading.as_deref_mut().and_then(|leading| leading.pass(grant?, slot, run, index));
                current = grant.filter(|_| skipped.is_some()).or(current);
                self.outcome(slot, key, run, index, outcome, skipped);
            }
            if let (Some(grant), Some(leading)) = (current, self.leading.as_deref_mut()) {
                leading.settle_grant(grant);
            }
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if let Some(measured) = report.measured {
            leading.nodes.get_mut(slot).measured = Some(measured);
            leading.node_freed(slot);
        }
        if number > report.first {
            let node = leading.nodes.get_mut(slot);
            node.seen_through = node.seen_through.max(number - 1);
            self.acknowledge(slot, number - 1);
        }
        if let (Some(measured), Some(leading)) = (report.measured, self.leading.as_deref_mut()) {
            leading.node_measured(slot, measured);
        }
        self.tasks_started(slot, &report.started);
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
        self.drain_step(slot);
    }

    /// Acknowledges outcomes once all that is staged so far is durable.
    pub(crate) fn acknowledge(&mut self, slot: usize, through: u64) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let open = leading.batches.back().filter(|batch| !batch.is_empty()).map(|batch| batch.id);
        let in_flight = leading.in_flight.as_ref().filter(|in_flight| !in_flight.checkpoint);
        let node = leading.nodes.get_mut(slot);
        match open.or_else(|| in_flight.map(|in_flight| in_flight.batch.id)) {
            Some(batch) => match node.acks.back_mut() {
                Some(last) if last.0 == batch => last.1 = last.1.max(through),
                Some(_) | None => {
                    node.acks.push_back((batch, through));
                    leading.owed.insert(slot);
                }
            },
            None => {
                if let Some(session) = node.session {
                    self.send(session, ToExecutor::Ack(Ack { through }));
                }
            }
        }
    }

    /// Takes in the end of one attempt. Of the attempt that holds the task, `skipped` are the tasks before it that its
    /// grant held as well.
    pub(crate) fn outcome(
        &mut self,
        slot: usize,
        key: GrantKey,
        id: RunId,
        index: u32,
        outcome: Outcome,
        skipped: Option<Range<u32>>,
    ) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get_mut(&id).filter(|run| index < run.count()) else {
            leading.outcomes_ignored += 1;
            return;
        };
        let is_current = skipped.is_some() || run.fenced.speaks(index, key, leading.nodes.get(slot).id());
        if is_current {
            run.measure(outcome.usage.wall_us);
        }
        let open = run.phase(index).is_open();
        // A node that was never given the run has no say about it; who was given a restored run is not known.
        // What may execute once has one attempt, so that no other one can have been superseded.
        let entitled = !run.job.execution.at_most_once && (run.restored || run.defined_on.contains(slot));
        // A long-running task is never done, so a superseded attempt of it has nothing to say.
        let long = run.long.is_some();
        let goes_on = long && run.stop.is_none();
        let stop = run.stop;
        leading.requeue_range(id, skipped.unwrap_or_default());
        if !open || !(is_current || (entitled && outcome.status == Status::Succeeded && !long)) {
            // Its usage is not added: an outcome that is sent again looks the same.
            leading.outcomes_ignored += 1;
            return;
        }
        leading.outcomes += 1;
        if !is_current {
            self.stop_superfluous(id, index);
        }
        if goes_on {
            return self.attempt_ended(slot, id, index, outcome);
        }
        let outcome = match stop.filter(|_| long) {
            Some(reason) => Self::killed(outcome, reason),
            None => outcome,
        };
        match outcome.failure.as_ref().map(|failure| failure.reason) {
            Some(reason) if outcome.status != Status::Succeeded => {
                self.failed(slot, id, index, outcome, reason);
            }
            Some(_) | None => self.ended(id, index, outcome, None),
        }
    }

    /// A success from a superseded attempt arrived: the attempt that holds the task now is not needed.
    pub(crate) fn stop_superfluous(&mut self, id: RunId, index: u32) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get(&id) else { return };
        let Some(slot) = run.lane_of(index).filter(|_| run.phase(index).is_granted()) else {
            return;
        };
        let (key, node) = (leading.grants.get(slot).key, leading.grants.get(slot).node());
        if leading.take_back_unsent(id, index, GrantRef { key, slot }) {
            return;
        }
        if let Some(session) = leading.nodes.get(node).session {
            let stop = Stop {
                run: id,
                index: Some(index),
                grant: Some(key.grant),
                reason: Reason::Cancelled,
                grace: core::time::Duration::ZERO,
            };
            self.send(session, ToExecutor::Stop(stop));
        }
    }

    pub(crate) fn failed(&mut self, slot: usize, id: RunId, index: u32, mut outcome: Outcome, reason: Reason) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get(slot).id().clone();
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let tries = run.tries.get(&index).copied().unwrap_or_default();
        let stopped = run.stop.is_some() || run.stopping.contains_key(&index);
        let verdict = if run.job.execution.at_most_once {
            let lost = matches!(reason, Reason::NodeLost | Reason::ExecutorRestarted);
            outcome.status = if lost { Status::Lost } else { outcome.status };
            Verdict::End(outcome.status)
        } else if stopped {
            // It would be tried again, were it not for the stop.
            let free = outcome.status == Status::Failed && reason.retry_class() == RetryClass::Free;
            Verdict::End(if free { Status::Killed } else { outcome.status })
        } else if outcome.status == Status::Killed && reason == Reason::Cancelled {
            // Nobody asked for it: a stop meant for an attempt that is not current any more.
            Verdict::Again { delay: core::time::Duration::ZERO, counted: false }
        } else {
            let permanent = outcome.failure.as_ref().is_some_and(|failure| failure.permanent);
            retry::judge(&run.job.retry, tries, outcome.status, Cause { reason, permanent }, &mut self.rng)
        };
        match verdict {
            Verdict::End(status) => {
                outcome.status = status;
                self.ended(id, index, outcome, Some(node));
            }
            Verdict::Again { delay, counted } => {
                leading.retry(id, index, delay, counted, outcome, node, self.now.mono);
            }
        }
    }

    /// Stages the end of a task.
    pub(crate) fn ended(&mut self, id: RunId, index: u32, outcome: Outcome, node: Option<NodeId>) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(run) = leading.runs.get_mut(&id) else { return };
        run.set_phase(index, Phase::Staged(outcome.status));
        run.executed |= outcome.usage.wall_us > 0;
        let bounded = run.job.max_failed.is_some();
        let mut failures = run.tries.get(&index).map_or(0, |tries| tries.counted);
        if outcome.status == Status::Failed {
            failures += 1;
        }
        let batch = leading.open_batch();
        batch.outcomes += 1;
        let Outcome { status, usage, failure, result, log, .. } = outcome;
        batch.end_with(id, status, Entry { index, usage, result, log });
        if let Some(failure) = failure {
            batch.except(id, Exception { index, failures, status: Some(status), failure: *failure, node });
        }
        leading.requeue(id);
        if bounded {
            leading.stop_failing(id);
        }
    }

    /// Takes in which attempts run.
    pub(crate) fn tasks_started(&mut self, slot: usize, started: &[Started]) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref() else { return };
        let grants = leading.grants_of(started.iter().map(|started| started.id));
        for (Started { id: AttemptId { task, .. } }, grant) in started.iter().zip(grants) {
            let Some(leading) = self.leading.as_deref_mut() else { return };
            let grant = grant.and_then(|grant| leading.grants.find(grant));
            let held = grant.is_some_and(|grant| grant.covers(task.run, slot, task.index));
            let Some(run) = leading.runs.get_mut(&task.run).filter(|_| held) else { continue };
            if run.phase(task.index) == Phase::Granted {
                run.set_phase(task.index, Phase::Running);
                leading.task_runs(task.run, task.index, now);
                self.changed();
            }
        }
    }

    pub(crate) fn tasks_returned(&mut self, slot: usize, returned: &Returned) {
        let now = self.now.mono;
        let Returned { run, term, grant, from } = *returned;
        let key = GrantKey { term, grant };
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        // What it still holds may have been reported meanwhile, and then the run does not know the grant by that task.
        let found = leading.grant_of(key, run, from).or_else(|| leading.grant_on(slot, key));
        let Some(returned) = found else { return };
        let held = leading.grants.get_mut(returned.slot);
        if held.run != run || held.node() != slot {
            return;
        }
        let from = from.clamp(held.next, held.end);
        let untouched = from == held.first && !held.evicted;
        let range = from..held.end;
        held.end = from;
        leading.requeue_range(run, range);
        if untouched {
            // It had no room for it: its own books disagree with ours for a moment.
            let until = now + HOLDOFF;
            let node = leading.nodes.get_mut(slot);
            node.holdoff = Some(until);
            // Or it did not know the run: it may have dropped it to make room.
            leading.untell(run, slot);
            leading.holdoffs.insert((until, slot));
            leading.nodes.update_order(slot);
        }
        leading.settle_grant(returned);
    }
}

/// The attempts of a group.
fn attempts(group: &OutcomeGroup) -> impl Iterator<Item = AttemptId> {
    let OutcomeGroup { run, term, grant, .. } = *group;
    group.outcomes.iter().map(move |(index, _)| AttemptId { task: TaskId { run, index: *index }, term, grant })
}

impl Leading {
    /// Moves a grant on behind a task whose end its node reports, if it holds the task; gives the tasks that it leaves
    /// out.
    fn pass(&mut self, grant: GrantRef, slot: usize, id: RunId, index: u32) -> Option<Range<u32>> {
        let grant = self.grants.find_mut(grant).filter(|grant| grant.covers(id, slot, index))?;
        let skipped = grant.next..index;
        grant.next = index + 1;
        Some(skipped)
    }

    /// Stops a run early of which too many tasks have failed.
    pub(crate) fn stop_failing(&mut self, id: RunId) {
        if self.runs.get(&id).is_some_and(|run| run.has_failed_too_often() && run.stop.is_none()) {
            self.end_run(id, Reason::Cancelled);
        }
    }

    /// Stages a failure of a task that is tried again.
    #[expect(clippy::too_many_arguments, reason = "all of them are parts of one verdict")]
    pub(crate) fn retry(
        &mut self,
        id: RunId,
        index: u32,
        delay: core::time::Duration,
        counted: bool,
        outcome: Outcome,
        node: NodeId,
        now: weir_wire::units::Instant,
    ) {
        self.unfence(id, index);
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
            self.pinned_task_waits(id, index);
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
