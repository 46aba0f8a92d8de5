//! Cron firings under elections, commits of unknown outcome, slow answers and a clock that is set: no instant is fired
//! twice or early, and none is missed.
//!
//! Instants come every 60 s. Whenever the system is at rest (it has a leader, and nothing is in flight), the newest
//! instant that has passed must be dealt with, and must have been fired if it was not dealt with at the last rest. This
//! checks windows, as Jepsen's checker of Chronos does: an instant that was never the newest one at a rest may be passed
//! over.

use std::collections::{BTreeMap, VecDeque};

use weir_scheduler::{Config, Input, Output, PutJob, Request, RequestId, Scheduler};
use weir_wire::{
    id::Term,
    txn::{CommitResult, Txn},
    units::{Instant, Now},
    work::JobRecord,
};

use crate::{cluster::cron_job, store::Store};

const PERIOD_MS: u64 = 60_000;
const STEPS: u32 = 400;
const SEEDS: u64 = 150;

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct World {
    rng: Rng,
    scheduler: Scheduler,
    config: Config,
    store: Store,
    mono_ms: u64,
    wall_ms: u64,
    term: u64,
    in_flight: Option<Txn>,
    asks: VecDeque<Input>,
    requests: u64,
    job: JobRecord,
    /// What was dealt with at the last rest.
    through: u64,
    /// Instants that had to be fired.
    due: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = Config::new("test".parse().expect("a valid name"));
        let mut world = Self {
            rng: Rng(seed),
            scheduler: Scheduler::new(config.clone(), seed),
            config,
            store: Store::default(),
            mono_ms: 1_000_000,
            wall_ms: 1_000_000_000_000,
            term: 1,
            in_flight: None,
            asks: VecDeque::new(),
            requests: 0,
            job: cron_job("tick", PERIOD_MS / 1000),
            through: 0,
            due: 0,
        };
        world.elect();
        world.put_job();
        world.rest();
        world
    }

    fn input(&mut self, input: Input) {
        let now = Now { mono: Instant(self.mono_ms * 1_000_000), wall_ms: self.wall_ms };
        self.scheduler.handle(now, input);
        while let Some(output) = self.scheduler.poll_output() {
            match output {
                Output::Commit { txn, .. } => self.in_flight = Some(*txn),
                Output::NextInstant { namespace, job, version, after_ms, .. } => {
                    let at_ms = Some((after_ms / PERIOD_MS + 1) * PERIOD_MS);
                    self.asks.push_back(Input::NextInstant { namespace, job, version, after_ms, at_ms });
                }
                Output::Send { .. }
                | Output::Close { .. }
                | Output::Reply { .. }
                | Output::TaskOutput(_)
                | Output::Inspected(_)
                | Output::AssembleInput { .. }
                | Output::Changed { .. } => {}
            }
        }
    }

    fn put_job(&mut self) {
        self.requests += 1;
        let spec = JobRecord { args: vec![self.requests.to_string()], ..self.job.clone() };
        let request = Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None }));
        self.input(Input::Request { id: RequestId(self.requests), request });
    }

    fn elect(&mut self) {
        // What the old leader sent may have been carried out, or is refused from here on.
        if let Some(txn) = self.in_flight.take()
            && txn.seq > self.store.head()
            && self.rng.chance(50)
        {
            self.store.apply(&txn);
        }
        self.asks.clear();
        self.term += 1;
        self.scheduler = Scheduler::new(self.config.clone(), self.term);
        let loaded = Box::new(self.store.load());
        self.input(Input::Elected { term: Term(self.term), loaded });
    }

    fn answer(&mut self, sure: bool) {
        let Some(txn) = self.in_flight.take() else { return };
        let seq = txn.seq;
        let applied = self.store.head() >= seq;
        if !applied && (sure || self.rng.chance(70)) {
            self.store.apply(&txn);
        }
        let known = sure || (self.store.head() >= seq && self.rng.chance(70));
        let result = if known { CommitResult::Committed { revision: seq.0 } } else { CommitResult::Unknown };
        if !known {
            self.in_flight = Some(txn);
        }
        self.input(Input::CommitDone { seq, result });
    }

    /// Answers everything, until nothing is left to be done, and checks.
    fn rest(&mut self) {
        for _ in 0..200 {
            if let Some(answer) = self.asks.pop_front() {
                self.input(answer);
            } else if self.in_flight.is_some() {
                self.answer(true);
            } else {
                self.input(Input::Tick);
                if self.asks.is_empty() && self.in_flight.is_none() {
                    return self.check();
                }
            }
        }
        panic!("the scheduler does not come to rest");
    }

    fn firings(&self) -> BTreeMap<u64, u32> {
        let mut firings = BTreeMap::new();
        for (_, segment) in self.store.load().submissions {
            for run in segment.runs {
                let instant = run.scheduled_ms.expect("all runs are firings");
                assert!(run.submitted_ms >= instant, "{instant} is fired early, at {}", run.submitted_ms);
                assert_eq!(instant % PERIOD_MS, 0, "{instant} is no instant");
                *firings.entry(instant).or_insert(0) += 1;
            }
        }
        firings
    }

    fn check(&mut self) {
        let firings = self.firings();
        if let Some((instant, times)) = firings.iter().find(|(_, times)| **times > 1) {
            panic!("{instant} is fired {times} times");
        }
        let through = self.store.load().job_states.first().expect("a cron job has a state").cron_through_ms;
        let newest = self.wall_ms / PERIOD_MS * PERIOD_MS;
        let began = self.through == 0;
        assert!(began || through >= newest, "at {} all is dealt with through {through} only", self.wall_ms);
        if !began && newest > self.through {
            self.due += 1;
            assert!(firings.contains_key(&newest), "{newest} is missed at {}", self.wall_ms);
        }
        self.through = through;
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..=3 => self.elect(),
            4..=5 => self.wall_ms += self.rng.below(600_000),
            6..=7 => self.wall_ms -= self.rng.below(600_000),
            8 => self.put_job(),
            9..=29 => self.answer(false),
            30..=39 => {
                if let Some(answer) = self.asks.pop_front() {
                    self.input(answer);
                }
            }
            40..=69 => {
                let passed = self.rng.below(20_000);
                self.mono_ms += passed;
                self.wall_ms += passed;
                self.input(Input::Tick);
            }
            _ => self.rest(),
        }
    }
}

#[test]
fn no_firing_is_missed_or_doubled() {
    let mut due = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.elect();
        world.rest();
        due += world.due;
    }
    assert!(due > 10 * SEEDS, "only {due} instants had to be fired: the test says little");
}
