//! What every change has to pass: committed seeds and worlds, a fixed set of small worlds, a few large ones, and proof
//! that the oracle and the hash see what they should see.

use std::path::Path;

use weir_sim::{Flip, Options, Overrides, Property, Sabotage, Summary, World};

fn run(options: Options) -> Summary {
    World::new(options, None).run()
}

/// Runs a world twice: it has to hold all properties, and to do the same both times.
#[track_caller]
fn passes(options: &Options) -> Summary {
    let first = run(options.clone());
    let (seed, nodes) = (options.seed, options.nodes);
    if let Some(violation) = &first.violation {
        panic!("seed {seed}, {nodes} nodes: {violation}\nreplay: cargo xtask sim --seed {seed} --trace -");
    }
    let second = run(options.clone());
    assert_eq!(first.hash, second.hash, "seed {seed} did not do the same twice");
    first
}

#[test]
fn committed_seeds_pass() {
    for line in include_str!("../seeds.txt").lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(seed) = words.next() else { continue };
        let nodes = words.next().map(|nodes| nodes.parse().unwrap());
        passes(&Options::from_seed(seed.parse().unwrap(), Overrides { nodes, ..Overrides::default() }));
    }
}

#[test]
fn committed_worlds_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("worlds");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let options = Options::from_text(&std::fs::read_to_string(&path).unwrap());
        passes(&options.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
}

#[test]
fn small_worlds_pass() {
    let mut tasks = 0;
    for seed in 100_000..100_040 {
        tasks += passes(&Options::from_seed(seed, Overrides::default())).totals.tasks;
    }
    assert!(tasks > 1000, "the worlds do something: {tasks} tasks");
}

#[test]
fn large_worlds_pass() {
    for (seed, nodes) in [(1, 300), (2, 400), (4, 300)] {
        let summary = passes(&Options::from_seed(seed, Overrides::nodes(nodes)));
        assert!(summary.totals.tasks > 100, "seed {seed}: {} tasks", summary.totals.tasks);
    }
}

/// Whether a deviation at some place changes the hash.
fn is_seen(calm: &Options, flip: Flip) -> bool {
    let mut options = calm.clone();
    options.flip = Some(flip);
    run(options).hash != run(calm.clone()).hash
}

/// A world of some size in which nothing is lost, so that everything that is said also arrives.
fn calm() -> Options {
    let calm = Options::from_seed(9, Overrides::nodes(4)).calm();
    let summary = run(calm.clone());
    assert!(summary.totals.messages > 200 && summary.totals.commits > 20, "{}", summary.totals);
    calm
}

#[test]
fn the_hash_sees_one_bit_of_any_frame() {
    let calm = calm();
    for at in (1..200).step_by(9) {
        assert!(is_seen(&calm, Flip::Frame(at)), "frame {at}");
    }
}

#[test]
fn the_hash_sees_one_bit_of_any_stored_value() {
    let calm = calm();
    for at in 1..20 {
        assert!(is_seen(&calm, Flip::Stored(at)), "value {at}");
    }
}

#[test]
fn the_hash_sees_one_bit_of_a_result_segment() {
    let sees = |seed| is_seen(&Options::from_seed(seed, Overrides::default()).calm(), Flip::Object(0));
    assert!((0..40).any(sees), "no world writes a segment, or the hash does not see it");
}

/// A frame that waits for one before it is not delayed further, so that not each of them can be seen.
#[test]
fn the_hash_sees_a_nanosecond() {
    let calm = calm();
    let seen = (1..100).filter(|at| is_seen(&calm, Flip::Delay(*at))).count();
    assert!(seen > 50, "{seen}");
}

/// Whether a defect is found in some of a few hundred worlds, and as what.
#[track_caller]
fn is_caught(sabotage: Sabotage, as_what: &[Property]) {
    let found = (0..400).find_map(|seed| {
        let mut options = Options::from_seed(seed, Overrides::default());
        options.sabotage = Some(sabotage);
        run(options).violation
    });
    let violation = found.unwrap_or_else(|| panic!("{sabotage:?} goes unnoticed"));
    assert!(as_what.contains(&violation.property), "{sabotage:?} is seen as {violation}");
}

#[test]
fn a_store_without_the_term_compare_is_caught() {
    is_caught(Sabotage::IgnoreTerm, &[Property::Term, Property::Once, Property::Accepted]);
}

#[test]
fn a_store_without_the_head_compare_is_caught() {
    is_caught(Sabotage::IgnoreHead, &[Property::Term, Property::Once]);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    is_caught(Sabotage::AckBeforeCommit, &[Property::Accepted]);
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    is_caught(Sabotage::ReplyBeforeCommit, &[Property::Accepted]);
}

#[test]
fn an_executor_that_overcommits_is_caught() {
    is_caught(Sabotage::IgnoreCapacity, &[Property::Capacity]);
}
