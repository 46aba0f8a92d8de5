//! Running a target on its corpus and on mutations of it.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{Target, corpus, mutate::mutate, random::Random};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many mutations, besides the corpus.
    Mutations(u64),
    /// As many as fit into a time.
    Time(Duration),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Inputs that were run.
    pub executions: u64,
    /// The first that broke a promise.
    pub finding: Option<Finding>,
}

/// An input that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What the target said.
    pub message: String,
}

thread_local! {
    /// The words of the last panic that was caught.
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
    /// Whether this thread runs an input.
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target until something is found or the amount is used up. The seed decides every input.
///
/// # Errors
/// A corpus that cannot be read.
pub fn run(target: Target, seed: u64, amount: Amount) -> Result<Tried> {
    let corpus = corpus::read(target)?;
    catch_words();
    Ok(attempt_all(target, &corpus, seed, amount))
}

/// Keeps what a panic says while an input is run: it is reported once, with the input.
fn catch_words() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| if TRYING.get() { WORDS.set(info.to_string()) } else { usual(info) }));
    });
}

fn attempt_all(target: Target, corpus: &[corpus::Entry], seed: u64, amount: Amount) -> Tried {
    let began = Instant::now();
    let mut executions = 0;
    for entry in corpus {
        executions += 1;
        if let Some(finding) = attempt(target, &entry.bytes) {
            let message = format!("{}: {}", entry.name, finding.message);
            return Tried { executions, finding: Some(Finding { message, ..finding }) };
        }
    }
    let replayed = executions;
    let mut random = Random::new(seed);
    let more = |executions: u64| match amount {
        Amount::Mutations(number) => executions - replayed < number,
        Amount::Time(time) => began.elapsed() < time,
    };
    while more(executions) {
        let mut input = corpus[random.below(corpus.len())].bytes.clone();
        mutate(&mut input, &corpus[random.below(corpus.len())].bytes, &mut random);
        executions += 1;
        if let Some(finding) = attempt(target, &input) {
            return Tried { executions, finding: Some(finding) };
        }
    }
    Tried { executions, finding: None }
}

fn attempt(target: Target, input: &[u8]) -> Option<Finding> {
    TRYING.set(true);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| target.run(input)));
    TRYING.set(false);
    ended.is_err().then(|| Finding { input: input.to_vec(), message: WORDS.take() })
}
