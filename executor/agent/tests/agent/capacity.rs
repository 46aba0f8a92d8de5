//! Whatever happens, the node never holds more than it has, and no task ends twice.

use std::collections::BTreeMap;

use crate::node::{MODULE, Node, TERM, config, killed, ms, resources, spec, success};
use weir_agent::{Input, Output, Part};
use weir_wire::{
    attempt::{AttemptEvent, Command, EndedAttempt, ModuleReady},
    id::{AttemptId, Digest, GrantSeq, RunId, Term},
    message::{Ack, Follow, Grant, Renewed, Stop, ToControl, ToExecutor},
    outcome::BlobRef,
    resources::Resources,
    task::Reason,
    work::Input as RunInput,
};

/// Runs with resources that fill the node in different ways.
const RUNS: [(u64, u32, u64); 4] = [(1, 100, 1 << 20), (2, 1000, 1 << 29), (3, 1, 1 << 28), (4, 700, 7)];

struct World {
    node: Node,
    random: u64,
    seq: u64,
    term: u64,
    running: BTreeMap<AttemptId, ()>,
    seen_through: u64,
    ended: BTreeMap<AttemptId, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let node = Node::new(weir_agent::Config { lanes_max: 12, outbox_len_max: 40, ..config() });
        let (running, ended) = (BTreeMap::new(), BTreeMap::new());
        Self { node, random: seed, seq: 0, term: TERM.0, running, seen_through: 0, ended }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn join(&mut self) {
        self.term += self.draw(2);
        self.node.join(Term(self.term));
        for (run, cpu, memory) in RUNS {
            self.node.control(ToExecutor::Define(spec(RunId(run), resources(cpu, memory), RunInput::None)));
        }
    }

    fn step(&mut self) {
        let run = RunId(RUNS[usize::try_from(self.draw(4)).expect("small")].0);
        let index = u32::try_from(self.draw(200)).expect("small");
        match self.draw(14) {
            0..4 => {
                self.seq += 1;
                let term = Term(self.term - u64::from(self.draw(20) == 0));
                let len = 1 + u32::try_from(self.draw(9)).expect("small");
                let grant = Grant {
                    run,
                    term,
                    grant: GrantSeq(self.seq),
                    first: u32::try_from(self.seq).expect("small") * 10,
                    len,
                    ordinal: 1,
                };
                self.node.control(ToExecutor::Grant(grant));
            }
            4..8 => self.end_one(),
            8 => self.node.control(ToExecutor::Stop(Stop {
                run,
                index: None,
                grant: None,
                reason: Reason::Cancelled,
                grace: std::time::Duration::ZERO,
            })),
            9 => self.node.control(ToExecutor::Follow(Follow { run, index, on: index % 2 == 0 })),
            10 if self.draw(4) == 0 => {
                self.node.input(Input::Disconnected);
                self.join();
            }
            10 => self.node.control(ToExecutor::Forget(run)),
            11 => self.node.control(ToExecutor::Ack(Ack { through: self.seen_through })),
            _ => {
                let time = ms(self.draw(150));
                self.node.pass(time);
            }
        }
        self.follow_outputs();
        self.check();
    }

    fn end_one(&mut self) {
        let at = self.draw(self.running.len().max(1) as u64);
        let Some(&id) = self.running.keys().nth(usize::try_from(at).expect("small")) else {
            return;
        };
        self.running.remove(&id);
        let large = self.draw(3) == 0;
        let large_result = if large { [1; 2000].into() } else { [].into() };
        let outcome = if self.draw(2) == 0 { success() } else { killed(Reason::Cancelled) };
        let ended = EndedAttempt { id, outcome, large_result, large_log: [].into(), next_started: false };
        self.node.input(Input::Sandbox(AttemptEvent::Ended(Box::new(ended))));
    }

