//! Start deadlines: tasks that were not started in time are not started at all.

use weir_wire::{
    id::RunId,
    task::Status,
    units::{Instant, Now},
};

use crate::{phase::Phase, run::Run, scheduler::Leading};

/// How a task ends that was never started in time: it could not be run at all. No exception is recorded for it, so that
/// ten million of them are one range in the log; where nothing else is known of a rejected task, this is why.
pub(crate) const STATUS: Status = Status::Rejected;

impl Run {
    /// When its start deadline passes. Wall time says how much of it is left, which is never more than all of it.
    pub(crate) fn start_deadline(&self, now: Now) -> Option<Instant> {
        let deadline = self.job.start_deadline?;
        let waited = core::time::Duration::from_millis(now.wall_ms.saturating_sub(self.record.submitted_ms));
        Some(now.mono + deadline.saturating_sub(waited))
    }
}

impl Leading {
    /// Starts what follows from start deadlines that have passed.
    pub(crate) fn pass_start_deadlines(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.start_deadlines.first()
            && at <= now
        {
            self.start_deadlines.pop_first();
            if let Some(run) = self.runs.get_mut(&id) {
                run.start_expired = true;
            }
            self.expire(id);
        }
    }

    /// Ends tasks of a run that were never started, once its start deadline has passed.
    pub(crate) fn expire(&mut self, id: RunId) {
        let reconciling = self.reconcile_until.is_some();
        let Some(run) = self.runs.get_mut(&id) else { return };
        // What a node may be running is not known before it has said so.
        if !run.start_expired
            || run.stop.is_some()
            || (run.restored && reconciling)
            || run.in_phase(Phase::Pending) == 0
        {
            return;
        }
        let late = run.take_never_started();
        for index in late {
            let Some(run) = self.runs.get_mut(&id) else { return };
            run.set_phase(index, Phase::Staged(STATUS));
            self.open_batch().end(id, index, STATUS);
        }
        // The end of another run may wake it before anything else looks at this one.
        if self.runs.get(&id).is_some_and(|run| run.in_phase(Phase::Pending) == 0) {
            self.dequeue(id);
        }
    }
}
