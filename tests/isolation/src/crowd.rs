//! A crowd on one sandbox: hostile and honest guests in turn, so many at once, in rounds.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use weir_wire::id::{AttemptId, RunId};

use crate::{
    Bench, End, Guest, NEIGHBOUR,
    hostile::{self, Kind},
};

/// Turns of the loop in an honest guest, by kind: some tenths of a millisecond up to some dozens of milliseconds.
const TURNS: [(&str, u32); 3] =
    [("400,000 turns", 400_000), ("4,000,000 turns", 4_000_000), ("20,000,000 turns", 20_000_000)];
/// Most fuel of a hostile guest that ends by fuel.
const FUEL_MAX: u64 = 20_000_000;
/// More than this is meant as no limit.
const FUEL_WITHOUT_LIMIT: u64 = u64::MAX / 4;

/// The guests of a crowd, defined and prepared.
#[derive(Debug)]
pub struct Crowd {
    /// Honest kinds first.
    members: Vec<(Kind, RunId)>,
    honest: usize,
    started: u32,
}

/// An honest attempt that ended as it should.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// Which of [`Crowd::honest`].
    pub kind: usize,
    /// From the command that started it to the event of its end.
    pub time: Duration,
}

/// Honest guests, which compute and write "done".
#[must_use]
pub fn honest() -> Vec<Kind> {
    let kind = |(name, turns): (&'static str, u32)| {
        let guest = Guest::new(NEIGHBOUR.replace("4000000", &turns.to_string()));
        Kind { name, guest, reason: None }
    };
    TURNS.into_iter().map(kind).collect()
}

/// Hostile guests with smaller budgets than by themselves.
#[must_use]
pub fn hostile() -> Vec<Kind> {
    let mut kinds = hostile::kinds();
    for kind in &mut kinds {
        let fuel = &mut kind.guest.budgets.fuel.0;
        if *fuel < FUEL_WITHOUT_LIMIT {
            *fuel = (*fuel).min(FUEL_MAX);
        }
    }
    kinds
}

impl Crowd {
    /// Prepares and defines honest and hostile guests.
    ///
    /// # Panics
    /// A module is refused.
    #[must_use]
    pub fn enter(bench: &mut Bench, honest: Vec<Kind>, hostile: Vec<Kind>) -> Self {
        let count = honest.len();
        let mut members = Vec::new();
        for kind in honest.into_iter().chain(hostile) {
            let ready = bench.prepare(&kind.guest.wasm);
            assert_eq!(ready.refused, None, "{}", kind.name);
            let run = bench.define(&kind.guest, ready.digest);
            members.push((kind, run));
        }
        Self { members, honest: count, started: 0 }
    }

    /// The names of the honest kinds.
    #[must_use]
    pub fn honest(&self) -> Vec<&'static str> {
        self.members.iter().take(self.honest).map(|(kind, _)| kind.name).collect()
    }

    /// The names of the hostile kinds.
    #[must_use]
    pub fn hostile(&self) -> Vec<&'static str> {
        self.members.iter().skip(self.honest).map(|(kind, _)| kind.name).collect()
    }

    /// Runs one attempt of an honest kind to its end, alone.
    ///
    /// # Panics
    /// It does not end as it should.
    pub fn alone(&mut self, bench: &mut Bench, kind: usize) -> Duration {
        let began = Instant::now();
        let id = self.start(bench, kind);
        let end = bench.end(id);
        let time = began.elapsed();
        self.check(kind, &end);
        time
    }

    /// Runs so many attempts, so many at once, every second one honest, and checks how each ends; returns the honest ones.
    ///
    /// # Panics
    /// One of them does not end as it should.
    pub fn round(&mut self, bench: &mut Bench, attempts: u32, at_once: usize) -> Vec<Passed> {
        let (mut running, mut passed) = (HashMap::new(), Vec::new());
        let mut left = attempts;
        while left > 0 || !running.is_empty() {
            while left > 0 && running.len() < at_once {
                let kind = self.draw();
                let began = Instant::now();
                running.insert(self.start(bench, kind), (kind, began));
                left -= 1;
            }
            let end = bench.any_end();
            let (kind, began) = running.remove(&end.ended.id).expect("an attempt that was started");
            let time = began.elapsed();
            self.check(kind, &end);
            if kind < self.honest {
                passed.push(Passed { kind, time });
            }
        }
        passed
    }

    /// The kind of the next attempt: honest ones are every second, and all kinds of either sort come equally often in an
    /// order that is the same each time.
    fn draw(&self) -> usize {
        let number = self.started as usize;
        let hostile = self.members.len() - self.honest;
        if number.is_multiple_of(2) {
            number / 2 % self.honest
        } else {
            // A step without a common divisor visits all of them, far from the order in which they are listed.
            self.honest + (number / 2 * 7 + number / 2 / hostile) % hostile
        }
    }

    fn start(&mut self, bench: &Bench, kind: usize) -> AttemptId {
        self.started += 1;
        let (_, run) = self.members.get(kind).expect("a kind");
        bench.start_task(*run, self.started)
    }

    fn check(&self, kind: usize, end: &End) {
        let (Kind { name, reason, .. }, _) = self.members.get(kind).expect("a kind");
        assert_eq!(end.reason(), *reason, "{name}: {end:?}");
        if kind < self.honest {
            assert_eq!(end.text(), "done", "{name}: {end:?}");
        }
    }
}
