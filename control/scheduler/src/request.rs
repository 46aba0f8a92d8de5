//! What users ask for.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use weir_wire::{
    id::{JobVersion, RunId},
    kind::{Kind, Upstream},
    message::{Follow, Stop, ToExecutor},
    task::Reason,
    work::{JobRecord, RunRecord},
};

use crate::{
    admit,
    batch::{Batch, PendingSubmission},
    input::{PutJob, Request, RequestId, Submit},
    limits,
    output::{Output, Reply, RequestError},
    phase::Phase,
    scheduler::{KeyState, Leading, Scheduler},
};

impl Scheduler {
    pub(crate) fn request(&mut self, id: RequestId, request: Request) {
        if self.leading.is_none() {
            self.reply_error(id, RequestError::NotLeader);
            return;
        }
        let verdict = match request {
            Request::PutJob(put) => self.put_job(id, *put),
            Request::Submit(submit) => self.submit_runs(id, submit),
            Request::Stop { run, index, reason } => self.stop(id, run, index, reason),
            Request::Follow { run, index, on } => self.follow(id, run, index, on),
            Request::Inspect { run, index, sample_for } => self.inspect(id, (run, index), sample_for),
            Request::Scale { namespace, job, desired } => self.scale(id, namespace, job, desired),
            Request::Restart { namespace, job } => self.restart(id, namespace, job),
            Request::Pause { namespace, job, on } => self.pause(id, (namespace, job), on),
            Request::Cordon { node, on } => self.cordon(id, &node, on),
            Request::Drain { node, drain } => self.drain(id, &node, drain),
            Request::Label { node, labels } => self.label(id, &node, labels),
            Request::RemoveNode { node } => self.remove_node(id, &node),
            Request::ReleaseBrake => self.release_brake(id),
            Request::SetQuota(quota) => self.set_quota(id, quota.namespace.clone(), Some(quota)),
            Request::RemoveQuota(namespace) => self.set_quota(id, namespace, None),
        };
        if let Err(error) = verdict {
            self.reply_error(id, error);
        }
    }

    fn put_job(&mut self, id: RequestId, put: PutJob) -> Result<(), RequestError> {
        let wall_ms = self.now.wall_ms;
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        admit::spec(&put.spec)?;
        leading.check_cycle(&put.spec)?;
        let name = (put.spec.namespace.clone(), put.spec.job.clone());
        let staged = leading.staged_jobs.get(&name).map(|(version, spec)| (*version, spec));
        let committed = leading.jobs.get(&name).and_then(|versions| versions.last());
        let newest = staged.or_else(|| committed.map(|job| (job.version, job.as_ref())));
        let newest_version = newest.map_or(JobVersion(0), |(version, _)| version);
        if let Some(expected) = put.expected
            && expected != newest_version
        {
            return Err(RequestError::VersionConflict { newest: newest_version, expected });
        }
        leading.check_kind(&put.spec)?;
        let created = !newest.is_some_and(|(_, spec)| same_spec(spec, &put.spec));
        // Where nothing is stored, a repeated request may be about a run that is there.
        if let Some(tasks) = put.for_tasks.filter(|_| created) {
            leading.check_upstream_runs(&put.spec)?;
            leading.check_quota_for(&put.spec, tasks)?;
            leading.check_open(leading.run_asks(&put.spec, tasks))?;
        }
        if newest.is_none() && leading.jobs.len() >= limits::JOBS_MAX {
            return Err(RequestError::Limit("the cluster has as many jobs as it can have"));
        }
        let version = if created { JobVersion(newest_version.0 + 1) } else { newest_version };
        let begins = leading.schedule_begins(newest.map(|(_, spec)| spec), &put.spec, wall_ms);
        if created {
            let spec = JobRecord { version, created_ms: wall_ms, ..put.spec };
            let mut state = leading.state_of(&name);
            leading.staged_jobs.insert(name.clone(), (version, spec.clone()));
            if let Some(begins) = begins {
                state.cron_through_ms = state.cron_through_ms.max(begins);
                leading.staged_states.insert(name, state.clone());
            }
            let batch = leading.open_batch();
            if begins.is_some() {
                batch.put_state(state);
            }
            batch.charge(spec_size(&spec));
            batch.jobs.push(spec);
        }
        let batch = leading.open_batch();
        batch.replies.push((id, Reply::Job { version, created }));
        batch.urgent = true;
        Ok(())
    }

