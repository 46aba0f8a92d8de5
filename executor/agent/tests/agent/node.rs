//! A node under test: an agent with a clock of its own, and what it asked for.

use std::{sync::Arc, time::Duration};

use weir_agent::{Agent, Config, Input, Output};
use weir_wire::{
    attempt::{AttemptEvent, Command, EndedAttempt, ModuleReady},
    id::{AttemptId, Digest, GrantSeq, Incarnation, RunId, TaskId, Term},
    kind::{Execution, Tier},
    message::{Ack, FullState, Grant, Renewed, Report, Stop, TaskProgress, ToControl, ToExecutor, WIRE_MAX, Welcome},
    outcome::{Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Reason, Source, Status},
    units::{CpuMillis, Fuel, Instant, MemBytes, Now},
    work::{Budgets, Capabilities, Input as RunInput, WorkSpec},
};

pub(crate) const TERM: Term = Term(5);
pub(crate) const RUN: RunId = RunId(77);
pub(crate) const MODULE: Digest = Digest([7; 32]);
pub(crate) const LEASE: Duration = Duration::from_secs(15);

pub(crate) struct Node {
    pub(crate) agent: Agent,
    pub(crate) now: Instant,
    /// Everything it asked for since the last look.
    pub(crate) outputs: Vec<Output>,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn resources(cpu: u32, memory: u64) -> Resources {
    Resources { cpu: CpuMillis(cpu), memory: MemBytes(memory) }
}

pub(crate) fn config() -> Config {
    let name = "test".parse().expect("a name");
    Config::new(name, "n1".parse().expect("a name"), Incarnation(3), resources(2000, 1 << 30))
}

pub(crate) fn spec(run: RunId, resources: Resources, input: RunInput) -> Arc<WorkSpec> {
    Arc::new(WorkSpec {
        run,
        namespace: "default".parse().expect("a name"),
        job: "job".parse().expect("a name"),
        count: 100_000,
        long_running: false,
        tier: Tier::Preemptible,
        priority: 50,
        execution: Execution::default(),
        module: MODULE,
        args: vec![],
        env: vec![],
        budgets: Budgets { resources, fuel: Fuel(1), timeout: Some(ms(1000)), output: 1 },
        dirs: vec![],
        capabilities: Capabilities::NONE,
        input,
    })
}

pub(crate) fn grant(seq: u64, first: u32, len: u32) -> Grant {
    Grant { run: RUN, term: TERM, grant: GrantSeq(seq), first, len, ordinal: 1 }
}

pub(crate) fn attempt(seq: u64, index: u32) -> AttemptId {
    AttemptId { task: TaskId { run: RUN, index }, term: TERM, grant: GrantSeq(seq) }
}

/// The outcome of a task that took its time.
pub(crate) fn success() -> Outcome {
    Outcome::succeeded(Usage { wall_us: 2000, ..Usage::default() }, Captured::inline(b"ok"), Captured::Empty)
}

/// That of one behind which further ones may be started ahead.
pub(crate) fn quick() -> Outcome {
    Outcome::succeeded(Usage::default(), Captured::inline(b"ok"), Captured::Empty)
}

pub(crate) fn killed(reason: Reason) -> Outcome {
    Outcome::not_run(Status::Killed, Failure::new(reason, Source::Control, "stopped"))
}

impl Node {
    pub(crate) fn new(config: Config) -> Self {
        Self { agent: Agent::new(config, 1), now: Instant(1_000_000_000), outputs: vec![] }
    }

    /// A node that has joined; the joining itself is looked at elsewhere.
    pub(crate) fn joined() -> Self {
        let mut node = Self::new(config());
        node.join(TERM);
        node.outputs.clear();
        node
    }

    /// A joined node with a run of the given resources whose module is ready.
    pub(crate) fn ready(resources: Resources) -> Self {
        let mut node = Self::joined();
        node.control(ToExecutor::Define(spec(RUN, resources, RunInput::None)));
        node.control(ToExecutor::Grant(grant(1, 0, 1)));
        node.prepare(None);
        node.end(attempt(1, 0), success());
        node.ack(1);
        node.outputs.clear();
        node
    }

    pub(crate) fn join(&mut self, term: Term) {
        self.input(Input::Connected);
        self.control(ToExecutor::Welcome(Welcome { wire: WIRE_MAX, term, lease: LEASE, renew_every: ms(4000) }));
    }

    pub(crate) fn prepare(&mut self, refused: Option<&str>) {
        self.input(Input::ModuleStored { digest: MODULE, path: "/cache/m".into() });
        let refused = refused.map(Into::into);
        let ready = ModuleReady { digest: MODULE, refused, machine_fault: false, compile_time: Duration::ZERO };
        self.input(Input::Sandbox(AttemptEvent::Module(ready)));
    }

    /// One turn with one input.
    pub(crate) fn input(&mut self, input: Input) {
        self.turn([input]);
    }

