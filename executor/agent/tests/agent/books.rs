//! The two books against a naive model, and the order in which revocable work makes room.

use std::{collections::BTreeMap, sync::Arc};

use crate::node::{MODULE, Node, TERM, config, killed, ms, resources, spec, success};
use weir_agent::{Config, Input, Output};
use weir_wire::{
    attempt::{AttemptEvent, Command, ModuleReady},
    id::{AttemptId, GrantSeq, RunId, TaskId},
    kind::Tier,
    message::{Grant, ToExecutor},
    resources::Resources,
    task::Reason,
    work::Input as RunInput,
};

const MIB: u64 = 1 << 20;
/// Run, tier, priority, CPU, MiB.
const RUNS: [(u64, Tier, u8, u32, u64); 6] = [
    (1, Tier::Production, 90, 500, 200),
    (2, Tier::Preemptible, 50, 300, 300),
    (3, Tier::Revocable, 10, 300, 200),
    (4, Tier::Revocable, 60, 200, 150),
    (5, Tier::Revocable, 60, 700, 400),
    (6, Tier::Production, 20, 1500, 600),
];

fn run(number: u64) -> &'static (u64, Tier, u8, u32, u64) {
    RUNS.iter().find(|(run, ..)| *run == number).expect("a known run")
}

fn attempt(run: u64, seq: u64) -> AttemptId {
    AttemptId { task: TaskId { run: RunId(run), index: 0 }, term: TERM, grant: GrantSeq(seq) }
}

fn node() -> Node {
    let mut node = Node::new(Config { lanes_max: 30, ..config() });
    node.join(TERM);
    for (run, tier, priority, cpu, memory) in RUNS {
        let mut work = spec(RunId(run), resources(cpu, memory * MIB), RunInput::None);
        let changed = Arc::make_mut(&mut work);
        (changed.tier, changed.priority) = (tier, priority);
        node.control(ToExecutor::Define(work));
    }
    node.control(ToExecutor::Grant(Grant { run: RunId(4), ..crate::node::grant(1, 9, 1) }));
    node.input(Input::ModuleStored { digest: MODULE, path: "/m".into() });
    let ready = ModuleReady { digest: MODULE, refused: None, machine_fault: false, compile_time: ms(0) };
    node.input(Input::Sandbox(AttemptEvent::Module(ready)));
    node.end(AttemptId { task: TaskId { run: RunId(4), index: 9 }, ..attempt(4, 1) }, success());
    node.take();
    node
}

fn give(node: &mut Node, number: u64, seq: u64) -> bool {
    let before = node.agent.stats().totals.grants_returned;
    node.control(ToExecutor::Grant(Grant { run: RunId(number), ..crate::node::grant(seq, 0, 1) }));
    node.agent.stats().totals.grants_returned == before
}

/// A node of which owners have reserved 1800 of 2000 CPU and 900 of 1024 MiB, and use nothing.
fn owned() -> Node {
    let mut node = node();
    assert!(give(&mut node, 6, 90) && give(&mut node, 2, 91));
    node.input(Input::Measured(resources(0, 0)));
    node.take();
    node
}

#[test]
fn revocable_work_runs_on_what_is_reserved_and_idle() {
    let mut node = node();
    assert!(give(&mut node, 6, 2), "1500 of 2000 CPU, 600 of 1024 MiB");
    assert!(!give(&mut node, 5, 3), "without a measurement, what is reserved counts as used");
    node.input(Input::Measured(resources(100, 100 * MIB)));
    assert!(give(&mut node, 5, 4));
    assert!(give(&mut node, 3, 5), "700 + 300 of 1890, 400 + 200 of 914");
    assert!(give(&mut node, 5, 6) || !give(&mut node, 5, 7), "the second book is a book");
    assert_eq!(node.agent.stats().reserved, resources(1500, 600 * MIB));
    assert!(!give(&mut node, 6, 8), "what is not revocable is admitted by its limits, whatever is idle");
}