    /// Plays sandbox, link and control plane.
    fn follow_outputs(&mut self) {
        for output in self.node.take() {
            match output {
                Output::Start(start) => {
                    assert!(self.running.insert(start.id, ()).is_none(), "started twice: {}", start.id);
                    assert!(!self.ended.contains_key(&start.id), "started after its end: {}", start.id);
                }
                Output::Sandbox(Command::Prepare(file)) => {
                    let ready =
                        ModuleReady { digest: file.digest, refused: None, machine_fault: false, compile_time: ms(0) };
                    self.node.input(Input::Sandbox(AttemptEvent::Module(ready)));
                }
                Output::FetchModule(digest) => {
                    assert_eq!(digest, MODULE);
                    self.node.input(Input::ModuleStored { digest, path: String::new() });
                }
                Output::Upload { id, bytes, .. } if self.draw(2) == 0 => {
                    let (part, message) = (Part::Result, "lost".into());
                    self.node.input(Input::BlobUploadFailed { id, part, bytes, message, retry: true });
                }
                Output::Upload { id, part, bytes } => {
                    let blob = BlobRef { digest: Digest([1; 32]), len: bytes.len() as u64 };
                    self.node.input(Input::BlobUploaded { id, part, blob });
                }
                Output::Send(ToControl::Renew(renew)) => {
                    self.node.control(ToExecutor::Renewed(Renewed { token: renew.token }));
                }
                Output::Send(ToControl::Report(report)) => self.note_report(&report),
                Output::Disconnect(reason) => panic!("left the session: {reason}"),
                Output::Exit(reason) => panic!("left: {reason}"),
                Output::Send(_) | Output::Sandbox(_) | Output::FetchPayload { .. } => {}
            }
        }
        if !self.node.outputs.is_empty() {
            self.follow_outputs();
        }
    }

    fn note_report(&mut self, report: &weir_wire::message::Report) {
        let mut number = report.first;
        for group in &report.groups {
            for (index, _) in &group.outcomes {
                let task = weir_wire::id::TaskId { run: group.run, index: *index };
                let id = AttemptId { task, term: group.term, grant: group.grant };
                assert_eq!(*self.ended.entry(id).or_insert(number), number, "ended twice: {id}");
                number += 1;
            }
        }
        assert!(report.first <= self.seen_through + 1, "a gap in the outbox numbers");
        self.seen_through = self.seen_through.max(number - 1);
    }

    fn check(&self) {
        let stats = self.node.agent.stats();
        assert!(stats.reserved.fits(&stats.capacity), "{} of {}", stats.reserved, stats.capacity);
        assert_eq!(stats.running, self.running.len());
        assert!(stats.ranges <= 12 && stats.outbox_len <= 40 + 12);
        let mut lanes = BTreeMap::new();
        let mut needed = Resources::default();
        for id in self.running.keys() {
            assert!(lanes.insert((id.term, id.grant), ()).is_none(), "two tasks of one range at a time");
            let (_, cpu, memory) = RUNS.into_iter().find(|(run, ..)| *run == id.task.run.0).expect("known");
            needed = needed.checked_add(&resources(cpu, memory)).expect("small");
        }
        assert!(needed.fits(&stats.reserved), "running without a reservation");
    }
}

#[test]
fn the_book_holds_under_any_order_of_events() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.join();
        world.follow_outputs();
        for _ in 0..400 {
            world.step();
        }
        // Let everything end: nothing may stay behind.
        for _ in 0..5000 {
            world.end_one();
            world.node.pass(ms(50));
            world.follow_outputs();
            let through = world.seen_through;
            world.node.control(ToExecutor::Ack(Ack { through }));
            world.follow_outputs();
            world.check();
            if world.node.agent.stats().ranges == 0 {
                break;
            }
        }
        let stats = world.node.agent.stats();
        assert_eq!((stats.ranges, stats.running, stats.reserved), (0, 0, Resources::default()), "seed {seed}");
        assert!(stats.totals.attempts_ended > 0);
    }
}
