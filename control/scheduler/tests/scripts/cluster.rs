//! The commands of the scripts.

use std::{collections::BTreeMap, time::Duration};

use weir_scheduler::{Config, Input, Output, PutJob, Request, RequestId, RunView, Scheduler, SessionId, Submit};
use weir_wire::{
    id::{Digest, GrantSeq, Incarnation, JobVersion, NodeId, RunId, TaskId, Term},
    inspect::{Inspected, Seen},
    kind::{Execution, Kind, Tier},
    message::{FullState, Grant, HeldGrant, OutcomeGroup, Renew, Report, Returned, Speed, ToControl},
    node::{Drain, Hello},
    outcome::{Captured, Failure, Outcome, Usage},
    placement::Placement,
    resources::Resources,
    task::{Reason, Source, Status},
    txn::{CommitResult, Txn},
    units::{CpuMillis, Fuel, Instant, MemBytes, Now},
    work::{Budgets, Capabilities, Input as RunInput, JobRecord, NetGrant, RetryPolicy, RunRecord},
};

use crate::{
    kinds::shape,
    place,
    show::{self, Names},
    store::Store,
};

/// One scheduler with its store.
pub(crate) struct Cluster {
    pub(crate) scheduler: Scheduler,
    pub(crate) config: Config,
    store: Store,
    now: Instant,
    /// How far the wall clock is ahead of where it was.
    pub(crate) wall_ahead_ms: i64,
    pub(crate) in_flight: Option<Txn>,
    revision: u64,
    requests: u64,
    pub(crate) names: Names,
    trace: String,
}

/// The words of a command: `name=value` pairs and the rest.
pub(crate) struct Words<'a> {
    pub(crate) plain: Vec<&'a str>,
    pub(crate) named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (named, plain): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.contains('='));
        Self { plain, named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        self.named.get(name).map_or(default, |text| number(text))
    }

    pub(crate) fn small(&self, name: &str, default: u32) -> u32 {
        u32::try_from(self.number(name, u64::from(default))).expect("a small number")
    }
}

