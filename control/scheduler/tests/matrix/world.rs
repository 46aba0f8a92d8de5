//! A small cluster: the scheduler, a store that answers at once, and executors.

use std::{collections::VecDeque, time::Duration};

use weir_scheduler::{
    Config, Input, Output, PutJob, Reply, Request, RequestError, RequestId, Scheduler, SessionId, Submit,
};
use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace, RunId, Term},
    kind::{Execution, Kind, Tier},
    message::{ToControl, ToExecutor},
    node::Drain,
    placement::{Constraint, NODE_ATTRIBUTE, Placement},
    resources::Resources,
    task::{Reason, TaskState},
    txn::CommitResult,
    units::{CpuMillis, Fuel, Instant, MemBytes, Now},
    work::{Budgets, Capabilities, Input as RunInput, JobRecord, RetryPolicy, RunRecord},
};

use crate::{executor::Executor, store::Store};

/// The job that is looked at.
pub(crate) const JOB: &str = "j";

/// How often executors renew.
const RENEW_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct World {
    scheduler: Scheduler,
    store: Store,
    now: Instant,
    renew_at: Instant,
    term: u64,
    revision: u64,
    executors: Vec<Executor>,
    sessions: u64,
    requests: u64,
    inputs: VecDeque<Input>,
    reply: Option<Result<Reply, RequestError>>,
}

