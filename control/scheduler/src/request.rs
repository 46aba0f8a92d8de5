//! What users ask for.

use alloc::{sync::Arc, vec::Vec};

use weir_wire::{
    id::{JobVersion, RunId},
    message::{Follow, Stop, ToExecutor},
    task::{Reason, Status},
    work::{JobRecord, RunRecord},
};

use crate::{
    batch::PendingSubmission,
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
            Request::Scale { .. } | Request::Restart { .. } | Request::Pause { .. } => {
                Err(RequestError::Limit("kinds of jobs other than batch"))
            }
            Request::Cordon { node, on } => self.cordon(id, &node, on),
            Request::Drain { node, drain } => self.drain(id, &node, drain),
            Request::Label { node, labels } => self.label(id, &node, labels),
            Request::RemoveNode { node } => self.remove_node(id, &node),
            Request::ReleaseBrake => self.release_brake(id),
            Request::SetQuota(_) | Request::RemoveQuota(_) => Err(RequestError::Limit("quotas")),
        };
        if let Err(error) = verdict {
            self.reply_error(id, error);
        }
    }

    fn put_job(&mut self, id: RequestId, put: PutJob) -> Result<(), RequestError> {
        let wall_ms = self.now.wall_ms;
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        check_execution(&put.spec)?;
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
        let created = !newest.is_some_and(|(_, spec)| same_spec(spec, &put.spec));
        if newest.is_none() && leading.jobs.len() >= limits::JOBS_MAX {
            return Err(RequestError::Limit("the cluster has as many jobs as it can have"));
        }
        let version = if created { JobVersion(newest_version.0 + 1) } else { newest_version };
        if created {
            let spec = JobRecord { version, created_ms: wall_ms, ..put.spec };
            leading.staged_jobs.insert(name, (version, spec.clone()));
            let batch = leading.open_batch();
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
        let items = submit.runs.len();
        let full = leading
            .batches
            .back()
            .is_some_and(|batch| batch.submitted.len() + items > weir_wire::limits::RUNS_PER_SEGMENT_MAX);
        let batch = if full { leading.new_batch() } else { leading.open_batch() };
        let first = batch.submitted.len();
        batch.charge(submit.runs.iter().map(run_size).sum());
        batch.submitted.extend(submit.runs);
        let Submit { key, fingerprint, .. } = submit;
        batch.submissions.push(PendingSubmission { id, key: key.clone(), fingerprint, first, count: items });
        batch.urgent = true;
        if let Some(key) = key {
            leading.keys.insert(key, KeyState::Pending { fingerprint, waiting: Vec::new() });
        }
        Ok(())
    }

    fn stop(&mut self, id: RequestId, run: RunId, index: Option<u32>, reason: Reason) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        let state = leading.runs.get_mut(&run).ok_or(RequestError::NoSuchRun)?;
        let count = state.count();
        if let Some(index) = index.filter(|index| *index >= count) {
            return Err(RequestError::NoSuchTask { index, count });
        }
        if index.is_none() && state.stop.is_none() && state.open() > 0 {
            state.stop = Some(reason);
            leading.open_batch().run(run).stop = Some(reason);
            leading.dequeue(run);
        }
        let range = index.map_or(0..count, |index| index..index + 1);
        leading.stop_tasks(run, range, index.is_some(), reason);
        let batch = leading.open_batch();
        batch.replies.push((id, Reply::Stopping));
        batch.urgent = true;
        self.send_stops(run, index, reason);
        Ok(())
    }

    /// Asks the nodes that hold tasks of a run to end them.
    fn send_stops(&mut self, run: RunId, index: Option<u32>, reason: Reason) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(state) = leading.runs.get(&run) else { return };
        let lanes: Vec<_> = match index {
            Some(index) if state.phase(index).is_granted() => state.lane_of(index).into_iter().collect(),
            Some(_) => Vec::new(),
            None => state.lanes.values().copied().collect(),
        };
        let mut sessions: Vec<_> = lanes
            .iter()
            .filter_map(|key| leading.grants.get(key))
            .filter_map(|grant| leading.nodes.get(grant.node).session)
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        for session in sessions {
            self.send(
                session,
                ToExecutor::Stop(Stop { run, index, grant: None, reason, grace: core::time::Duration::ZERO }),
            );
        }
    }

    fn follow(&mut self, id: RequestId, run: RunId, index: u32, on: bool) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        let state = leading.runs.get(&run).ok_or(RequestError::NoSuchRun)?;
        if index >= state.count() {
            return Err(RequestError::NoSuchTask { index, count: state.count() });
        }
        let key = state.lane_of(index).filter(|_| state.phase(index).is_granted());
        let grant = key.and_then(|key| leading.grants.get(&key));
        let session = grant.and_then(|grant| leading.nodes.get(grant.node).session);
        if let Some(session) = session {
            self.send(session, ToExecutor::Follow(Follow { run, index, on }));
        }
        self.outputs.push_back(Output::Reply { id, result: Ok(Reply::Following(session.is_some())) });
        Ok(())
    }
}