pub(crate) fn number(text: &str) -> u64 {
    text.trim_start_matches(['s', 'r']).parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

pub(crate) fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(number(ms)),
        None => Duration::from_secs(number(text.strip_suffix('s').expect("a duration in s or ms"))),
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut config = Config::new("test".parse().expect("a valid name"));
        // A round number, so that the scripts can be read.
        config.node_timeout = Duration::from_secs(10);
        config.checkpoint_log_len = 1_000_000;
        Self {
            scheduler: Scheduler::new(config.clone(), 1),
            config,
            store: Store::default(),
            now: Instant(1_000_000_000_000),
            wall_ahead_ms: 0,
            in_flight: None,
            revision: 100,
            requests: 0,
            names: Names::default(),
            trace: String::new(),
        }
    }

    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    pub(crate) fn now(&self) -> Now {
        let wall_ms = (self.now.0 / 1_000_000).checked_add_signed(self.wall_ahead_ms).expect("a time");
        Now { mono: self.now, wall_ms }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.trace.push_str(line);
        self.trace.push('\n');
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.scheduler.handle(self.now(), input);
        while let Some(output) = self.scheduler.poll_output() {
            if let Output::Commit { txn, .. } = &output {
                self.in_flight = Some((**txn).clone());
            }
            if let Some(line) = self.names.show(&output) {
                self.say(&line);
            }
            self.instant(&output);
        }
    }

    /// Carries out one line of a script.
    pub(crate) fn command(&mut self, line: &str) {
        let words = Words::new(line);
        if self.kind_command(&words) || self.place_command(&words) || self.insight_command(&words) {
            return;
        }
        match words.plain[0] {
            "config" => self.config.checkpoint_log_len = usize::try_from(words.number("checkpoint", 3)).expect("small"),
            "queue" => self.config.open_tasks_max = number(words.plain[1]),
            "retain" => {
                self.config.keep_ended_max = usize::try_from(words.number("max", 1_000_000)).expect("small");
                self.config.keep_ended_min = words.named.get("min").map_or(Duration::ZERO, |text| duration(text));
                self.config.keep_ended_for = words.named.get("for").map_or(Duration::MAX, |text| duration(text));
            }
            "elect" => self.elect(Term(number(words.plain[1]))),
            "clock" => self.wall_ahead_ms = i64::try_from(number(words.plain[1])).expect("small"),
            "deposed" => self.input(Input::Deposed),
            "lead" => {
                let until = self.now + duration(words.plain[1]);
                self.input(Input::LeadershipUntil(until));
            }
            "commit" => self.commit(words.plain[1]),
            "tick" => {
                self.now = self.now + duration(words.plain[1]);
                self.input(Input::Tick);
            }
            "hello" => self.hello(&words),
            "state" => self.state(&words),
            "report" => self.report(&words),
            "returned" => self.returned(&words),
            "renew" => self.message(words.plain[1], ToControl::Renew(Renew { token: words.number("token", 1) })),
            "draining" => self.message(words.plain[1], ToControl::Draining),
            "gone" => self.input(Input::NodeDisconnected { session: session(words.plain[1]) }),
            "job" => self.job(&words),
            "submit" => self.submit(&words),
            "stop" => {
                let run = self.names.find(words.plain[1]);
                let index = words.plain.get(2).map(|index| u32::try_from(number(index)).expect("small"));
                self.request(Request::Stop { run, index, reason: Reason::Cancelled });
            }
            "run" => self.show_run(words.plain[1]),
            "task" => self.show_task(words.plain[1]),
            "nodes" => {
                for node in self.scheduler.nodes(self.now()) {
                    self.say(&show::node(&node));
                }
            }
            "cordon" | "uncordon" | "drain" | "label" | "remove" | "release" | "brake" => self.operate(&words),
            "why" => {
                let why = self.scheduler.why(self.now(), self.names.find(words.plain[1]));
                self.say(&why.map_or_else(|| "no such run".to_owned(), |why| show::facts(&format!("{why:?}"))));
            }
            "deadline" => {
                let deadline = self.scheduler.poll_deadline();
                let text = deadline.map(|(at, reason)| format!("{reason:?} in {:?}", at.since(self.now)));
                self.say(&text.unwrap_or_else(|| "none".to_owned()));
            }
            "stats" => {
                let stats = self.scheduler.stats();
                self.say(&format!("{stats:?}"));
            }
            other => panic!("unknown command {other}"),
        }
    }

    /// Looks into tasks, and what nodes say of them; whether it was one of these.
    fn insight_command(&mut self, words: &Words<'_>) -> bool {
        match words.plain[0] {
            "inspect" => {
                let run = self.names.find(words.plain[1]);
                let index = u32::try_from(number(words.plain[2])).expect("small");
                self.request(Request::Inspect { run, index, sample_for: None });
            }
            "seen" => {
                let seen = Seen::Nothing("it has ended".to_owned());
                let inspected = Inspected { token: words.number("token", 1), seen };
                self.message(words.plain[1], ToControl::Inspected(inspected));
            }
            "speed" => {
                let fuel_per_s = words.number("fuel", 1);
                self.message(words.plain[1], ToControl::Speed(Speed { fuel_per_s }));
            }
            _ => return false,
        }
        true
    }

    /// What operators do.
    fn operate(&mut self, words: &Words<'_>) {
        match words.plain[0] {
            "cordon" | "uncordon" => {
                self.request(Request::Cordon { node: name(words), on: words.plain[0] == "cordon" })
            }
            "drain" => {
                let deadline = words.named.get("deadline").map(|text| duration(text));
                let ignore_system = words.plain.contains(&"ignore_system");
                let drain = Drain { since_ms: 0, deadline, ignore_system, message: String::new() };
                self.request(Request::Drain { node: name(words), drain });
            }
            "label" => {
                let value = |value: &str| (value != "-").then(|| value.to_owned());
                let labels = words.named.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
                self.request(Request::Label { node: name(words), labels });
            }
            "remove" => self.request(Request::RemoveNode { node: name(words) }),
            "release" => self.request(Request::ReleaseBrake),
            "brake" => {
                let stats = self.scheduler.stats();
                self.say(&format!("brake {}, {} nodes held", stats.brake_on, stats.nodes_held));
            }
            other => panic!("unknown command {other}"),
        }
    }

    fn elect(&mut self, term: Term) {
        // Another process: nothing but the store is carried over.
        self.scheduler = Scheduler::new(self.config.clone(), term.0);
        self.in_flight = None;
        self.input(Input::Elected { term, loaded: Box::new(self.store.load()) });
    }

    /// Answers the transaction in flight.
    fn commit(&mut self, how: &str) {
        let Some(txn) = self.in_flight.take() else {
            return self.say("(nothing is in flight)");
        };
        let seq = txn.seq;
        if matches!(how, "ok" | "applied") {
            self.store.apply(&txn);
            self.revision += 1;
        }
        let result = match how {
            "ok" => CommitResult::Committed { revision: self.revision },
            // It was carried out by an earlier try.
            "found" => CommitResult::Committed { revision: self.revision },
            "applied" | "unknown" => CommitResult::Unknown,
            "deposed" => CommitResult::Deposed,
            other => panic!("no such answer: {other}"),
        };
        let recorded = matches!(result, CommitResult::Committed { .. });
        if !recorded {
            self.in_flight = Some(txn);
        }
        self.input(Input::CommitDone { seq, result });
        if recorded {
            self.check_rebuild();
        }
    }

    /// A process that loads the store has the same recorded states as the one that leads.
    fn check_rebuild(&self) {
        let mut other = Scheduler::new(self.config.clone(), 9);
        other.handle(self.now(), Input::Elected { term: Term(u64::MAX), loaded: Box::new(self.store.load()) });
        let states = |scheduler: &Scheduler| -> Vec<_> {
            let runs = scheduler.runs(None, None, None, usize::MAX);
            let tasks = |run: RunId| scheduler.tasks(self.now(), run, None, 0, usize::MAX);
            let ended = |run| {
                tasks(run)
                    .into_iter()
                    .filter(|task| task.state.is_terminal())
                    .map(|task| (task.index, task.state, task.failures, task.failure.map(|failure| failure.reason)))
            };
            // What is in flight may change how many are wanted.
            let desired = |run: &RunView| run.desired.filter(|_| self.in_flight.is_none());
            let long = |run: &RunView| (run.target, desired(run), run.restarts, run.paused);
            runs.iter().map(|(_, run)| (run.run, ended(run.run).collect::<Vec<_>>(), run.usage, long(run))).collect()
        };
        assert_eq!(states(&other), states(&self.scheduler), "the store does not rebuild what was recorded");
        assert_eq!(other.job_states(), self.scheduler.job_states(), "the store does not rebuild the states of jobs");
        assert_eq!(other.quotas(), self.scheduler.quotas(), "the store does not rebuild the quotas");
        let usage = |scheduler: &Scheduler| scheduler.quota_usage(&"default".parse().expect("a valid name"));
        let nodes = |scheduler: &Scheduler| -> Vec<_> {
            let nodes = scheduler.nodes(self.now()).into_iter();
            let drain = |drain: Option<weir_scheduler::DrainView>| drain.map(|drain| (drain.since_ms, drain.deadline));
            nodes.map(|node| (node.node, node.cordoned, drain(node.drain), node.labels)).collect()
        };
        if self.in_flight.is_none() {
            assert_eq!(nodes(&other), nodes(&self.scheduler), "the store does not rebuild the nodes");
            assert_eq!(usage(&other), usage(&self.scheduler), "the store does not rebuild what counts for quotas");
        }
    }

    fn hello(&mut self, words: &Words<'_>) {
        let memory = MemBytes(words.number("memory", 1024) << 20);
        let hello = Hello {
            wire_min: words.small("wire", 1),
            wire_max: words.small("wire", 1),
            cluster: words.named.get("cluster").unwrap_or(&"test").parse().expect("a valid name"),
            node: words.plain[2].parse().expect("a valid name"),
            installation: words.number("installation", 1),
            incarnation: Incarnation(words.number("incarnation", 1)),
            boot: words.number("boot", 1),
            version: "1".to_owned(),
            attributes: place::attributes(words),
            capacity: Resources { cpu: CpuMillis(words.small("cpu", 1000)), memory },
            lanes_max: words.small("lanes", 8),
            modules: Vec::new(),
        };
        self.input(Input::NodeConnected { session: session(words.plain[1]), hello: Box::new(hello) });
    }

    pub(crate) fn message(&mut self, to: &str, message: ToControl) {
        self.input(Input::NodeMessage { session: session(to), message: Box::new(message) });
    }

    /// `state s1 outbox=1..3 r1.0+4@5/1:2`: the grant 5/1 of four tasks, of which the third is next.
    fn state(&mut self, words: &Words<'_>) {
        let (first, next) = words.named.get("outbox").map_or((1, 1), |range| {
            let (first, next) = range.split_once("..").expect("a range");
            (number(first), number(next))
        });
        let grants = words.plain[2..].iter().map(|text| self.held(text)).collect();
        let state = FullState { grants, outbox_first: first, outbox_next: next };
        self.message(words.plain[1], ToControl::State(state));
    }

    fn held(&self, text: &str) -> HeldGrant {
        let parts: Vec<&str> = text.split(['.', '+', '@', '/', ':']).collect();
        let small = |at: usize| u32::try_from(number(parts[at])).expect("small");
        let (first, len, next) = (small(1), small(2), small(5));
        let (term, grant) = (Term(number(parts[3])), GrantSeq(number(parts[4])));
        let grant = Grant { run: self.names.find(parts[0]), term, grant, first, len, ordinal: 1 };
        HeldGrant { grant, next, end: first + len, running: true }
    }

    /// `report s1 first=3 5/1 r1.0=ok r1.1=exit_nonzero`: outcomes of one grant.
    fn report(&mut self, words: &Words<'_>) {
        let (term, grant) = words.plain[2].split_once('/').expect("a grant");
        let (term, grant) = (Term(number(term)), GrantSeq(number(grant)));
        let mut groups: Vec<OutcomeGroup> = Vec::new();
        for (task, how) in words.named.iter().filter(|(name, _)| name.contains('.')) {
            let (run, index) = task.split_once('.').expect("a task");
            let index = u32::try_from(number(index)).expect("small");
            let run = self.names.find(run);
            match groups.last_mut() {
                Some(group) if group.run == run => group.outcomes.push((index, outcome(how))),
                _ => groups.push(OutcomeGroup { run, term, grant, outcomes: vec![(index, outcome(how))] }),
            }
        }
        let report = Report { first: words.number("first", 1), groups, ..Report::default() };
        self.message(words.plain[1], ToControl::Report(report));
    }

    fn returned(&mut self, words: &Words<'_>) {
        let (term, grant) = words.plain[2].split_once('/').expect("a grant");
        let run = self.names.find(words.plain[3]);
        let (term, grant) = (Term(number(term)), GrantSeq(number(grant)));
        let returned = Returned { run, term, grant, from: words.small("from", 0) };
        let report = Report { first: words.number("first", 1), returned: vec![returned], ..Report::default() };
        self.message(words.plain[1], ToControl::Report(report));
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.requests += 1;
        self.input(Input::Request { id: RequestId(self.requests), request });
    }

    fn job(&mut self, words: &Words<'_>) {
        let expected = words.named.get("expected").map(|version| JobVersion(number(version)));
        let for_tasks = words.named.get("for").map(|tasks| u32::try_from(number(tasks)).expect("small"));
        self.request(Request::PutJob(Box::new(PutJob { spec: job_record(words), expected, for_tasks })));
    }

    fn submit(&mut self, words: &Words<'_>) {
        let mut record = RunRecord {
            meta: Vec::new(),
            after: Vec::new(),
            input_from: None,
            scheduled_ms: None,
            namespace: place::namespace(words),
            job: words.plain[1].parse().expect("a valid name"),
            version: JobVersion(words.number("version", 1)),
            count: words.small("count", 1),
            args: None,
            input: RunInput::None,
            submitted_ms: self.now().wall_ms,
        };
        self.depend(words, &mut record);
        let key = words.named.get("key").map(|key| format!("default/{key}"));
        let runs = vec![record; usize::try_from(words.number("runs", 1)).expect("small")];
        self.request(Request::Submit(Submit { runs, key, fingerprint: words.number("fingerprint", 1) }));
    }

    /// `task r1.0`: its state, where it is, and why it failed last.
    fn show_task(&mut self, name: &str) {
        let (run, index) = name.split_once('.').expect("a task");
        let index = u32::try_from(number(index)).expect("small");
        let Some(task) = self.scheduler.task(self.now(), self.names.find(run), index) else {
            return self.say("no such task");
        };
        let node = task.node.map_or(String::new(), |node| format!(" on {node}"));
        let failure =
            task.failure.map_or(String::new(), |failure| format!(", {} ({})", failure.reason, failure.source.as_str()));
        let never = if task.attempt == 0 { ", never attempted" } else { "" };
        let dormant = task.dormant.map_or(String::new(), |why| format!(", dormant: {why}"));
        self.say(&format!("{name} {}{node}{failure}{never}{dormant}", task.state));
    }

    /// `r1.0`: a task.
    pub(crate) fn task_of(&self, text: &str) -> TaskId {
        let (run, index) = text.split_once('.').expect("a task");
        TaskId { run: self.names.find(run), index: u32::try_from(number(index)).expect("small") }
    }

    fn show_run(&mut self, name: &str) {
        let run = self.names.find(name);
        let Some(view) = self.scheduler.run(run) else {
            return self.say("no such run");
        };
        let counts = format!("{:?}", view.counts);
        let counts = counts.trim_start_matches("Counts { ").trim_end_matches(" }");
        let some: Vec<&str> = counts.split(", ").filter(|count| !count.ends_with(": 0")).collect();
        self.say(&format!("{name} {}: {}", view.state.as_str(), some.join(", ")));
    }
}