#[test]
fn memory_is_taken_from_the_lowest_priority_and_then_from_the_youngest() {
    let mut node = owned();
    for (number, seq) in [(4, 2), (3, 3), (4, 4)] {
        assert!(give(&mut node, number, seq));
    }
    node.take();
    // 500 MiB of the revocable do not fit into 1024 - 550 MiB.
    node.input(Input::Measured(resources(0, 500 * MIB)));
    assert_eq!(node.cancels(), [(attempt(3, 3), Reason::Preempted)]);
    // 300 MiB do not fit into 1024 - 814 MiB: what is being ended is not counted on.
    node.input(Input::Measured(resources(0, 740 * MIB)));
    assert_eq!(node.cancels()[1..], [(attempt(4, 4), Reason::Preempted)]);
    node.input(Input::Measured(resources(0, 740 * MIB)));
    assert_eq!(node.cancels().len(), 2, "nobody is ended twice");
    assert_eq!(node.agent.stats().totals.attempts_evicted, 2);
}

#[test]
fn a_grant_that_needs_room_makes_it() {
    let mut node = node();
    assert!(give(&mut node, 5, 2) && give(&mut node, 3, 3) && give(&mut node, 4, 4));
    node.take();
    // 750 MiB revocable, and 600 MiB come: of 1024.
    assert!(give(&mut node, 6, 5));
    assert_eq!(node.cancels(), [(attempt(3, 3), Reason::Preempted), (attempt(4, 4), Reason::Preempted)]);
    assert!(node.starts().contains(&attempt(6, 5)));
}

#[test]
fn a_shortage_of_cpu_throttles_and_ends_nothing() {
    let mut node = owned();
    assert!(give(&mut node, 5, 2) && give(&mut node, 3, 3) && give(&mut node, 4, 4));
    node.take();
    node.input(Input::Measured(resources(1000, 0)));
    // 900 CPU are left: for 700 of the oldest at priority 60, and 200 of the other one.
    assert_eq!(node.throttles(), [(attempt(3, 3), true)]);
    node.take();
    node.input(Input::Measured(resources(1200, 0)));
    assert_eq!(node.throttles(), [(attempt(5, 2), true), (attempt(4, 4), true)], "first come, first served");
    node.take();
    node.input(Input::Measured(resources(1100, 0)));
    assert_eq!(node.throttles(), [], "790 are left for 700 and a spare of 100");
    node.input(Input::Measured(resources(300, 0)));
    let all = [(attempt(5, 2), false), (attempt(4, 4), false), (attempt(3, 3), false)];
    assert_eq!(node.throttles(), all);
    assert_eq!(node.cancels(), []);
}

#[test]
fn a_measurement_is_reported_when_it_says_something_new() {
    let mut node = node();
    let sent = |node: &mut Node| -> Vec<Resources> {
        let measured = node.reports().iter().filter_map(|report| report.measured).collect();
        node.take();
        measured
    };
    let steps = [
        (ms(0), 1000, true),
        (ms(250), 1050, false),
        (ms(250), 1060, false),
        (ms(500), 1060, true),
        (ms(2000), 1050, false),
        (ms(3000), 1050, true),
        (ms(2000), 1050, false),
        (ms(250), 0, true),
    ];
    for (wait, memory, reported) in steps {
        node.pass(wait);
        sent(&mut node);
        let used = resources(0, memory * MIB);
        node.input(Input::Measured(used));
        node.pass(ms(10));
        assert_eq!(sent(&mut node), if reported { vec![used] } else { vec![] }, "{memory} after {wait:?}");
    }
    // A new session begins with it.
    node.input(Input::Disconnected);
    node.join(TERM);
    node.pass(ms(10));
    assert_eq!(sent(&mut node), [resources(0, 0)]);
}

/// The naive model: what is held, by attempt, and which of it is being ended or throttled.
struct Model {
    node: Node,
    random: u64,
    seq: u64,
    held: BTreeMap<AttemptId, (bool, bool)>,
    measured: Option<Resources>,
    fresh: Vec<AttemptId>,
}

