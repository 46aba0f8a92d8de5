//! What every change has to pass: committed seeds, a fixed set of small worlds, a few large ones, and proof that the
//! oracle sees what it should see.

use weir_sim::{Options, Property, Sabotage, Summary, World};

fn run(seed: u64, nodes: Option<usize>) -> Summary {
    World::new(Options::from_seed(seed, nodes), false).run()
}

/// Runs a seed twice: it has to hold all properties, and to do the same both times.
#[track_caller]
fn passes(seed: u64, nodes: Option<usize>) -> Summary {
    let first = run(seed, nodes);
    if let Some(violation) = &first.violation {
        panic!("seed {seed}, nodes {nodes:?}: {violation}\nreplay: cargo run -p weir-sim -- --seed {seed} --trace");
    }
    let second = run(seed, nodes);
    assert_eq!(first.hash, second.hash, "seed {seed} did not do the same twice");
    first
}

#[test]
fn committed_seeds_pass() {
    for line in include_str!("../seeds.txt").lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(seed) = words.next() else { continue };
        let nodes = words.next().map(|nodes| nodes.parse().unwrap());
        passes(seed.parse().unwrap(), nodes);
    }
}

#[test]
fn small_worlds_pass() {
    let mut tasks = 0;
    for seed in 100_000..100_040 {
        tasks += passes(seed, None).tasks;
    }
    assert!(tasks > 1000, "the worlds do something: {tasks} tasks");
}

#[test]
fn large_worlds_pass() {
    for (seed, nodes) in [(1, 300), (2, 400), (4, 300)] {
        let summary = passes(seed, Some(nodes));
        assert!(summary.tasks > 100, "seed {seed}: {} tasks", summary.tasks);
    }
}

/// Whether a defect is found in some of a few hundred worlds, and as what.
#[track_caller]
fn is_caught(sabotage: Sabotage, as_what: &[Property]) {
    let found = (0..400).find_map(|seed| {
        let mut options = Options::from_seed(seed, None);
        options.sabotage = Some(sabotage);
        World::new(options, false).run().violation
    });
    let violation = found.unwrap_or_else(|| panic!("{sabotage:?} goes unnoticed"));
    assert!(as_what.contains(&violation.property), "{sabotage:?} is seen as {violation}");
}

#[test]
fn a_store_without_the_term_compare_is_caught() {
    is_caught(Sabotage::IgnoreTerm, &[Property::Term, Property::OneOutcome]);
}

#[test]
fn a_store_without_the_head_compare_is_caught() {
    is_caught(Sabotage::IgnoreHead, &[Property::Term, Property::OneOutcome]);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    is_caught(Sabotage::AckBeforeCommit, &[Property::Acknowledged]);
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    is_caught(Sabotage::ReplyBeforeCommit, &[Property::Acknowledged]);
}

#[test]
fn an_executor_that_overcommits_is_caught() {
    is_caught(Sabotage::IgnoreCapacity, &[Property::Capacity]);
}
