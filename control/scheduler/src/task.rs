//! How one task is shown.

use alloc::format;

use weir_wire::{
    id::NodeId,
    kind::Kind,
    outcome::Failure,
    task::{Reason, Source, Status, TaskState},
    units::Now,
};

use crate::{expire, grant::Grant, phase::Phase, run::Run, scheduler::Leading, view::TaskView};

impl Leading {
    /// The state of a task, as people see it.
    pub(crate) fn task_state(&self, run: &Run, index: u32) -> TaskState {
        let phase = run.phase(index);
        let grant = run.lane_of(index).filter(|_| phase.is_granted()).map(|slot| self.grants.get(slot));
        match grant {
            Some(grant) if self.nodes.get(grant.node()).session.is_none() => TaskState::Unknown,
            Some(grant) if self.is_leaving(grant) => TaskState::Stopping,
            None if matches!(phase, Phase::Staged(_)) && run.staged_unstarted() > 0 => TaskState::Pending,
            Some(_) | None => phase.state(),
        }
    }

    /// Whether the tasks of a grant were asked to end, to make room or because of a drain.
    pub(crate) fn is_leaving(&self, grant: &Grant) -> bool {
        grant.evicted || self.nodes.get(grant.node()).ops.stops.contains(&grant.key)
    }

    /// Everything about a task.
    pub(crate) fn task_view(&self, now: Now, run: &Run, index: u32) -> TaskView {
        let phase = run.phase(index);
        let grant = run.lane_of(index).filter(|_| phase.is_granted()).map(|slot| self.grants.get(slot));
        let exception = run.exceptions.get(&index);
        let tries = run.tries.get(&index).map_or(0, |tries| tries.counted);
        let failures = exception.map_or(tries, |exception| exception.failures.max(tries));
        let mut failure = exception.map(|exception| exception.failure.clone());
        let mut unstarted = false;
        if let (None, Phase::Recorded(status)) = (&failure, phase) {
            failure = self.unstarted_failure(run, status);
            unstarted = failure.is_some();
        }
        let ended_badly = matches!(phase, Phase::Recorded(Status::Failed));
        let waited_for = || run.fenced.held(index).map(|held| held.node.clone());
        let running_on = grant.map(|grant| self.nodes.get(grant.node()).id().clone()).or_else(waited_for);
        let retry = run.backoff.get(&index).map(|at| at.since(now.mono));
        TaskView {
            index,
            state: self.task_state(run, index),
            attempt: match (unstarted, ended_badly) {
                (true, _) => 0,
                (false, true) => failures.max(1),
                (false, false) => failures + 1,
            },
            failures,
            failure,
            node: running_on
                .or_else(|| pin(run, index).filter(|_| phase.is_open()).cloned())
                .or_else(|| exception.and_then(|exception| exception.node.clone())),
            progress: run.progress.get(&index).copied(),
            next_retry_ms: retry.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            dormant: (phase == Phase::Dormant).then(|| self.why_dormant(run, index)),
        }
    }

    /// Why a task of a long-running job is not wanted.
    fn why_dormant(&self, run: &Run, index: u32) -> &'static str {
        match pin(run, index) {
            Some(node) => self.why_node_has_none(run, node),
            None => "the service keeps fewer tasks than it had",
        }
    }

    /// Why a task ended that never ran: of these, only the status is recorded.
    fn unstarted_failure(&self, run: &Run, status: Status) -> Option<Failure> {
        let control = |reason, message: &str| Some(Failure::new(reason, Source::Control, message));
        match (status, run.stop) {
            (expire::STATUS, _) => control(Reason::StartDeadline, "not started before the start deadline passed"),
            (Status::Failed, Some(Reason::DependencyFailed)) => {
                let message = match self.failed_upstream(run) {
                    Some(upstream) => {
                        let (job, state) = (&upstream.record.job, upstream.state().as_str());
                        format!("run {} of {job}, which it depends on, is {state}", upstream.id)
                    }
                    None => "a run that it depends on did not end as it has to".into(),
                };
                control(Reason::DependencyFailed, &message)
            }
            (Status::Killed, Some(reason)) if run.has_failed_too_often() => {
                let most = run.job.max_failed.unwrap_or(0);
                control(reason, &format!("more than {most} tasks of the run have failed"))
            }
            (Status::Killed, Some(reason)) => control(reason, "stopped before it was started"),
            _ => None,
        }
    }
}

impl Run {
    /// Tasks that have ended, of a run of which nothing was ever started; the commit that says so is awaited.
    pub(crate) fn staged_unstarted(&self) -> u32 {
        if self.stop.is_none() || self.executed || self.usage.attempts > 0 || self.lanes.len() > 0 {
            return 0;
        }
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Succeeded);
        statuses.map(|status| self.in_phase(Phase::Staged(status))).sum()
    }
}

/// The node of a system job's task.
fn pin(run: &Run, index: u32) -> Option<&NodeId> {
    let long = run.long.as_deref().filter(|_| matches!(run.job.kind, Kind::System))?;
    long.pins.get(index as usize)
}
