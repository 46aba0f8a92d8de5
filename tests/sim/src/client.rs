//! The users: they ask, retry with the same idempotency key, and remember what they were promised.

use core::time::Duration;

use weir_scheduler::{Input, PutJob, Reply, Request, RequestError, RequestId, Submit};
use weir_wire::{
    id::{JobVersion, RunId},
    key,
    task::Reason,
};

use crate::{
    event::Kind,
    options::Sabotage,
    property::{Check, Property, broken},
    rng::mix,
    workload::{Submission, Wish},
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
        let Some(request) = self.request(at) else {
            self.wish_later(at);
            return Ok(());
        };
        let twice = matches!(&self.workload.wishes[at].1, Wish::Submit(Submission { key: Some(_), .. }));
        self.ask(at, replica, request)?;
        if twice
            && self.rng.users.chance(200_000)
            && self.wishes[at] == State::Open
            && let Some(request) = self.request(at)
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

    fn wish_later(&mut self, at: usize) {
        if std::mem::replace(&mut self.wish_planned[at], true) {
            return;
        }
        let pause = self.rng.users.duration(Duration::from_millis(100), Duration::from_millis(1000));
        self.events.push(self.now + ns(pause), Kind::Wish { wish: at });
    }

    /// The request of a wish, once what it refers to exists.
    fn request(&self, at: usize) -> Option<Request> {
        match &self.workload.wishes[at].1 {
            Wish::Job(job) => {
                let spec = self.workload.jobs[*job].clone();
                Some(Request::PutJob(Box::new(PutJob { spec, expected: None })))
            }
            Wish::Submit(submission) => {
                let ready = self.jobs_ready[submission.job];
                let runs = self.workload.records(submission, JobVersion(1));
                let (key, fingerprint) = (submission.key.clone(), mix(at as u64));
                ready.then_some(Request::Submit(Submit { runs, key, fingerprint }))
            }
            Wish::Stop { submission, single } => {
                let State::Done(runs) = &self.wishes[*submission] else {
                    return None;
                };
                let run = *runs.first()?;
                let count = self.oracle.runs.get(&run)?.record.count;
                Some(Request::Stop { run, index: single.map(|index| index % count), reason: Reason::Cancelled })
            }
            Wish::Operate(operation) => self.operation(*operation),
        }
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
        let operates = matches!(self.workload.wishes[at].1, Wish::Operate(_));
        match result {
            Ok(Reply::Job { version, .. }) => self.job_promised(at, version),
            Ok(Reply::Runs { runs, .. }) => self.runs_promised(at, runs),
            Ok(Reply::Stopping) => self.stop_promised(at),
            Ok(Reply::Done) if operates => self.operated(at),
            Ok(Reply::Following(_) | Reply::Done) => broken(Property::Crash, "nobody asked for that"),
            Err(RequestError::NotLeader | RequestError::Busy(_)) => {
                self.wish_later(at);
                Ok(())
            }
            Err(RequestError::Interrupted) => {
                self.unanswered(at);
                Ok(())
            }
            // A deposed leader that does not know it may not have what its successor promised.
            Err(RequestError::NoSuchRun | RequestError::NoSuchJob { .. }) if !self.leads(replica) => {
                self.wish_later(at);
                Ok(())
            }
            // A node that is there is not removed, one that never came has nothing to be changed.
            Err(RequestError::Conflict(_) | RequestError::NoSuchNode(_)) if operates => self.operated(at),
            Err(error) => broken(Property::Accepted, format!("wish {at} is refused: {error}")),
        }
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
        let Wish::Job(job) = self.workload.wishes[at].1 else {
            return broken(Property::Crash, "the answer does not fit the request");
        };
        let spec = &self.workload.jobs[job];
        if version != JobVersion(1) || !self.oracle.jobs.contains_key(&key::job(&spec.namespace, &spec.job, version)) {
            return broken(Property::Accepted, format!("job {} version {version} is not stored", spec.job));
        }
        self.jobs_ready[job] = true;
        self.wishes[at] = State::Done(Vec::new());
        Ok(())
    }

    fn runs_promised(&mut self, at: usize, runs: Vec<RunId>) -> Check {
        if let State::Done(before) = &self.wishes[at]
            && *before != runs
        {
            return broken(Property::Once, format!("wish {at} made runs twice"));
        }
        if let Some(run) = runs.iter().find(|run| !self.oracle.runs.contains_key(run)) {
            return broken(Property::Accepted, format!("run {run} is promised and not stored"));
        }
        self.wishes[at] = State::Done(runs);
        Ok(())
    }

    fn stop_promised(&mut self, at: usize) -> Check {
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
        if single.is_none() && !known.stopped && known.ended < known.record.count {
            return broken(Property::Accepted, format!("the stop of {} is promised and not stored", runs[0]));
        }
        self.wishes[at] = State::Done(Vec::new());
        Ok(())
    }
}