impl Leading {
    /// Refuses more work than is waiting already.
    pub(crate) fn check_room(&self) -> Result<(), RequestError> {
        if self.batches.len() >= limits::BATCHES_WAITING_MAX {
            return Err(RequestError::Busy("the store does not keep up; try again in a moment"));
        }
        Ok(())
    }

    fn check_submission(&self, submit: &Submit) -> Result<(), RequestError> {
        if submit.runs.is_empty() || submit.runs.len() > limits::SUBMISSION_ITEMS_MAX {
            return Err(RequestError::Limit("a submission has 1 to 1000 runs"));
        }
        if submit.key.as_ref().is_some_and(|key| key.len() > limits::IDEMPOTENCY_KEY_LEN_MAX) {
            return Err(RequestError::Limit("an idempotency key has at most 256 bytes"));
        }
        let mut tasks = self.open_tasks;
        for run in &submit.runs {
            if run.count == 0 || run.count > weir_wire::limits::TASKS_PER_RUN_MAX {
                return Err(RequestError::Limit("a run has 1 to 10,000,000 tasks"));
            }
            tasks += u64::from(run.count);
            let versions = self.jobs.get(&(run.namespace.clone(), run.job.clone()));
            if !versions.is_some_and(|versions| versions.iter().any(|job| job.version == run.version)) {
                return Err(RequestError::NoSuchJob { job: run.job.clone(), version: run.version });
            }
        }
        if submit.runs.iter().map(run_size).sum::<usize>() > weir_wire::limits::TXN_BYTES_MAX / 2 {
            return Err(RequestError::Limit("a submission's payloads have at most 512 KiB; upload larger ones first"));
        }
        if tasks > limits::OPEN_TASKS_MAX {
            return Err(RequestError::Busy("50,000,000 tasks are open; wait for some to end"));
        }
        if self.open_runs + submit.runs.len() > limits::OPEN_RUNS_MAX {
            return Err(RequestError::Busy("1,000,000 runs are open; wait for some to end"));
        }
        Ok(())
    }

    /// Ends tasks that wait, and marks those in a grant.
    fn stop_tasks(&mut self, id: RunId, range: core::ops::Range<u32>, single: bool, reason: Reason) {
        for index in range {
            let Some(run) = self.runs.get_mut(&id) else { return };
            match run.phase(index) {
                Phase::Pending | Phase::Backoff => {
                    run.set_phase(index, Phase::Staged(Status::Killed));
                    self.open_batch().end(id, index, Status::Killed);
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
        let versions = self.jobs.entry(name).or_default();
        if versions.last().is_none_or(|last| last.version < job.version) {
            versions.push(Arc::new(job));
        }
    }
}

/// Refuses what would execute a task twice that may be executed once only.
fn check_execution(spec: &JobRecord) -> Result<(), RequestError> {
    let why = if !spec.execution.at_most_once {
        return Ok(());
    } else if spec.retry.attempts != 1 {
        "a job that executes at most once has one attempt; set `attempts` to 1"
    } else if spec.kind.is_long_running() {
        "tasks of this kind are started again whenever they end, so they cannot execute at most once; use `fenced`"
    } else {
        return Ok(());
    };
    Err(RequestError::Invalid(why.into()))
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

/// About how many bytes a run adds to a transaction.
fn run_size(run: &RunRecord) -> usize {
    let input = match &run.input {
        weir_wire::work::Input::Inline(bytes) => bytes.len(),
        weir_wire::work::Input::None => 0,
        weir_wire::work::Input::Blob(_) | weir_wire::work::Input::Items(_) => 40,
    };
    let args: usize = run.args.iter().flatten().map(alloc::string::String::len).sum();
    192 + input + args
}

/// About how many bytes a spec adds to a transaction.
fn spec_size(spec: &JobRecord) -> usize {
    let args: usize = spec.args.iter().map(alloc::string::String::len).sum();
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    512 + args + env + spec.message.len()
}