    /// One turn with several inputs.
    pub(crate) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.agent.handle(Now { mono: self.now, wall_ms: 0 }, input);
        }
        while let Some(output) = self.agent.poll_output() {
            self.outputs.push(output);
        }
    }

    pub(crate) fn control(&mut self, message: ToExecutor) {
        self.input(Input::Control(message));
    }

    pub(crate) fn ended(id: AttemptId, outcome: Outcome) -> Input {
        Self::ended_with(id, outcome, false)
    }

    /// The end of an attempt behind which the sandbox has begun the next one, or not.
    pub(crate) fn ended_with(id: AttemptId, outcome: Outcome, next_started: bool) -> Input {
        let (large_result, large_log) = ([].into(), [].into());
        let ended = EndedAttempt { id, outcome, large_result, large_log, next_started };
        Input::Sandbox(AttemptEvent::Ended(Box::new(ended)))
    }

    pub(crate) fn end(&mut self, id: AttemptId, outcome: Outcome) {
        self.input(Self::ended(id, outcome));
    }

    pub(crate) fn ack(&mut self, through: u64) {
        self.control(ToExecutor::Ack(Ack { through }));
    }

    /// Has the newest renewal answered.
    pub(crate) fn renew(&mut self) {
        let token = self.renewals().last().copied().expect("a renewal was sent");
        self.control(ToExecutor::Renewed(Renewed { token }));
    }

    pub(crate) fn renewals(&self) -> Vec<u64> {
        let token = |output: &Output| {
            if let Output::Send(ToControl::Renew(renew)) = output { Some(renew.token) } else { None }
        };
        self.outputs.iter().filter_map(token).collect()
    }

    pub(crate) fn throttles(&self) -> Vec<(AttemptId, bool)> {
        let throttle = |output: &Output| {
            let Output::Sandbox(Command::Throttle(throttle)) = output else { return None };
            Some((throttle.id, throttle.on))
        };
        self.outputs.iter().filter_map(throttle).collect()
    }

    pub(crate) fn stop(&mut self, index: Option<u32>) {
        self.control(ToExecutor::Stop(Stop {
            run: RUN,
            index,
            grant: None,
            reason: Reason::Cancelled,
            grace: std::time::Duration::ZERO,
        }));
    }

    /// Lets time pass, keeping every deadline on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, _)) = self.agent.poll_deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    pub(crate) fn take(&mut self) -> Vec<Output> {
        core::mem::take(&mut self.outputs)
    }

    pub(crate) fn reports(&self) -> Vec<&Report> {
        let report = |output| {
            if let &Output::Send(ToControl::Report(ref report)) = output { Some(report) } else { None }
        };
        self.outputs.iter().filter_map(report).collect()
    }

    /// Outbox number, index and status of every outcome sent.
    pub(crate) fn outcomes(&self) -> Vec<(u64, u32, Status)> {
        let mut sent = vec![];
        for report in self.reports() {
            let outcomes = report.groups.iter().flat_map(|group| &group.outcomes);
            sent.extend((report.first..).zip(outcomes).map(|(number, (index, o))| (number, *index, o.status)));
        }
        sent
    }

    /// Grant and first task of everything given back.
    pub(crate) fn returned(&self) -> Vec<(u64, u32)> {
        self.reports().iter().flat_map(|report| &report.returned).map(|back| (back.grant.0, back.from)).collect()
    }

    pub(crate) fn progress(&self) -> Vec<TaskProgress> {
        self.reports().iter().flat_map(|report| report.progress.clone()).collect()
    }

    pub(crate) fn started(&self) -> Vec<AttemptId> {
        self.reports().iter().flat_map(|report| &report.started).map(|started| started.id).collect()
    }

    /// Of the attempts handed to the sandbox, how many tasks it may start behind each.
    pub(crate) fn aheads(&self) -> Vec<(u32, u32)> {
        let ahead = |output: &Output| {
            if let Output::Start(start) = output { Some((start.id.task.index, start.ahead)) } else { None }
        };
        self.outputs.iter().filter_map(ahead).collect()
    }

    /// Attempts behind which the sandbox is to start nothing.
    pub(crate) fn settles(&self) -> Vec<AttemptId> {
        let settle = |output: &Output| {
            if let Output::Sandbox(Command::Settle(id)) = output { Some(*id) } else { None }
        };
        self.outputs.iter().filter_map(settle).collect()
    }

    /// Attempts handed to the sandbox.
    pub(crate) fn starts(&self) -> Vec<AttemptId> {
        let start = |output: &Output| {
            if let Output::Start(start) = output { Some(start.id) } else { None }
        };
        self.outputs.iter().filter_map(start).collect()
    }

    pub(crate) fn cancels(&self) -> Vec<(AttemptId, Reason)> {
        let cancel = |output: &Output| {
            let Output::Sandbox(Command::Cancel(cancel)) = output else { return None };
            Some((cancel.id, cancel.reason))
        };
        self.outputs.iter().filter_map(cancel).collect()
    }

    pub(crate) fn states(&self) -> Vec<&FullState> {
        let state = |output| {
            if let &Output::Send(ToControl::State(ref state)) = output { Some(state) } else { None }
        };
        self.outputs.iter().filter_map(state).collect()
    }
}
