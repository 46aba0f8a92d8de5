//! The user: puts jobs, starts runs and stops them when the workload says so.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use weir_scheduler::{PutJob, Reply, Request, RequestError, RequestId, Submit};
use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace, RunId},
    kind::{Condition, Dependency, Execution, RunDependency, Upstream},
    task::Reason,
    units::Fuel,
    work::{Budgets, Capabilities, Input as Payload, JobRecord, RetryPolicy, RunRecord},
};

use super::{
    engine::{Engine, Event, RunState, nanos},
    error::Error,
    workload::{Item, Length},
};

/// Most requests that are open at one time.
const OPEN_MAX: usize = 256;
/// How long a busy scheduler is left alone.
const BUSY_WAIT: Duration = Duration::from_millis(10);

type Name = (Namespace, JobName);

/// What was asked, and what is still to be asked.
#[derive(Debug)]
pub(super) struct Submissions {
    /// Lines that are due, in order.
    queue: VecDeque<usize>,
    open: BTreeMap<RequestId, Asked>,
    next_request: u64,
    /// The newest version that was put of each job.
    versions: BTreeMap<Name, (JobRecord, JobVersion)>,
    /// The newest run of each job.
    newest: BTreeMap<Name, RunId>,
    /// Submissions of each job that have no answer yet.
    unanswered: BTreeMap<Name, usize>,
    /// Lines that were refused, and why.
    pub(super) refused: Vec<(usize, String)>,
    /// All that was accepted so far ends by itself.
    pub(super) only_finite: bool,
    retrying: bool,
}

#[derive(Debug)]
enum Asked {
    Quota,
    Put(usize),
    Start(usize),
    Stop,
}

impl Default for Submissions {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            open: BTreeMap::new(),
            next_request: 0,
            versions: BTreeMap::new(),
            newest: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            refused: Vec::new(),
            only_finite: true,
            retrying: false,
        }
    }
}

