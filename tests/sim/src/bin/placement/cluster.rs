//! A scheduler with nodes that take whatever they are given, and a store that commits at once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use weir_scheduler::{
    Config, DeadlineReason, Input, Loaded, Output, PutJob, Request, RequestId, Scheduler, SessionId, Submit,
};
use weir_wire::{
    id::{JobName, JobVersion, Namespace, RunId, Seq, Term},
    kind::Tier,
    message::{FullState, Grant, OutcomeGroup, Report, ToControl, ToExecutor},
    outcome::{Captured, Outcome, Usage},
    record::Quota,
    txn::CommitResult,
    units::{Fuel, Instant, MemBytes, Now},
    work::{Input as Payload, JobRecord, RunRecord},
};

use crate::load::{self, Load};

/// What was placed, and in which time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Placed {
    pub(crate) placements: u64,
    pub(crate) grants: u64,
    pub(crate) time: Duration,
}

impl Placed {
    /// Placements a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.placements as f64 / self.time.as_secs_f64().max(1e-9)
    }

    /// Plans a second.
    pub(crate) fn plans_per_second(&self) -> f64 {
        self.grants as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// One cluster.
pub(crate) struct Cluster {
    scheduler: Scheduler,
    load: Load,
    nodes: usize,
    now: Instant,
    requests: u64,
    revision: u64,
    in_flight: Option<Seq>,
    /// Grants that have not ended, oldest first.
    live: VecDeque<(SessionId, Grant)>,
    outboxes: Vec<u64>,
}

impl Cluster {
    /// Nodes that have presented their empty state, and jobs.
    pub(crate) fn new(nodes: usize, load: Load, check: bool) -> Self {
        let mut config = Config::new("bench".parse().expect("a valid name"));
        config.check_plans = check;
        let mut cluster = Self {
            scheduler: Scheduler::new(config, 1),
            load,
            nodes,
            now: Instant(1 << 40),
            requests: 0,
            revision: 0,
            in_flight: None,
            live: VecDeque::new(),
            outboxes: vec![1; nodes],
        };
        let quota = |space: u32| Quota {
            namespace: format!("space-{space}").parse().expect("a valid name"),
            weight: 100 + 50 * space,
            cpu: None,
            memory: None,
            running: (space == 3).then_some(1_000_000),
        };
        let loaded = Loaded { quotas: (0..10).map(quota).collect(), ..Loaded::default() };
        cluster.input(Input::Elected { term: Term(1), loaded: Box::new(loaded) });
        for first in (0..nodes).step_by(100) {
            for number in first..nodes.min(first + 100) {
                let session = SessionId(number as u64);
                cluster.input(Input::NodeConnected { session, hello: Box::new(load::hello(number)) });
            }
            cluster.commit_all();
        }
        for number in 0..nodes {
            let state = FullState { grants: Vec::new(), outbox_first: 1, outbox_next: 1 };
            cluster.message(SessionId(number as u64), ToControl::State(state));
        }
        let jobs = load.jobs();
        jobs.into_iter().for_each(|job| cluster.put(job));
        cluster.commit_all();
        cluster
    }

    fn put(&mut self, spec: JobRecord) {
        self.request(Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None })));
        self.commit_all();
    }

    /// Occupies a part of all lanes with work that does not end.
    pub(crate) fn fill(&mut self, percent: u32) {
        let lanes: u64 = self.scheduler.nodes(self.time()).iter().map(|node| u64::from(node.lanes_max)).sum();
        let count = u32::try_from(lanes * u64::from(percent) / 100).expect("fewer lanes than tasks");
        let mut spec = load::job("fill", "fill", 0);
        spec.tier = Tier::Production;
        self.put(spec.clone());
        self.submit_runs(vec![record(&spec.namespace, &spec.job, count)]);
        self.commit_all();
        self.place();
        self.live.clear();
    }

    /// Submits tasks, in equal numbers of each job, without placing them yet.
    pub(crate) fn submit(&mut self, tasks: u32) {
        let jobs = self.load.jobs();
        let each = tasks / u32::try_from(jobs.len()).expect("few jobs");
        self.submit_runs(jobs.iter().map(|job| record(&job.namespace, &job.job, each)).collect());
    }

    fn submit_runs(&mut self, runs: Vec<RunRecord>) {
        self.request(Request::Submit(Submit { runs, key: None, fingerprint: 1 }));
    }

    /// Lets the scheduler place until nothing more can be placed; only its own work is timed.
    pub(crate) fn place(&mut self) -> Placed {
        let mut placed = Placed::default();
        let mut outputs = Vec::with_capacity(8192);
        while let Some(input) = self.next_input() {
            let now = self.time();
            let start = cpu_time();
            self.scheduler.handle(now, input);
            while let Some(output) = self.scheduler.poll_output() {
                outputs.push(output);
            }
            placed.time += cpu_time().saturating_sub(start);
            for output in outputs.drain(..) {
                let grant = self.output(output);
                placed.grants += u64::from(grant > 0);
                placed.placements += u64::from(grant);
            }
        }
        placed
    }

    fn next_input(&mut self) -> Option<Input> {
        if let Some(seq) = self.in_flight.take() {
            self.revision += 1;
            return Some(Input::CommitDone { seq, result: CommitResult::Committed { revision: self.revision } });
        }
        let deadline = self.scheduler.poll_deadline();
        matches!(deadline, Some((_, DeadlineReason::Placement))).then_some(Input::Tick)
    }

    /// Ends what runs, oldest first, until everything has been placed; the time of all of it.
    pub(crate) fn place_rest(&mut self) -> Duration {
        let start = cpu_time();
        while !self.live.is_empty() {
            let batch = self.live.len().div_ceil(20);
            let mut reports: BTreeMap<SessionId, Vec<OutcomeGroup>> = BTreeMap::new();
            for (session, grant) in self.live.drain(..batch) {
                let outcomes = (grant.first..grant.first + grant.len).map(|index| (index, success())).collect();
                let group = OutcomeGroup { run: grant.run, term: grant.term, grant: grant.grant, outcomes };
                reports.entry(session).or_default().push(group);
            }
            for (session, groups) in reports {
                let outbox = &mut self.outboxes[usize::try_from(session.0).expect("small")];
                let first = *outbox;
                *outbox += groups.iter().map(|group| group.outcomes.len() as u64).sum::<u64>();
                let report = Report { first, groups, ..Report::default() };
                self.message(session, ToControl::Report(report));
            }
            self.now = self.now + Duration::from_millis(20);
            self.input(Input::Tick);
            self.place();
        }
        cpu_time().saturating_sub(start)
    }

    /// Lets the first node vanish; the time until its work is placed again as far as there is room.
    pub(crate) fn lose_a_node(&mut self) -> Placed {
        let held = self.scheduler.nodes(self.time()).first().map_or(0, |node| node.grants as u64);
        self.live.retain(|(session, _)| session.0 != 0);
        self.input(Input::NodeDisconnected { session: SessionId(0) });
        // All other nodes are heard again before their own silence counts.
        self.now = self.now + Duration::from_millis(9_900);
        for number in 1..self.nodes {
            self.message(SessionId(number as u64), ToControl::Report(Report::default()));
        }
        let mut placed = Placed::default();
        self.now = self.now + Duration::from_millis(200);
        let now = self.time();
        let start = cpu_time();
        self.scheduler.handle(now, Input::Tick);
        placed.time += cpu_time().saturating_sub(start);
        self.drain();
        let more = self.place();
        placed.time += more.time;
        placed.placements = held;
        placed
    }

    /// Counts all grants against the nodes, from the messages alone.
    pub(crate) fn recount(&self) {
        let mut used: BTreeMap<SessionId, (u64, u64, u32)> = BTreeMap::new();
        let mut sizes: BTreeMap<RunId, (u64, u64)> = BTreeMap::new();
        for (session, grant) in &self.live {
            let size = *sizes.entry(grant.run).or_insert_with(|| self.size(grant.run));
            let entry = used.entry(*session).or_default();
            *entry = (entry.0 + size.0, entry.1 + size.1, entry.2 + 1);
        }
        for (session, (cpu, memory, lanes)) in used {
            let node = load::hello(usize::try_from(session.0).expect("small"));
            assert!(cpu <= u64::from(node.capacity.cpu.0), "cpu of {} is exceeded", node.node);
            assert!(memory <= node.capacity.memory.0, "memory of {} is exceeded", node.node);
            assert!(lanes <= node.lanes_max, "lanes of {} are exceeded", node.node);
        }
    }

    fn size(&self, run: RunId) -> (u64, u64) {
        let view = self.scheduler.run(run).expect("granted runs exist");
        let job = self.scheduler.job(&view.namespace, &view.job, None).expect("runs have jobs");
        (u64::from(job.budgets.resources.cpu.0), job.budgets.resources.memory.0)
    }

    fn time(&self) -> Now {
        Now { mono: self.now, wall_ms: self.now.0 / 1_000_000 }
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(self.time(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.scheduler.poll_output() {
            self.output(output);
        }
    }

    /// Takes in one output; the number of tasks if it is a grant.
    fn output(&mut self, output: Output) -> u32 {
        match output {
            Output::Commit { txn, .. } => self.in_flight = Some(txn.seq),
            Output::Send { session, message } => {
                if let ToExecutor::Grant(grant) = *message {
                    self.live.push_back((session, grant));
                    return grant.len;
                }
            }
            Output::Reply { result, .. } => assert!(result.is_ok(), "refused: {result:?}"),
            Output::Close { .. }
            | Output::TaskOutput(_)
            | Output::Inspected(_)
            | Output::NextInstant { .. }
            | Output::AssembleInput { .. }
            | Output::Changed { .. } => {}
        }
        0
    }

    fn commit_all(&mut self) {
        while let Some(input) = self.in_flight.is_some().then(|| self.next_input()).flatten() {
            self.input(input);
        }
    }

    fn message(&mut self, session: SessionId, message: ToControl) {
        self.input(Input::NodeMessage { session, message: Box::new(message) });
    }

    fn request(&mut self, request: Request) {
        self.requests += 1;
        self.input(Input::Request { id: RequestId(self.requests), request });
    }
}

/// What this thread has used: on a busy machine, the clock on the wall measures the others.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

fn record(namespace: &Namespace, job: &JobName, count: u32) -> RunRecord {
    RunRecord {
        namespace: namespace.clone(),
        job: job.clone(),
        version: JobVersion(1),
        count,
        args: None,
        input: Payload::None,
        meta: Vec::new(),
        after: Vec::new(),
        input_from: None,
        scheduled_ms: None,
        submitted_ms: 0,
    }
}

/// Long enough that grants stay single tasks.
fn success() -> Outcome {
    let usage =
        Usage { fuel: Fuel(1000), cpu_us: 1000, wall_us: 50_000, peak_memory: MemBytes(1 << 20), output_bytes: 0 };
    Outcome::succeeded(usage, Captured::Empty, Captured::Empty)
}
