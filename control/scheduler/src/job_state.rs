//! What is known of jobs beside their versions: whether they are paused, how far their firings have come, their runs.

use alloc::collections::BTreeMap;

use weir_wire::{
    id::{JobName, Namespace, RunId},
    kind::Kind,
    record::JobState,
    work::JobRecord,
};

use crate::{
    input::RequestId,
    output::{Reply, RequestError},
    scheduler::{Leading, Scheduler},
};

/// A job's full name.
pub(crate) type Name = (Namespace, JobName);

/// The runs of one job.
#[derive(Debug, Default)]
pub(crate) struct JobRuns {
    /// The one that was submitted last.
    pub(crate) newest: Option<RunId>,
    /// Those that are not over, by their place in the order of submission.
    pub(crate) open: BTreeMap<u64, RunId>,
}

impl Scheduler {
    /// Starts none of a job's tasks, or does so again.
    pub(crate) fn pause(&mut self, id: RequestId, name: Name, on: bool) -> Result<(), RequestError> {
        let wall_ms = self.now.wall_ms;
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        if leading.newest_spec(&name).is_none() {
            return Err(RequestError::UnknownJob(name.1));
        }
        let mut state = leading.state_of(&name);
        if state.paused && !on {
            // The instants of the pause are passed over.
            state.cron_through_ms = state.cron_through_ms.max(wall_ms);
        }
        state.paused = on;
        leading.stage_state(state);
        let batch = leading.open_batch();
        batch.replies.push((id, Reply::Done));
        batch.urgent = true;
        Ok(())
    }
}

impl Leading {
    /// The newest committed version of a job.
    pub(crate) fn newest_spec(&self, name: &Name) -> Option<&JobRecord> {
        self.jobs.get(name)?.last().map(AsRef::as_ref)
    }

    /// A job's state with all that is staged.
    pub(crate) fn state_of(&self, name: &Name) -> JobState {
        let known = self.staged_states.get(name).or_else(|| self.job_states.get(name));
        known.cloned().unwrap_or_else(|| JobState {
            namespace: name.0.clone(),
            job: name.1.clone(),
            paused: false,
            cron_through_ms: 0,
        })
    }

    /// Stages a job's state.
    pub(crate) fn stage_state(&mut self, state: JobState) {
        let name = (state.namespace.clone(), state.job.clone());
        self.staged_states.insert(name, state.clone());
        self.open_batch().put_state(state);
    }

    /// A job's state is durable.
    pub(crate) fn state_committed(&mut self, state: JobState) {
        let name = (state.namespace.clone(), state.job.clone());
        if self.staged_states.get(&name) == Some(&state) {
            self.staged_states.remove(&name);
        }
        let paused = state.paused;
        let before = self.job_states.insert(name.clone(), state).is_some_and(|state| state.paused);
        self.cron_dirty.insert(name.clone());
        if paused == before {
            return;
        }
        let runs: alloc::vec::Vec<RunId> =
            self.job_runs.get(&name).map(|runs| runs.open.values().copied().collect()).unwrap_or_default();
        for id in runs {
            if let Some(run) = self.runs.get_mut(&id) {
                run.paused = paused;
            }
            self.requeue(id);
            self.long_changed(id);
        }
        self.retry_all_pinned();
    }

    /// Enters a run into the table of its job's runs.
    pub(crate) fn index_run(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let name = (run.record.namespace.clone(), run.record.job.clone());
        run.paused = self.job_states.get(&name).is_some_and(|state| state.paused);
        let runs = self.job_runs.entry(name.clone()).or_default();
        runs.newest = Some(id);
        runs.open.insert(run.position, id);
        if run.job.kind.is_long_running() {
            if matches!(run.job.kind, Kind::System) {
                self.system_jobs.insert(name.clone());
            }
            self.long_dirty.insert(name);
        }
    }

    /// Takes a run that is over out of the table of open ones.
    pub(crate) fn unindex_run(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let name = (run.record.namespace.clone(), run.record.job.clone());
        let Some(runs) = self.job_runs.get_mut(&name) else { return };
        runs.open.remove(&run.position);
        if run.job.kind.is_long_running() {
            if runs.open.is_empty() {
                self.system_jobs.remove(&name);
            }
            self.long_dirty.insert(name.clone());
        }
        if matches!(run.job.kind, Kind::Cron(_)) {
            self.cron_dirty.insert(name);
        }
    }

    /// Looks at the long-running jobs of which something changed.
    pub(crate) fn step_long_running(&mut self) {
        self.follow_nodes();
        for name in core::mem::take(&mut self.long_dirty) {
            match self.newest_spec(&name).map(|spec| matches!(spec.kind, Kind::System)) {
                Some(true) => self.step_system(&name),
                Some(false) => self.step_service(&name),
                None => {}
            }
        }
    }
}