impl Engine<'_> {
    /// Sets the quotas of the cluster.
    pub(super) fn set_quotas(&mut self) -> Result<(), Error> {
        self.cluster.quotas.iter().try_for_each(|quota| self.ask(Asked::Quota, Request::SetQuota(quota.clone())))
    }

    /// A line is due.
    pub(super) fn submit(&mut self, item: usize) -> Result<(), Error> {
        let Item { length, count, .. } = &self.workload.items[item];
        if *length == Length::Forever {
            self.submissions.only_finite = false;
        } else {
            self.left_finite += u64::from(*count);
        }
        self.submissions.queue.push_back(item);
        self.submit_more()
    }

    /// Sends what may be sent.
    pub(super) fn submit_more(&mut self) -> Result<(), Error> {
        self.submissions.retrying = false;
        while self.submissions.open.len() < OPEN_MAX {
            let Some(&item) = self.submissions.queue.front() else { break };
            let wanted = &self.workload.items[item];
            let waits =
                |job: &JobName| self.submissions.unanswered.contains_key(&(wanted.namespace.clone(), job.clone()));
            if wanted.after.iter().any(|dependency| waits(&dependency.job)) {
                break;
            }
            self.submissions.queue.pop_front();
            let name = name(wanted);
            *self.submissions.unanswered.entry(name.clone()).or_default() += 1;
            let job = job(wanted);
            match self.submissions.versions.get(&name) {
                Some((known, version)) if *known == job => {
                    let version = *version;
                    self.start(item, version)?;
                }
                _ => {
                    let put = PutJob { spec: job, expected: None, for_tasks: None };
                    self.ask(Asked::Put(item), Request::PutJob(Box::new(put)))?;
                }
            }
        }
        Ok(())
    }

    /// Stops a run.
    pub(super) fn stop(&mut self, run: RunId) -> Result<(), Error> {
        if let Some(state) = self.runs.get_mut(&run) {
            state.stopped = true;
        }
        self.progress();
        self.ask(Asked::Stop, Request::Stop { run, index: None, reason: Reason::Cancelled })
    }

    /// The scheduler has answered a request.
    pub(super) fn answered(&mut self, id: RequestId, result: Result<Reply, RequestError>) -> Result<(), Error> {
        let Some(asked) = self.submissions.open.remove(&id) else { return Ok(()) };
        match (asked, result) {
            (Asked::Put(item), Ok(Reply::Job { version, .. })) => {
                let wanted = &self.workload.items[item];
                self.submissions.versions.insert(name(wanted), (job(wanted), version));
                self.start(item, version)?;
            }
            (Asked::Start(item), Ok(Reply::Runs { runs, .. })) => {
                for run in runs {
                    self.accepted(item, run);
                }
            }
            (Asked::Put(item) | Asked::Start(item), Err(RequestError::Busy(_) | RequestError::QueueFull { .. })) => {
                self.forget_unanswered(item);
                self.submissions.queue.push_front(item);
                if !core::mem::replace(&mut self.submissions.retrying, true) {
                    self.push(self.now + nanos(BUSY_WAIT), Event::Retry);
                }
                return Ok(());
            }
            (Asked::Put(item) | Asked::Start(item), Err(error)) => self.refused(item, &error),
            (Asked::Quota, Err(error)) => {
                return Err(Error::Refused { what: "a quota".to_owned(), why: error.to_string() });
            }
            (Asked::Put(_) | Asked::Start(_) | Asked::Quota, Ok(_)) | (Asked::Stop, _) => {}
        }
        self.submit_more()
    }

    fn start(&mut self, item: usize, version: JobVersion) -> Result<(), Error> {
        let wanted = &self.workload.items[item];
        let after = self.upstreams(item);
        let after = after.map(|(condition, run)| RunDependency { upstream: Upstream::Run(run), condition });
        let record = RunRecord {
            namespace: wanted.namespace.clone(),
            job: wanted.job.clone(),
            version,
            count: wanted.count,
            args: None,
            input: Payload::None,
            meta: Vec::new(),
            after: after.collect(),
            input_from: None,
            scheduled_ms: None,
            submitted_ms: self.now / 1_000_000,
        };
        let submit = Submit { runs: vec![record], key: None, fingerprint: 0 };
        self.ask(Asked::Start(item), Request::Submit(submit))
    }

    /// The newest runs of the jobs that a line is after.
    fn upstreams(&self, item: usize) -> impl Iterator<Item = (Condition, RunId)> {
        let Item { namespace, after, .. } = &self.workload.items[item];
        after.iter().filter_map(move |Dependency { job, condition }| {
            let run = self.submissions.newest.get(&(namespace.clone(), job.clone()))?;
            Some((*condition, *run))
        })
    }

    fn accepted(&mut self, item: usize, run: RunId) {
        let wanted = &self.workload.items[item];
        self.forget_unanswered(item);
        self.submissions.newest.insert(name(wanted), run);
        // Of a system job nobody knows how many tasks it will have.
        let words = self.machines.len().max(wanted.count as usize).div_ceil(64);
        let state = RunState {
            item,
            due_at: wanted.at,
            after: self.upstreams(item).map(|dependency| dependency.1).collect(),
            ended_at: 0,
            left: wanted.count,
            seen: vec![0; words],
            started: 0,
            stopped: false,
        };
        self.runs.insert(run, state);
        if let Some(after) = wanted.stop_after {
            self.expected += 1;
            self.push((wanted.at + after).max(self.now), Event::Stop(run));
        }
        self.progress();
    }

    fn refused(&mut self, item: usize, error: &RequestError) {
        self.forget_unanswered(item);
        let Item { length, count, .. } = &self.workload.items[item];
        if *length != Length::Forever {
            self.left_finite -= u64::from(*count);
        }
        self.submissions.refused.push((item, error.to_string()));
    }

    fn forget_unanswered(&mut self, item: usize) {
        let name = name(&self.workload.items[item]);
        if let Some(count) = self.submissions.unanswered.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                self.submissions.unanswered.remove(&name);
            }
        }
    }

    fn ask(&mut self, asked: Asked, request: Request) -> Result<(), Error> {
        self.submissions.next_request += 1;
        let id = RequestId(self.submissions.next_request);
        self.submissions.open.insert(id, asked);
        self.control(weir_scheduler::Input::Request { id, request })
    }
}

fn name(item: &Item) -> Name {
    (item.namespace.clone(), item.job.clone())
}

/// The spec of a line; all jobs share one module, which every machine has.
fn job(item: &Item) -> JobRecord {
    JobRecord {
        namespace: item.namespace.clone(),
        job: item.job.clone(),
        version: JobVersion(0),
        kind: item.kind.clone(),
        module: Digest([1; 32]),
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets { resources: item.resources, fuel: Fuel(u64::MAX), timeout: None, output: 1 << 20 },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        count: item.count,
        max_running: item.max_running,
        priority: item.priority,
        tier: item.tier,
        max_failed: None,
        start_deadline: None,
        after: item.after.clone(),
        input_from: None,
        execution: Execution::default(),
        retry: RetryPolicy {
            attempts: 3,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_deterministic: false,
        },
        placement: item.placement.clone(),
        created_ms: 0,
        message: String::new(),
    }
}
