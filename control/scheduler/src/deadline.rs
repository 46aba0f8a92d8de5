//! When the scheduler wants to be called again, and why.

use weir_wire::units::Instant;

use crate::scheduler::Scheduler;

/// Why a deadline was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// More can be placed than one turn allows.
    Placement,
    /// A batch of outcomes has been gathered for long enough.
    Batch,
    /// An unknown commit is submitted again.
    CommitRetry,
    /// The back-off of a task has passed.
    Backoff,
    /// A task of a long-running job has run for long enough to count as healthy.
    Health,
    /// A cron job may be due.
    Cron,
    /// Tasks were not started in time.
    StartDeadline,
    /// A payload is asked for again.
    Assembly,
    /// A node has been silent for too long.
    NodeSilence,
    /// A node that gave a grant back may get grants again.
    Holdoff,
    /// A node that may run a fenced attempt cannot have a lease any more.
    Fence,
    /// Production has waited for room for long enough, or has not taken room that was made for it.
    Preemption,
    /// The wait for registered nodes after an election is over.
    Reconciliation,
    /// Tasks of a node that is drained have had their time.
    Drain,
    /// The brake is looked at again.
    Brake,
    /// Ended runs are looked at for those whose time has come.
    Retention,
}

impl Scheduler {
    /// The earliest moment at which [`crate::Input::Tick`] has an effect, and why.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<(Instant, Reason)> {
        let leading = self.leading.as_ref()?;
        let candidates = [
            leading.more_to_place.then_some((self.now.mono, Reason::Placement)),
            leading.batch_deadline().map(|at| (at, Reason::Batch)),
            leading.commit_retry_at.map(|at| (at, Reason::CommitRetry)),
            leading.backoffs.first().map(|(at, ..)| (*at, Reason::Backoff)),
            leading.healths.first().map(|(at, ..)| (*at, Reason::Health)),
            leading.cron_deadline(self.now).map(|at| (at, Reason::Cron)),
            leading.start_deadlines.first().map(|(at, _)| (*at, Reason::StartDeadline)),
            leading.assemblies.first().map(|(at, _)| (*at, Reason::Assembly)),
            leading.silences.first().map(|(at, _)| (*at, Reason::NodeSilence)),
            leading.holdoffs.first().map(|(at, _)| (*at, Reason::Holdoff)),
            leading.claims.deadline().map(|at| (at, Reason::Preemption)),
            leading.fences.next().map(|at| (at, Reason::Fence)),
            leading.reconcile_until.map(|at| (at, Reason::Reconciliation)),
            leading.drains.first().map(|(at, _)| (*at, Reason::Drain)),
            leading.brake.check_at.map(|at| (at, Reason::Brake)),
            leading.retention.check_at.map(|at| (at, Reason::Retention)),
        ];
        candidates.into_iter().flatten().min()
    }
}