fn execution(name: &str) -> Execution {
    let (at_most_once, fenced) = (name == "at_most_once", name == "fenced");
    Execution { at_most_once, fenced, stop_on_disconnect: name == "stop" }
}

fn name(words: &Words<'_>) -> NodeId {
    words.plain[1].parse().expect("a valid name")
}

/// The spec of a `job` command.
fn job_record(words: &Words<'_>) -> JobRecord {
    let memory = MemBytes(words.number("memory", 64) << 20);
    let resources = Resources { cpu: CpuMillis(words.small("cpu", 500)), memory };
    let mut spec = JobRecord {
        kind: Kind::Batch,
        tier: Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution: execution(words.named.get("execution").unwrap_or(&"")),
        namespace: "default".parse().expect("a valid name"),
        job: words.plain[1].parse().expect("a valid name"),
        version: JobVersion(0),
        module: Digest([1; 32]),
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets { resources, fuel: Fuel(1), timeout: Some(Duration::from_secs(60)), output: 1000 },
        dirs: Vec::new(),
        capabilities: Capabilities {
            deterministic: words.named.contains_key("deterministic"),
            scratch: words.number("scratch", 0) << 20,
            nets: words
                .named
                .get("net")
                .map(|host| NetGrant { host: (*host).to_owned(), port: 443 })
                .into_iter()
                .collect(),
        },
        count: 1,
        max_running: words.small("max_running", 0),
        priority: u8::try_from(words.number("priority", 50)).expect("small"),
        retry: RetryPolicy {
            attempts: words.small("attempts", 1),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_deterministic: false,
        },
        placement: Placement::default(),
        created_ms: 0,
        message: String::new(),
    };
    shape(words, &mut spec);
    place::shape(words, &mut spec);
    spec
}

