//! Services: how many of their tasks are wanted, and how one version takes over from another.
//!
//! All of it follows from what is stored: the active runs of a job in their order, and `desired` and `target` of each.
//! The newest run moves towards its target, the older ones towards nothing, one task at a time; so a new leader goes on
//! where the old one was.

use alloc::{format, vec::Vec};

use weir_wire::{
    id::{JobName, Namespace, RunId},
    kind::Kind,
    task::Reason,
    work::RunRecord,
};

use crate::{
    batch::PendingSubmission,
    input::RequestId,
    limits,
    output::RequestError,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::KeptRun,
};

/// What is to be done next about the runs of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing, or something is awaited.
    Rest,
    /// The wanted number of tasks of a run changes.
    Desire(RunId, u32),
    /// A run has nothing left that is wanted.
    Retire(RunId),
}

impl Scheduler {
    /// Keeps another number of tasks of a service.
    pub(crate) fn scale(
        &mut self,
        id: RequestId,
        namespace: Namespace,
        job: JobName,
        count: u32,
    ) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        let name = (namespace, job);
        let newest = leading.newest_spec(&name).ok_or_else(|| RequestError::UnknownJob(name.1.clone()))?;
        if !matches!(newest.kind, Kind::Service(_)) {
            return Err(RequestError::Conflict(format!(
                "{} is a {} job; only a service is scaled",
                name.1,
                newest.kind.as_str()
            )));
        }
        if count > limits::SERVICE_TASKS_MAX {
            return Err(RequestError::Limit("a service has at most 100,000 tasks"));
        }
        let run = leading.newest_active(&name)?;
        leading.check_open(leading.service_asks(&name, count))?;
        leading.admit_scale(&name, run, count)?;
        leading.open_batch().run(run).target = Some(count);
        let batch = leading.open_batch();
        batch.replies.push((id, crate::output::Reply::Done));
        batch.urgent = true;
        Ok(())
    }

    /// Starts the tasks of a long-running job anew: as a further run like the newest, which takes over from it.
    pub(crate) fn restart(&mut self, id: RequestId, namespace: Namespace, job: JobName) -> Result<(), RequestError> {
        let wall_ms = self.now.wall_ms;
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        let name = (namespace, job);
        let newest = leading.newest_spec(&name).ok_or_else(|| RequestError::UnknownJob(name.1.clone()))?;
        if !newest.kind.is_long_running() {
            let kind = newest.kind.as_str();
            return Err(RequestError::Conflict(format!("{} is a {kind} job; its tasks are not restarted", name.1)));
        }
        let run = leading.newest_active(&name)?;
        let run = leading.runs.get(&run).expect("active runs exist");
        let target = run.long.as_ref().map_or(run.record.count, |long| long.target);
        let count = if matches!(run.job.kind, Kind::System) { run.record.count } else { target };
        // What it waited for is over.
        let record = RunRecord { count, submitted_ms: wall_ms, scheduled_ms: None, ..run.record.clone() };
        leading.stage_submission(PendingSubmission::of(id, None, 0), alloc::vec![record]);
        Ok(())
    }
}

impl Scheduler {
    /// What a job keeps running at this moment; `None` of kinds whose tasks end, and where nothing is kept.
    #[must_use]
    pub fn kept_run(&self, namespace: &Namespace, job: &JobName) -> Option<KeptRun> {
        let leading = self.leading.as_deref()?;
        let run = leading.runs.get(&leading.newest_active(&(namespace.clone(), job.clone())).ok()?)?;
        let long = run.long.as_deref()?;
        let target = matches!(run.job.kind, Kind::Service(_)).then_some(long.target);
        Some(KeptRun { run: run.id, version: run.record.version, target, specified: run.job.count })
    }
}

impl Leading {
    /// The runs of a job that are neither over nor stopped for sure, oldest first.
    pub(crate) fn active_runs(&self, name: &(Namespace, JobName)) -> Vec<RunId> {
        let Some(runs) = self.job_runs.get(name) else { return Vec::new() };
        let active = |id: &&RunId| self.runs.get(id).is_some_and(|run| !run.stop_recorded && !run.is_over());
        runs.open.values().filter(active).copied().collect()
    }

    fn newest_active(&self, name: &(Namespace, JobName)) -> Result<RunId, RequestError> {
        let newest = self.active_runs(name).pop();
        let wanted = newest.filter(|id| self.runs.get(id).is_some_and(|run| run.stop.is_none()));
        wanted.ok_or_else(|| RequestError::Conflict(format!("{} has no active run; submit one", name.1)))
    }

