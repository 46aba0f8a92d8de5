//! An executor in a few lines: it runs what it is granted until it is told to stop, or until the test ends a task.

use std::{collections::BTreeMap, time::Duration};

use weir_scheduler::SessionId;
use weir_wire::{
    id::{AttemptId, GrantSeq, Incarnation, RunId, TaskId, Term},
    message::{
        FullState, Grant, HeldGrant, OutcomeGroup, Renew, Report, Returned, Started, Stop, ToControl, ToExecutor,
    },
    node::Hello,
    outcome::{Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Source, Status},
    units::{CpuMillis, Fuel, Instant, MemBytes},
};

/// One node.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) name: &'static str,
    pub(crate) session: Option<SessionId>,
    pub(crate) incarnation: u64,
    /// Nothing comes from it or reaches it.
    pub(crate) silent: bool,
    grants: BTreeMap<(Term, GrantSeq), Held>,
    /// Stops that wait for their grace.
    graces: Vec<(Instant, Stop)>,
    next_outcome: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    grant: Grant,
    next: u32,
    end: u32,
}

impl Executor {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            session: None,
            incarnation: 0,
            silent: false,
            grants: BTreeMap::new(),
            graces: Vec::new(),
            next_outcome: 1,
        }
    }

    /// A start of its daemon: what it ran is gone.
    pub(crate) fn start(&mut self, session: SessionId) -> Hello {
        self.session = Some(session);
        self.incarnation += 1;
        self.silent = false;
        self.grants.clear();
        self.graces.clear();
        Hello {
            wire_min: 1,
            wire_max: 1,
            cluster: "test".parse().expect("a valid name"),
            node: self.name.parse().expect("a valid name"),
            installation: 1,
            incarnation: Incarnation(self.incarnation),
            boot: self.incarnation,
            version: "1".to_owned(),
            attributes: Vec::new(),
            capacity: Resources { cpu: CpuMillis(1000), memory: MemBytes(1 << 30) },
            lanes_max: 8,
            modules: Vec::new(),
        }
    }

    /// What it says to a message.
    pub(crate) fn receive(&mut self, now: Instant, message: &ToExecutor) -> Vec<ToControl> {
        if self.silent {
            return Vec::new();
        }
        match message {
            ToExecutor::Welcome(_) => vec![ToControl::State(self.state()), renewal()],
            ToExecutor::Present => vec![ToControl::State(self.state())],
            ToExecutor::Grant(grant) => {
                let held = Held { grant: *grant, next: grant.first, end: grant.first + grant.len };
                self.grants.insert((grant.term, grant.grant), held);
                vec![started(grant, grant.first)]
            }
            ToExecutor::Stop(stop) if stop.grace.is_zero() => self.stop(stop),
            ToExecutor::Stop(stop) => {
                self.graces.push((now + stop.grace, Stop { grace: Duration::ZERO, ..*stop }));
                Vec::new()
            }
            ToExecutor::Refuse(_)
            | ToExecutor::Define(_)
            | ToExecutor::DefineMore(_)
            | ToExecutor::Ack(_)
            | ToExecutor::Renewed(_)
            | ToExecutor::Forget(_)
            | ToExecutor::Inspect(_)
            | ToExecutor::Follow(_) => Vec::new(),
        }
    }

    /// What it says as time passes.
    pub(crate) fn pass(&mut self, now: Instant) -> Vec<ToControl> {
        if self.silent || self.session.is_none() {
            return Vec::new();
        }
        let (due, later) = self.graces.iter().partition(|(at, _)| *at <= now);
        self.graces = later;
        let due: Vec<(Instant, Stop)> = due;
        let mut said = vec![renewal()];
        said.extend(due.iter().flat_map(|(_, stop)| self.stop(stop)));
        said
    }

    /// The tasks that run here.
    pub(crate) fn running(&self) -> Vec<(RunId, u32)> {
        self.grants.values().map(|held| (held.grant.run, held.next)).collect()
    }

    /// Ends one running task well.
    pub(crate) fn finish(&mut self, run: RunId, index: u32) -> Vec<ToControl> {
        let holds = |held: &&Held| held.grant.run == run && held.next == index;
        let held = *self.grants.values().find(holds).expect("the task runs here");
        let outcome = Outcome::succeeded(usage(), Captured::inline(b"r"), Captured::Empty);
        self.end(held, outcome)
    }

    fn stop(&mut self, stop: &Stop) -> Vec<ToControl> {
        let mut said = Vec::new();
        let concerned = |held: &&Held| {
            held.grant.run == stop.run
                && stop.grant.is_none_or(|grant| grant == held.grant.grant)
                && stop.index.is_none_or(|index| index == held.next)
        };
        let held: Vec<Held> = self.grants.values().filter(concerned).copied().collect();
        for mut held in held {
            let Grant { run, term, grant, .. } = held.grant;
            if held.next + 1 < held.end {
                held.end = held.next + 1;
                let returned = vec![Returned { run, term, grant, from: held.end }];
                said.push(ToControl::Report(Report { first: self.next_outcome, returned, ..Report::default() }));
            }
            let failure = Failure::new(stop.reason, Source::Control, stop.reason.as_str());
            let failure = Some(Box::new(failure));
            let (result, log) = (Captured::Empty, Captured::Empty);
            said.extend(self.end(held, Outcome { status: Status::Killed, failure, usage: usage(), result, log }));
        }
        said
    }

    /// Ends the running task of a grant, and starts the next one.
    fn end(&mut self, mut held: Held, outcome: Outcome) -> Vec<ToControl> {
        let Grant { run, term, grant, .. } = held.grant;
        let groups = vec![OutcomeGroup { run, term, grant, outcomes: vec![(held.next, outcome)] }];
        let report = ToControl::Report(Report { first: self.next_outcome, groups, ..Report::default() });
        self.next_outcome += 1;
        held.next += 1;
        if held.next >= held.end {
            self.grants.remove(&(term, grant));
            return vec![report];
        }
        self.grants.insert((term, grant), held);
        vec![report, started(&held.grant, held.next)]
    }

    fn state(&self) -> FullState {
        let held = |held: &Held| HeldGrant { grant: held.grant, next: held.next, end: held.end, running: true };
        let grants = self.grants.values().map(held).collect();
        // Whatever it has said was acknowledged: the store of the tests answers at once.
        FullState { grants, outbox_first: self.next_outcome, outbox_next: self.next_outcome }
    }
}

fn renewal() -> ToControl {
    ToControl::Renew(Renew { token: 1 })
}

fn started(grant: &Grant, index: u32) -> ToControl {
    let task = TaskId { run: grant.run, index };
    let started = vec![Started { id: AttemptId { task, term: grant.term, grant: grant.grant } }];
    ToControl::Report(Report { first: 1, started, ..Report::default() })
}

const fn usage() -> Usage {
    Usage { fuel: Fuel(10), cpu_us: 5, wall_us: 5_000_000, peak_memory: MemBytes(1), output_bytes: 0 }
}