impl World {
    /// A cluster without nodes, whose leader was just elected.
    pub(crate) fn new() -> Self {
        let now = Instant(1_000_000_000_000_000);
        let mut world = Self {
            scheduler: Scheduler::new(config(), 1),
            store: Store::default(),
            now,
            renew_at: now,
            term: 0,
            revision: 0,
            executors: Vec::new(),
            sessions: 0,
            requests: 0,
            inputs: VecDeque::new(),
            reply: None,
        };
        world.elect();
        world
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall_ms: self.now.0 / 1_000_000 }
    }

    /// Another process leads from here on; the executors connect to it.
    pub(crate) fn elect(&mut self) {
        self.term += 1;
        self.scheduler = Scheduler::new(config(), self.term);
        let loaded = Box::new(self.store.load());
        self.inputs.push_back(Input::LeadershipUntil(Instant(u64::MAX)));
        self.inputs.push_back(Input::Elected { term: Term(self.term), loaded });
        self.settle();
    }

    /// Starts the executor of a node, or starts it anew.
    pub(crate) fn start(&mut self, name: &'static str) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        if !self.executors.iter().any(|executor| executor.name == name) {
            self.executors.push(Executor::new(name));
        }
        let hello = Box::new(self.executor(name).start(session));
        self.inputs.push_back(Input::NodeConnected { session, hello });
        self.settle();
    }

    pub(crate) fn executor(&mut self, name: &str) -> &mut Executor {
        self.executors.iter_mut().find(|executor| executor.name == name).expect("the node was started")
    }

    /// Ends what a node runs of the job, well.
    pub(crate) fn finish(&mut self, name: &str) {
        let executor = self.executor(name);
        let session = executor.session.expect("it is connected");
        let tasks = executor.running();
        let said: Vec<ToControl> =
            tasks.into_iter().flat_map(|(run, index)| self.executor(name).finish(run, index)).collect();
        self.said(session, said);
        self.settle();
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while self.now < until {
            let deadline = self.scheduler.poll_deadline().map_or(until, |(at, _)| at);
            // A deadline that has passed is taken one step later, so that time goes on.
            let step = deadline.max(self.now + Duration::from_millis(1));
            self.now = step.min(self.renew_at.max(self.now)).min(until);
            if self.renew_at <= self.now {
                self.renew_at = self.now + RENEW_EVERY;
                let now = self.now;
                let said: Vec<_> =
                    self.executors.iter_mut().map(|executor| (executor.session, executor.pass(now))).collect();
                for (session, said) in said {
                    if let Some(session) = session {
                        self.said(session, said);
                    }
                }
            }
            self.inputs.push_back(Input::Tick);
            self.settle();
        }
    }

    fn said(&mut self, session: SessionId, said: Vec<ToControl>) {
        let inputs = said.into_iter().map(|message| Input::NodeMessage { session, message: Box::new(message) });
        self.inputs.extend(inputs);
    }

    /// Handles what is waiting, and all that follows from it at once.
    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.scheduler.handle(self.now(), input);
            while let Some(output) = self.scheduler.poll_output() {
                self.output(output);
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Commit { txn, .. } => {
                self.store.apply(&txn);
                self.revision += 1;
                let result = CommitResult::Committed { revision: self.revision };
                self.inputs.push_back(Input::CommitDone { seq: txn.seq, result });
            }
            Output::Send { session, message } => self.deliver(session, &message),
            Output::Close { session } => {
                let executor = self.executors.iter_mut().find(|executor| executor.session == Some(session));
                if let Some(executor) = executor {
                    executor.session = None;
                }
            }
            Output::Reply { result, .. } => self.reply = Some(result),
            Output::NextInstant { namespace, job, version, after_ms, .. } => {
                let at_ms = Some((after_ms / 60_000 + 1) * 60_000);
                self.inputs.push_back(Input::NextInstant { namespace, job, version, after_ms, at_ms });
            }
            Output::AssembleInput { .. } | Output::TaskOutput(_) | Output::Inspected(_) | Output::Changed { .. } => {}
        }
    }

    fn deliver(&mut self, session: SessionId, message: &ToExecutor) {
        let now = self.now;
        let executor = self.executors.iter_mut().find(|executor| executor.session == Some(session));
        if let Some(executor) = executor {
            let said = executor.receive(now, message);
            self.said(session, said);
        }
    }

    /// Asks for something that is granted.
    pub(crate) fn request(&mut self, request: Request) -> Reply {
        self.requests += 1;
        self.reply = None;
        self.inputs.push_back(Input::Request { id: RequestId(self.requests), request });
        self.settle();
        self.reply.take().expect("the store answers at once").expect("the request is granted")
    }

    /// Drains a node: what may end by itself has a minute.
    pub(crate) fn drain(&mut self, name: &str, ignore_system: bool) {
        let deadline = Some(Duration::from_secs(60));
        let drain = Drain { since_ms: 0, deadline, ignore_system, message: String::new() };
        self.request(Request::Drain { node: name.parse().expect("a valid name"), drain });
    }

    pub(crate) fn uncordon(&mut self, node: &str) {
        self.request(Request::Cordon { node: node.parse().expect("a valid name"), on: false });
    }

    pub(crate) fn put(&mut self, spec: JobRecord) {
        self.request(Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None })));
    }

    /// Starts a run of the newest version of a job.
    pub(crate) fn submit(&mut self, job: &str) -> RunId {
        let spec = self.scheduler.job(&namespace(), &name(job), None).expect("the job exists").clone();
        let run = RunRecord {
            namespace: namespace(),
            job: name(job),
            version: spec.version,
            count: spec.count,
            args: None,
            input: RunInput::None,
            meta: Vec::new(),
            after: Vec::new(),
            input_from: None,
            scheduled_ms: None,
            submitted_ms: self.now().wall_ms,
        };
        let reply = self.request(Request::Submit(Submit { runs: vec![run], key: None, fingerprint: 1 }));
        let Reply::Runs { runs, .. } = reply else { panic!("a submission was answered with {reply:?}") };
        runs[0]
    }

    /// The runs of the job, oldest first, and their tasks: state, place, newest failure with its source, and how many
    /// failures count.
    pub(crate) fn state(&self) -> String {
        let runs = self.scheduler.runs(None, Some(&name(JOB)), None, usize::MAX);
        let run = |run: RunId, version: JobVersion, state: &str| {
            let tasks = self.scheduler.tasks(self.now(), run, None, 0, usize::MAX);
            let tasks: Vec<String> = tasks
                .iter()
                .map(|task| {
                    if task.state == TaskState::Succeeded {
                        return task.state.to_string();
                    }
                    let at = task.node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
                    let failure = task.failure.as_ref();
                    let why =
                        failure.map_or(String::new(), |why| format!(" [{} by {}]", why.reason, why.source.as_str()));
                    let counted =
                        if task.failures > 0 { format!(" failures {}", task.failures) } else { String::new() };
                    format!("{}{at}{why}{counted}", task.state)
                })
                .collect();
            format!("v{version} {state}: {}", tasks.join(", "))
        };
        let runs: Vec<String> =
            runs.iter().rev().map(|(_, view)| run(view.run, view.version, view.state.as_str())).collect();
        runs.join("; ")
    }

    /// The runs of the job, oldest first.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        let runs = self.scheduler.runs(None, Some(&name(JOB)), None, usize::MAX);
        runs.iter().rev().map(|(_, view)| view.run).collect()
    }

    /// The jobs that an executor runs, as it sees it.
    pub(crate) fn running_on(&mut self, node: &str) -> Vec<String> {
        let runs = self.executor(node).running();
        let job = |(run, _): (RunId, u32)| self.scheduler.run(run).expect("what runs exists").job.to_string();
        runs.into_iter().map(job).collect()
    }

    /// A node falls silent: nothing comes from it or reaches it.
    pub(crate) fn cut(&mut self, node: &str) {
        let executor = self.executor(node);
        executor.silent = true;
        let session = executor.session.take().expect("it is connected");
        self.inputs.push_back(Input::NodeDisconnected { session });
        self.settle();
    }

    /// Puts another version of the job, which differs in its arguments.
    pub(crate) fn put_version(&mut self, kind: &Kind, argument: &str) {
        let mut spec = spec(kind.clone());
        spec.args.push(argument.to_owned());
        self.put(spec);
    }

    /// Whether nothing is left on a node: the tasks that are left, and whether it is empty.
    pub(crate) fn drained(&self, node: &str) -> bool {
        let node = self.scheduler.node(self.now(), &node.parse().expect("a valid name")).expect("the node is known");
        node.drain.is_some_and(|drain| drain.drained)
    }

    pub(crate) fn stop(&mut self, run: RunId) {
        self.request(Request::Stop { run, index: None, reason: Reason::Cancelled });
    }
}

