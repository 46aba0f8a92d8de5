//! Several tasks of a run for one node at a time: how many, and that nobody is the worse for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;

/// Twenty nodes with room for a hundred tasks each, and three namespaces with a job each.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.command("elect 5");
    for namespace in ["one", "two", "three"] {
        cluster.command(&format!("job j ns={namespace} cpu=10"));
        cluster.command(&format!("job apart ns={namespace} cpu=10 spread=zone"));
    }
    cluster.command("commit all");
    for node in 0..20 {
        cluster.command(&format!("hello s{node} n{node} cpu=1000 memory=100000 lanes=100 zone=z{}", node % 2));
        cluster.command("commit all");
    }
    cluster.take_trace();
    cluster
}

fn ready(cluster: &mut Cluster) {
    (0..20).for_each(|node| cluster.command(&format!("state s{node}")));
}

/// Node and run of each grant, in order.
fn grants(cluster: &mut Cluster) -> Vec<(String, String)> {
    let trace = cluster.take_trace();
    let grant = |line: &str| {
        let (node, rest) = line.split_once(" <- grant ")?;
        let run = rest.split_once(' ')?.1.split_once('.')?.0;
        Some((node.to_owned(), run.to_owned()))
    };
    trace.lines().filter_map(grant).collect()
}

/// Grants to the same node of the same run in a row, the longest.
fn longest_visit(grants: &[(String, String)]) -> usize {
    grants.chunk_by(|one, next| one == next).map(<[_]>::len).max().unwrap_or(0)
}

#[test]
fn a_small_array_goes_to_a_node_each() {
    let mut cluster = cluster();
    ready(&mut cluster);
    cluster.command("submit j ns=one count=15");
    cluster.command("commit all");
    let grants = grants(&mut cluster);
    let nodes: BTreeSet<&str> = grants.iter().map(|(node, _)| node.as_str()).collect();
    assert!(grants.len() == 15 && nodes.len() >= 8, "drawn at random, one by one: {grants:?}");
}

#[test]
fn a_large_array_goes_a_few_at_a_time_and_fills_the_nodes_evenly() {
    let mut cluster = cluster();
    ready(&mut cluster);
    cluster.command("submit j ns=one count=1000");
    cluster.command("commit all");
    let grants = grants(&mut cluster);
    assert!(grants.len() == 1000 && longest_visit(&grants) >= 8);
    let mut nodes = BTreeMap::<&str, usize>::new();
    grants.iter().for_each(|(node, _)| *nodes.entry(node).or_default() += 1);
    assert!(nodes.values().all(|tasks| (42..=58).contains(tasks)), "50 each, and a visit more or less: {nodes:?}");
}

#[test]
fn tasks_that_are_spread_go_one_by_one() {
    let mut cluster = cluster();
    ready(&mut cluster);
    cluster.command("submit apart ns=one count=1000");
    cluster.command("commit all");
    let grants = grants(&mut cluster);
    assert_eq!(grants.len(), 1000);
    let zone = |node: &str| node[1..].parse::<u32>().expect("a number") % 2;
    for first in 1..=grants.len() {
        let even = grants[..first].iter().filter(|(node, _)| zone(node) == 0).count();
        assert!(even.abs_diff(first - even) <= 1, "after {first} tasks, {even} are in one zone");
    }
}

#[test]
fn where_namespaces_compete_a_turn_moves_a_sixteenth_at_most() {
    let mut cluster = cluster();
    for namespace in ["one", "two", "three"] {
        cluster.command(&format!("submit j ns={namespace} count=5000"));
    }
    cluster.command("commit all");
    // All wait before any of them is placed.
    ready(&mut cluster);
    let grants = grants(&mut cluster);
    assert_eq!(grants.len(), 2000, "the cluster is full");
    let mut held = BTreeMap::<&str, usize>::new();
    for visit in grants.chunk_by(|one, next| one == next) {
        let run = held.entry(&visit[0].1).or_default();
        assert!(visit.len() <= 1.max(*run / 16), "{} at once for a namespace with {run}", visit.len());
        *run += visit.len();
    }
    assert!(held.values().all(|tasks| tasks.abs_diff(2000 / 3) <= 4), "{held:?}");
    assert!(longest_visit(&grants) == 4, "large namespaces get a few at a turn");
}
