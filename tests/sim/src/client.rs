//! The users: they ask, retry with the same idempotency key, and remember what they were promised.

use core::time::Duration;

use weir_scheduler::{Input, PutJob, Reply, Request, RequestError, RequestId, Submit};
use weir_wire::{
    id::{JobVersion, RunId},
    key,
    kind::Tier,
    task::Reason,
    work::JobRecord,
};

use crate::{
    event::Kind,
    lasting::Last,
    options::Sabotage,
    property::{Check, Property, broken},
    rng::mix,
    workload::{After, Change, Submission, Wish},
    world::{World, ns},
};

/// How far a wish is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// To be asked, or waiting for an answer.
    Open,
    /// Answered.
    Done(Vec<RunId>),
    /// The answer was lost, and without a key it is not safe to ask again.
    Abandoned,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    wish: usize,
    replica: usize,
}

impl World {
    /// A user asks for something, now or a little later.
    pub(crate) fn wish(&mut self, at: usize) -> Check {
        self.wish_planned[at] = false;
        if self.wishes[at] != State::Open {
            return Ok(());
        }
        let mut asked = self.store.newest.map_or(0, |leader| leader.replica);
        if self.rng.users.chance(50_000) {
            asked = self.rng.users.index(self.replicas.len());
        }
        let replica = asked;
        if self.replicas[replica].scheduler.is_none() || self.replicas[replica].frozen_until > self.now {
            self.wish_later(at);
            return Ok(());
        }
        let Some(request) = self.request(at, replica) else {
            self.wish_later(at);
            return Ok(());
        };
        let twice = matches!(&self.workload.wishes[at].1, Wish::Submit(Submission { key: Some(_), .. }));
        self.ask(at, replica, request)?;
        if twice
            && self.rng.users.chance(200_000)
            && self.wishes[at] == State::Open
            && let Some(request) = self.request(at, replica)
        {
            self.ask(at, replica, request)?;
        }
        Ok(())
    }

    fn ask(&mut self, wish: usize, replica: usize, request: Request) -> Check {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.trace.line(self.now, format_args!("request {} to replica {replica}: {request:?}", id.0));
        self.pending.insert(id, Pending { wish, replica });
        if self.options.sabotage == Some(Sabotage::ReplyBeforeCommit)
            && let Request::Submit(submit) = &request
        {
            let runs = vec![RunId(1); submit.runs.len()];
            return self.replied(id, Ok(Reply::Runs { runs, repeated: false }));
        }
        self.control_input(replica, Input::Request { id, request })
    }

    pub(crate) fn wish_later(&mut self, at: usize) {
        if std::mem::replace(&mut self.wish_planned[at], true) {
            return;
        }
        let pause = self.rng.users.duration(Duration::from_millis(100), Duration::from_millis(1000));
        self.events.push(self.now + ns(pause), Kind::Wish { wish: at });
    }