    /// Brings the runs of a service one step further.
    pub(crate) fn step_service(&mut self, name: &(Namespace, JobName)) {
        let active = self.active_runs(name);
        let Some((&newest, olds)) = active.split_last() else { return };
        self.imply_desired(active[0]);
        // What runs may not be known before all nodes have said so.
        let paused = self.runs.get(&newest).is_some_and(|run| run.paused);
        if self.reconcile_until.is_none() && !paused {
            match self.next_step(newest, olds) {
                Step::Rest => {}
                Step::Desire(id, desired) => {
                    self.long_mut(id).staged = true;
                    self.open_batch().run(id).desired = Some(desired);
                }
                Step::Retire(id) => self.end_run(id, Reason::Cancelled),
            }
        }
        self.charge_service(name);
    }

    /// The oldest run whose number was never recorded wants all it was submitted with; one beside older ones begins with
    /// nothing.
    fn imply_desired(&mut self, oldest: RunId) {
        if self.runs.get(&oldest).is_none_or(|run| run.stop.is_some()) {
            return;
        }
        let long = self.long_mut(oldest);
        if long.desired_recorded.is_none() && !long.staged && long.desired != long.target {
            let target = long.target;
            self.set_desired(oldest, target);
        }
    }

    fn next_step(&self, newest: RunId, olds: &[RunId]) -> Step {
        let run = |id: &RunId| self.runs.get(id).expect("active runs exist");
        let desired = |id: &RunId| run(id).long.as_ref().map_or(0, |long| long.desired);
        let new = run(&newest);
        let Some(long) = new.long.as_deref() else { return Step::Rest };
        let waits = |id: &RunId| run(id).stop.is_some() || run(id).long.as_ref().is_some_and(|long| long.staged);
        if waits(&newest) || olds.iter().any(waits) || new.waiting.is_some() {
            return Step::Rest;
        }
        if olds.is_empty() || long.desired > long.target {
            let there = long.desired == long.target;
            return if there { Step::Rest } else { Step::Desire(newest, long.target) };
        }
        let ended = |id: &RunId| run(id).idle_from(desired(id));
        if !(0..long.desired).all(|index| long.is_healthy(index)) || !olds.iter().all(ended) {
            return Step::Rest;
        }
        let in_all = olds.iter().map(desired).fold(long.desired, u32::saturating_add);
        if in_all < long.target {
            return Step::Desire(newest, long.desired + 1);
        }
        // The newest of the old ones goes first: it is the one that was being rolled out when this one came.
        match olds.iter().rev().find(|id| desired(id) > 0) {
            Some(old) => Step::Desire(*old, desired(old) - 1),
            None => Step::Retire(olds[0]),
        }
    }

    /// Wants another number of tasks of a run.
    pub(crate) fn set_desired(&mut self, id: RunId, desired: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let added = run.grow(desired);
        let Some(long) = run.long.as_deref_mut() else { return };
        long.desired = desired;
        let count = run.count();
        self.open_tasks += u64::from(added);
        self.note_wanted(id);
        if self.end_added(id) {
            return;
        }
        for index in 0..count {
            self.want(id, index, index < desired);
        }
        self.requeue(id);
    }

    /// A change of a service's numbers is durable.
    pub(crate) fn desired_committed(&mut self, id: RunId, desired: Option<u32>, target: Option<u32>) {
        if desired.is_none() && target.is_none() {
            return;
        }
        let long = self.long_mut(id);
        if let Some(target) = target {
            long.target = target;
            long.target_recorded = Some(target);
        }
        if let Some(desired) = desired {
            long.staged = false;
            long.desired_recorded = Some(desired);
            self.set_desired(id, desired);
        }
        self.note_wanted(id);
        self.long_changed(id);
    }

    /// Ends tasks that were added to a run which is stopped meanwhile; true if it is.
    pub(crate) fn end_added(&mut self, id: RunId) -> bool {
        let Some(run) = self.runs.get(&id) else { return true };
        let (stop, count) = (run.stop, run.count());
        if let Some(reason) = stop {
            self.stop_tasks(id, 0..count, false, reason);
        }
        stop.is_some()
    }

    pub(crate) fn long_mut(&mut self, id: RunId) -> &mut crate::long::LongRunning {
        let run = self.runs.get_mut(&id).expect("runs that are looked at exist");
        run.long.as_deref_mut().expect("only long-running jobs are looked at")
    }
}

impl Run {
    /// Whether no attempt of the tasks from an index on runs.
    fn idle_from(&self, first: u32) -> bool {
        (first..self.count()).all(|index| !self.phase(index).is_busy())
    }
}