    fn submit_runs(&mut self, id: RequestId, submit: Submit) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        if let Some(key) = submit.key.as_ref() {
            match leading.keys.get_mut(key) {
                Some(KeyState::Pending { fingerprint, .. } | KeyState::Committed { fingerprint, .. })
                    if *fingerprint != submit.fingerprint =>
                {
                    return Err(RequestError::KeyReused);
                }
                Some(KeyState::Pending { waiting, .. }) => {
                    waiting.push(id);
                    return Ok(());
                }
                Some(KeyState::Committed { runs, .. }) => {
                    let reply = Reply::Runs { runs: runs.clone(), repeated: true };
                    self.outputs.push_back(Output::Reply { id, result: Ok(reply) });
                    return Ok(());
                }
                None => {}
            }
        }
        leading.check_submission(&submit)?;
        leading.check_room()?;
        let reserved = leading.admit_runs(&submit.runs)?;
        let Submit { key, fingerprint, runs } = submit;
        leading.stage_submission(PendingSubmission::of(id, key, fingerprint), runs);
        leading.reserve(reserved);
        Ok(())
    }

    fn stop(&mut self, id: RequestId, run: RunId, index: Option<u32>, reason: Reason) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        let state = leading.runs.get_mut(&run).ok_or(RequestError::NoSuchRun)?;
        let count = state.count();
        if let Some(index) = index.filter(|index| *index >= count) {
            return Err(RequestError::NoSuchTask { index, count });
        }
        match index {
            // A stop that is asked for again may have been lost on its way to a node.
            None if state.stop_recorded => leading.stop_messages(run, None, reason),
            None => leading.end_run(run, reason),
            Some(index) => {
                leading.stop_tasks(run, index..index + 1, true, reason);
                leading.stop_messages(run, Some(index), reason);
            }
        }
        let batch = leading.open_batch();
        batch.replies.push((id, Reply::Stopping));
        batch.urgent = true;
        Ok(())
    }

    fn follow(&mut self, id: RequestId, run: RunId, index: u32, on: bool) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        let state = leading.runs.get(&run).ok_or(RequestError::NoSuchRun)?;
        if index >= state.count() {
            return Err(RequestError::NoSuchTask { index, count: state.count() });
        }
        let slot = state.lane_of(index).filter(|_| state.phase(index).is_granted());
        let session = slot.and_then(|slot| leading.nodes.get(leading.grants.get(slot).node()).session);
        if let Some(session) = session {
            self.send(session, ToExecutor::Follow(Follow { run, index, on }));
        }
        self.outputs.push_back(Output::Reply { id, result: Ok(Reply::Following(session.is_some())) });
        Ok(())
    }
}

impl Leading {
    /// Adds runs to the open batch, or to the next one if they do not fit there.
    pub(crate) fn stage_submission(
        &mut self,
        mut submission: PendingSubmission,
        mut runs: Vec<RunRecord>,
    ) -> &mut Batch {
        if let Some(key) = submission.key.clone() {
            let state = KeyState::Pending { fingerprint: submission.fingerprint, waiting: Vec::new() };
            self.keys.insert(key, state);
        }
        let count = runs.len();
        let full = self
            .batches
            .back()
            .is_some_and(|batch| batch.submitted.len() + count > weir_wire::limits::RUNS_PER_SEGMENT_MAX);
        let batch = if full { self.new_batch() } else { self.open_batch() };
        submission.first = batch.submitted.len();
        submission.count = count;
        let shift = u32::try_from(submission.first).unwrap_or(u32::MAX);
        for dependency in runs.iter_mut().flat_map(|run| &mut run.after) {
            if let Upstream::Item(item) = &mut dependency.upstream {
                *item += shift;
            }
        }
        batch.charge(runs.iter().map(admit::run_size).sum());
        batch.submitted.extend(runs);
        batch.submissions.push(submission);
        batch.urgent = true;
        batch
    }