impl Model {
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn sum(&self, wanted: impl Fn(&AttemptId, Tier) -> bool) -> (u64, u64) {
        let of = |id: &AttemptId| run(id.task.run.0);
        let each = self.held.keys().filter(|id| wanted(id, of(id).1)).map(|id| (u64::from(of(id).3), of(id).4 * MIB));
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn firm(&self) -> (u64, u64) {
        self.sum(|_, tier| tier != Tier::Revocable)
    }

    /// What the owners use, as far as the second book is concerned.
    fn used(&self) -> (u64, u64) {
        let Some(measured) = self.measured else { return self.firm() };
        let fresh = self.sum(|id, tier| tier != Tier::Revocable && self.fresh.contains(id));
        let (cpu, memory) = (u64::from(measured.cpu.0) * 110 / 100, measured.memory.0 / 100 * 110);
        (self.firm().0.min(cpu + fresh.0), self.firm().1.min(memory + fresh.1))
    }

    fn follow(&mut self) {
        for output in self.node.take() {
            if let Output::Start(start) = output {
                self.held.insert(start.id, (false, false));
            } else if let Output::Sandbox(Command::Cancel(cancel)) = output {
                assert_eq!(cancel.reason, Reason::Preempted);
                self.held.get_mut(&cancel.id).expect("it runs").0 = true;
            } else if let Output::Sandbox(Command::Throttle(throttle)) = output {
                self.held.get_mut(&throttle.id).expect("it runs").1 = throttle.on;
            }
        }
    }

    fn grant(&mut self) {
        let number = 1 + self.draw(6);
        let &(_, tier, _, cpu, memory) = run(number);
        self.seq += 1;
        let (book, limit) = match tier {
            Tier::Revocable => (self.sum(|_, tier| tier == Tier::Revocable), self.used()),
            Tier::Production | Tier::Preemptible => (self.firm(), (0, 0)),
        };
        let fits = book.0 + limit.0 + u64::from(cpu) <= 2000 && book.1 + limit.1 + memory * MIB <= 1024 * MIB;
        let accepted = give(&mut self.node, number, self.seq);
        assert_eq!(accepted, fits, "run {number} on {book:?} beside {limit:?}");
        if accepted {
            self.fresh.push(attempt(number, self.seq));
        }
    }

    fn measure(&mut self) {
        let firm = self.firm();
        let share = |of: u64, part: u64| of * part / 10;
        let parts = (self.draw(11), self.draw(11));
        let used = resources(u32::try_from(share(firm.0, parts.0)).expect("small"), share(firm.1, parts.1));
        self.measured = Some(used);
        self.fresh.clear();
        self.node.input(Input::Measured(used));
    }

    fn end_one(&mut self) {
        let at = usize::try_from(self.draw(1 + self.held.len() as u64)).expect("small");
        let Some((&id, &(cancelled, _))) = self.held.iter().nth(at) else { return };
        self.held.remove(&id);
        self.node.end(id, if cancelled { killed(Reason::Preempted) } else { success() });
    }

    fn check(&self, looked: bool) {
        let firm = self.firm();
        assert!(firm.0 <= 2000 && firm.1 <= 1024 * MIB, "the first book is broken: {firm:?}");
        if !looked {
            return;
        }
        let used = self.used();
        let kept = self.sum(|id, tier| tier == Tier::Revocable && !self.held[id].0);
        assert!(kept.1 == 0 || kept.1 + used.1 <= 1024 * MIB, "the second book is broken: {kept:?} beside {used:?}");
        let fast = self.sum(|id, tier| tier == Tier::Revocable && self.held[id] == (false, false));
        assert!(fast.0 == 0 || fast.0 + used.0 <= 2000, "more CPU than there is: {fast:?} beside {used:?}");
    }
}

#[test]
fn the_books_agree_with_a_naive_model() {
    for seed in 0..30 {
        let (held, fresh) = (BTreeMap::new(), vec![]);
        let mut model = Model { node: node(), random: seed, seq: 1, held, measured: None, fresh };
        for _ in 0..400 {
            let step = model.draw(8);
            match step {
                0..3 => model.grant(),
                3..6 => model.end_one(),
                _ => model.measure(),
            }
            model.follow();
            model.check(step >= 6);
        }
    }
}