    /// The request of a wish, once what it refers to exists.
    fn request(&self, at: usize, replica: usize) -> Option<Request> {
        let wall_ms = self.replicas[replica].clock.now(self.now).wall_ms;
        match &self.workload.wishes[at].1 {
            Wish::Job(job) => {
                let spec = self.workload.jobs[*job].clone();
                Some(Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None })))
            }
            Wish::Submit(submission) => self.submit(at, submission, wall_ms),
            Wish::Change(job, change) => self.change(*job, *change),
            Wish::Stop { submission, single } => {
                let State::Done(runs) = &self.wishes[*submission] else {
                    return None;
                };
                let run = *runs.first()?;
                let count = u32::try_from(self.oracle.runs.get(&run)?.status.len()).unwrap_or(u32::MAX);
                // A long-running job may have no tasks yet.
                let single = single.filter(|_| count > 0);
                Some(Request::Stop { run, index: single.map(|index| index % count), reason: Reason::Cancelled })
            }
            Wish::Operate(operation) => self.operation(*operation),
            Wish::Quota(_, Some(quota)) => Some(Request::SetQuota(quota.clone())),
            Wish::Quota(namespace, None) => Some(Request::RemoveQuota(namespace.clone())),
            Wish::Last(last) => self.last(last),
        }
    }

    /// Whether a wish is about something that was never promised.
    pub(crate) fn waits_for_ever(&self, at: usize) -> bool {
        let submission = match &self.workload.wishes[at].1 {
            Wish::Stop { submission, .. } => *submission,
            Wish::Submit(Submission { after: Some(After::Wish(submission)), .. }) => *submission,
            Wish::Job(_) | Wish::Submit(_) | Wish::Operate(_) | Wish::Quota(..) | Wish::Change(..) | Wish::Last(_) => {
                return false;
            }
        };
        match &self.wishes[submission] {
            State::Abandoned => true,
            State::Done(runs) => runs.is_empty(),
            State::Open => self.waits_for_ever(submission),
        }
    }

    fn submit(&self, at: usize, submission: &Submission, wall_ms: u64) -> Option<Request> {
        let known = |job: usize| self.versions[job] > 0;
        let upstream = match submission.after {
            Some(After::Wish(wish)) => match &self.wishes[wish] {
                State::Done(runs) => Some(*runs.first()?),
                State::Open | State::Abandoned => return None,
            },
            Some(After::Item(job)) if !known(job) => return None,
            Some(After::Item(_)) | None => None,
        };
        if !known(submission.job) {
            return None;
        }
        let runs = self.workload.records(submission, (&self.versions, wall_ms), upstream);
        let (key, fingerprint) = (submission.key.clone(), mix(at as u64));
        Some(Request::Submit(Submit { runs, key, fingerprint }))
    }

    fn change(&self, at: usize, change: Change) -> Option<Request> {
        let spec = self.workload.jobs[at].clone();
        let (namespace, job) = (spec.namespace.clone(), spec.job.clone());
        if self.versions[at] == 0 {
            return None;
        }
        Some(match change {
            Change::Update(number) => {
                let spec = JobRecord { args: vec![format!("v{number}")], ..spec };
                Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None }))
            }
            Change::Pause(on) => Request::Pause { namespace, job, on },
            Change::Scale(desired) => Request::Scale { namespace, job, desired },
            Change::Restart => Request::Restart { namespace, job },
        })
    }

    /// All requests at a replica are lost with it.
    pub(crate) fn requests_lost(&mut self, replica: usize) {
        let lost: Vec<RequestId> =
            self.pending.iter().filter(|(_, pending)| pending.replica == replica).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(pending) = self.pending.remove(&id) {
                self.unanswered(pending.wish);
            }
        }
    }

    fn unanswered(&mut self, at: usize) {
        if self.wishes[at] != State::Open {
            return;
        }
        let unsafe_to_repeat = matches!(&self.workload.wishes[at].1, Wish::Submit(Submission { key: None, .. }));
        if unsafe_to_repeat {
            self.wishes[at] = State::Abandoned;
        } else {
            self.wish_later(at);
        }
    }

    /// An answer has come.
    pub(crate) fn replied(&mut self, id: RequestId, result: Result<Reply, RequestError>) -> Check {
        let Some(Pending { wish: at, replica }) = self.pending.remove(&id) else {
            return broken(Property::Crash, format!("request {} is answered twice, or was never made", id.0));
        };
        let operates = self.workload.wishes[at].1.is_of_operator();
        match result {
            Ok(Reply::Job { version, .. }) => self.job_promised(at, version),
            Ok(Reply::Runs { runs, .. }) => self.runs_promised(at, runs),
            Ok(Reply::Stopping) => self.stop_promised(at),
            Ok(Reply::Done) if operates => self.operated(at),
            Ok(Reply::Following(_) | Reply::Inspecting | Reply::Done) => {
                broken(Property::Crash, "nobody asked for that")
            }
            Err(RequestError::NotLeader | RequestError::Busy(_) | RequestError::QueueFull { .. }) => {
                self.wish_later(at);
                Ok(())
            }
            Err(RequestError::Interrupted) => {
                self.unanswered(at);
                Ok(())
            }
            // A deposed leader that does not know it may not have what its successor promised.
            Err(RequestError::NoSuchRun | RequestError::NoSuchJob { .. } | RequestError::UnknownJob(_))
                if !self.leads(replica) =>
            {
                self.wish_later(at);
                Ok(())
            }
            Err(RequestError::NoSuchRun) if self.names_forgotten(at) => {
                self.wishes[at] = State::Abandoned;
                Ok(())
            }
            // A leader that was elected since knows no tasks that were not wanted any more.
            Err(RequestError::NoSuchTask { .. }) if self.stops_kept(at) => {
                self.wishes[at] = State::Done(Vec::new());
                Ok(())
            }
            // A node that is there is not removed, one that never came has nothing to be changed.
            Err(RequestError::Conflict(_) | RequestError::NoSuchNode(_)) if operates => self.operated(at),
            // What a quota does not admit is not asked for again.
            Err(RequestError::Quota(_)) if self.may_exceed_quota(at) => {
                self.count("quota-refusal");
                self.wishes[at] = State::Abandoned;
                Ok(())
            }
            Err(error) => broken(Property::Accepted, format!("wish {at} is refused: {error}")),
        }
    }

    /// Whether a wish is about a run that has ended, and so is forgotten or about to be: a leader answers for what it is
    /// about to store.
    fn names_forgotten(&self, at: usize) -> bool {
        let submission = match &self.workload.wishes[at].1 {
            Wish::Stop { submission, .. } | Wish::Submit(Submission { after: Some(After::Wish(submission)), .. }) => {
                submission
            }
            Wish::Last(Last::Retire(job) | Last::RetireConverged(job)) => return self.active(*job).is_empty(),
            Wish::Job(_) | Wish::Submit(_) | Wish::Operate(_) | Wish::Quota(..) | Wish::Change(..) | Wish::Last(_) => {
                return false;
            }
        };
        let State::Done(runs) = &self.wishes[*submission] else { return false };
        runs.iter().any(|run| !self.oracle.open.contains(run))
    }

    /// Whether a wish asks for production in a namespace that may have a quota.
    fn may_exceed_quota(&self, at: usize) -> bool {
        let job = match &self.workload.wishes[at].1 {
            Wish::Submit(submission) => submission.job,
            Wish::Change(job, _) => *job,
            Wish::Job(_) | Wish::Stop { .. } | Wish::Operate(_) | Wish::Quota(..) | Wish::Last(_) => return false,
        };
        // A run that it waits for may be submitted with it.
        let namespace = &self.workload.jobs[job].namespace;
        let mut jobs = self.workload.jobs.iter().filter(|job| job.namespace == *namespace);
        jobs.any(|job| job.tier == Tier::Production) && self.workload.has_quota(namespace)
    }

    fn operated(&mut self, at: usize) -> Check {
        self.wishes[at] = State::Done(Vec::new());
        self.count("operation");
        Ok(())
    }

    fn leads(&self, replica: usize) -> bool {
        let term = self.replicas[replica].scheduler.as_ref().and_then(weir_scheduler::Scheduler::term);
        term.is_some() && self.store.term() == term
    }

    fn job_promised(&mut self, at: usize, version: JobVersion) -> Check {
        let (Wish::Job(job) | Wish::Change(job, Change::Update(_)) | Wish::Last(Last::Calm(job))) =
            self.workload.wishes[at].1
        else {
            return broken(Property::Crash, "the answer does not fit the request");
        };
        let spec = &self.workload.jobs[job];
        if version < JobVersion(1) || !self.oracle.jobs.contains_key(&key::job(&spec.namespace, &spec.job, version)) {
            return broken(Property::Accepted, format!("job {} version {version} is not stored", spec.job));
        }
        self.versions[job] = self.versions[job].max(version.0);
        self.wishes[at] = State::Done(Vec::new());
        Ok(())
    }

    fn runs_promised(&mut self, at: usize, runs: Vec<RunId>) -> Check {
        if let State::Done(before) = &self.wishes[at]
            && *before != runs
            // A key lives for as long as its runs.
            && before.iter().any(|run| self.oracle.runs.get(run).is_none_or(|known| !known.forgotten))
        {
            return broken(Property::Once, format!("wish {at} made runs twice"));
        }
        if let Some(run) = runs.iter().find(|run| !self.oracle.runs.contains_key(run)) {
            return broken(Property::Accepted, format!("run {run} is promised and not stored"));
        }
        self.wishes[at] = State::Done(runs);
        Ok(())
    }

    /// Whether a wish is to stop a run of a long-running job.
    fn stops_kept(&self, at: usize) -> bool {
        let Wish::Stop { submission, .. } = &self.workload.wishes[at].1 else { return false };
        let State::Done(runs) = &self.wishes[*submission] else { return false };
        let known = runs.first().and_then(|run| self.oracle.runs.get(run));
        known.is_some_and(|known| known.job.kind.is_long_running())
    }

    fn stop_promised(&mut self, at: usize) -> Check {
        if let Wish::Last(Last::Retire(job) | Last::RetireConverged(job)) = self.workload.wishes[at].1 {
            return self.retired(at, job);
        }
        let Wish::Stop { submission, single } = &self.workload.wishes[at].1 else {
            return broken(Property::Crash, "the answer does not fit the request");
        };
        let runs = match &self.wishes[*submission] {
            State::Done(runs) => runs.clone(),
            State::Open | State::Abandoned => Vec::new(),
        };
        let Some(known) = runs.first().and_then(|run| self.oracle.runs.get(run)) else {
            return broken(Property::Crash, "a stop was answered for a run that was never promised");
        };
        if single.is_none() && !known.stopped && !known.is_over() {
            return broken(Property::Accepted, format!("the stop of {} is promised and not stored", runs[0]));
        }
        self.wishes[at] = State::Done(Vec::new());
        Ok(())
    }
}