fn config() -> Config {
    // A round number, so that the scripts can be read.
    let node_timeout = Duration::from_secs(10);
    Config { node_timeout, ..Config::new("test".parse().expect("a valid name")) }
}

fn namespace() -> Namespace {
    "default".parse().expect("a valid name")
}

fn name(job: &str) -> JobName {
    job.parse().expect("a valid name")
}

/// A job of a kind; two of its tasks fill a node.
pub(crate) fn spec(kind: Kind) -> JobRecord {
    JobRecord {
        kind,
        tier: Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution: Execution::default(),
        namespace: namespace(),
        job: name(JOB),
        version: JobVersion(0),
        module: Digest([1; 32]),
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets {
            resources: Resources { cpu: CpuMillis(500), memory: MemBytes(1 << 20) },
            fuel: Fuel(1),
            timeout: None,
            output: 1000,
        },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        count: 1,
        max_running: 0,
        priority: 50,
        retry: RetryPolicy {
            attempts: 1,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_deterministic: false,
        },
        placement: Placement::default(),
        created_ms: 0,
        message: String::new(),
    }
}

/// A production job that needs all of one node.
pub(crate) fn intruder(node: &str) -> JobRecord {
    let resources = Resources { cpu: CpuMillis(1000), memory: MemBytes(1 << 20) };
    let mut spec = spec(Kind::Batch);
    spec.job = name("intruder");
    spec.tier = Tier::Production;
    spec.budgets.resources = resources;
    spec.placement.constraints = vec![Constraint::equal(NODE_ATTRIBUTE, node)];
    spec
}

/// A batch on one node, beside the job.
pub(crate) fn neighbour(node: &str) -> JobRecord {
    let mut spec = spec(Kind::Batch);
    spec.job = name("neighbour");
    spec.placement.constraints = vec![Constraint::equal(NODE_ATTRIBUTE, node)];
    spec
}