    /// Stops a run, unless that was asked for already. What runs is told once that is durable: a leader that is cut off
    /// from the store would end what its successor lets go on.
    pub(crate) fn end_run(&mut self, id: RunId, reason: Reason) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.stop.is_some() || run.is_over() {
            return;
        }
        run.stop = Some(reason);
        let count = run.count();
        // A new leader has to know which tasks there are to be stopped.
        let unrecorded = run.long.as_deref().filter(|long| long.desired_recorded.is_none() && !long.staged);
        let desired = unrecorded.filter(|_| matches!(run.job.kind, Kind::Service(_))).map(|long| long.desired);
        let batch = self.open_batch();
        batch.run(id).stop = Some(reason);
        if desired.is_some() {
            batch.run(id).desired = desired;
        }
        batch.urgent = true;
        self.dequeue(id);
        self.stop_tasks(id, 0..count, false, reason);
    }

    /// Asks the nodes that hold tasks of a run to end them.
    pub(crate) fn stop_messages(&mut self, run: RunId, index: Option<u32>, reason: Reason) {
        let Some(state) = self.runs.get(&run) else { return };
        let lanes: Vec<_> = match index {
            Some(index) => state.lane_of(index).filter(|_| state.phase(index).is_granted()).into_iter().collect(),
            None => state.lanes.values().collect(),
        };
        let mut slots: Vec<usize> = lanes.iter().map(|lane| self.grants.get(*lane).node()).collect();
        if index.is_none() {
            // Some hold what is not counted for them any more.
            slots.extend(state.told.clone().into_slots());
        }
        slots.sort_unstable();
        slots.dedup();
        // A session that is not welcomed yet hears of it when the node has presented what it holds.
        let welcomed = slots.iter().map(|slot| self.nodes.get(*slot)).filter(|node| node.welcomed);
        let sessions: Vec<_> = welcomed.filter_map(|node| node.session).collect();
        for session in sessions {
            let stop = Stop { run, index, grant: None, reason, grace: core::time::Duration::ZERO };
            self.effects.push(Output::Send { session, message: Box::new(ToExecutor::Stop(stop)) });
        }
    }

    /// Refuses more work than is waiting already.
    pub(crate) fn check_room(&self) -> Result<(), RequestError> {
        if self.batches.len() >= limits::BATCHES_WAITING_MAX {
            return Err(RequestError::Busy("the store does not keep up; try again in a moment"));
        }
        Ok(())
    }

    /// Ends tasks that wait, and marks those in a grant.
    pub(crate) fn stop_tasks(&mut self, id: RunId, range: core::ops::Range<u32>, single: bool, reason: Reason) {
        let Some(run) = self.runs.get(&id) else { return };
        // A single task of a long-running job is started again: only the whole run can be ended.
        let restarts = single && run.long.is_some() && run.stop.is_none();
        let status = run.unstarted_status();
        for index in range {
            let Some(run) = self.runs.get_mut(&id) else { return };
            match run.phase(index) {
                Phase::Pending | Phase::Backoff | Phase::Dormant if restarts => {}
                Phase::Pending | Phase::Backoff | Phase::Dormant => {
                    run.set_phase(index, Phase::Staged(status));
                    self.open_batch().end(id, index, status);
                }
                Phase::Granted | Phase::Running => {
                    run.set_phase(index, Phase::Stopping);
                    if single {
                        run.stopping.insert(index, reason);
                    }
                }
                // Nobody can be asked; what is asked for counts once its node answers, or its fence has passed.
                Phase::Unknown if single => {
                    run.stopping.insert(index, reason);
                }
                Phase::Unknown | Phase::Stopping | Phase::Staged(_) | Phase::Recorded(_) => {}
            }
        }
        let Some(run) = self.runs.get(&id) else { return };
        if run.in_phase(Phase::Pending) == 0 {
            self.dequeue(id);
        }
    }

    /// A job version exists from here on.
    pub(crate) fn job_committed(&mut self, job: JobRecord) {
        let name = (job.namespace.clone(), job.job.clone());
        if self.staged_jobs.get(&name).is_some_and(|(version, _)| *version == job.version) {
            self.staged_jobs.remove(&name);
        }
        self.follow_schedule(&job);
        let versions = self.jobs.entry(name).or_default();
        if versions.last().is_none_or(|last| last.version < job.version) {
            versions.push(Arc::new(job));
        }
    }
}

/// Whether two specs ask for the same; version, date and note aside.
fn same_spec(one: &JobRecord, other: &JobRecord) -> bool {
    let strip = |spec: &JobRecord| JobRecord {
        version: JobVersion(0),
        created_ms: 0,
        message: alloc::string::String::new(),
        ..spec.clone()
    };
    strip(one) == strip(other)
}

/// About how many bytes a spec adds to a transaction.
fn spec_size(spec: &JobRecord) -> usize {
    let args: usize = spec.args.iter().map(alloc::string::String::len).sum();
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    512 + args + env + spec.message.len()
}