/// A cron job whose firings all run, also beside each other.
pub(crate) fn cron_job(name: &str, every_s: u64) -> JobRecord {
    job_record(&Words::new(&format!("job {name} kind=cron overlap=allow schedule={every_s}")))
}

/// `5/1`: a term and the number of a grant.
pub(crate) fn grant_of(text: &str) -> (Term, GrantSeq) {
    let (term, grant) = text.split_once('/').expect("a grant");
    (Term(number(term)), GrantSeq(number(grant)))
}

fn session(text: &str) -> SessionId {
    SessionId(number(text))
}

/// `ok`, `fast` or a reason; `exit_nonzero:20s` says how long the attempt ran.
fn outcome(how: &str) -> Outcome {
    let (how, ran) = how.split_once(':').unwrap_or((how, "50ms"));
    let wall_us = u64::try_from(duration(ran).as_micros()).expect("a short time");
    let usage = Usage { fuel: Fuel(10), cpu_us: 5, wall_us, peak_memory: MemBytes(1), output_bytes: 1 };
    if how == "fast" {
        let usage = Usage { wall_us: 100, ..usage };
        return Outcome::succeeded(usage, Captured::inline(b"r"), Captured::Empty);
    }
    if how == "ok" {
        return Outcome::succeeded(usage, Captured::inline(b"r"), Captured::Empty);
    }
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == how).expect("a reason");
    let killed = matches!(reason, Reason::Cancelled | Reason::Preempted);
    let status = if killed { Status::Killed } else { Status::Failed };
    let failure = Failure::new(reason, Source::Guest, how);
    Outcome { status, failure: Some(Box::new(failure)), usage, result: Captured::Empty, log: Captured::Empty }
}
