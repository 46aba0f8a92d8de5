//! Stops with a grace.

use std::time::Duration;

use crate::node::{Node, RUN, attempt, grant, killed, ms, resources, success};
use weir_wire::{
    message::{Stop, ToExecutor},
    task::{Reason, Status},
};

fn stop(node: &mut Node, index: Option<u32>, reason: Reason, grace: Duration) {
    node.control(ToExecutor::Stop(Stop { run: RUN, index, grant: None, reason, grace }));
}

/// A node that runs the first of four tasks.
fn running() -> Node {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(crate::node::grant(2, 10, 4)));
    node.take();
    node
}

#[test]
fn what_was_not_started_comes_back_at_once_and_the_rest_after_the_grace() {
    let mut node = running();
    stop(&mut node, None, Reason::Preempted, ms(10_000));
    assert_eq!(node.returned(), [(2, 11)]);
    node.pass(ms(9999));
    assert_eq!(node.cancels(), []);
    node.pass(ms(1));
    assert_eq!(node.cancels(), [(attempt(2, 10), Reason::Preempted)]);
    node.end(attempt(2, 10), killed(Reason::Preempted));
    assert_eq!(node.outcomes(), [(2, 10, Status::Killed)]);
    assert_eq!(node.agent.stats().ranges, 0);
}

#[test]
fn an_end_within_the_grace_is_reported_as_it_is() {
    let mut node = running();
    stop(&mut node, None, Reason::Drained, ms(10_000));
    node.pass(ms(5000));
    node.end(attempt(2, 10), success());
    assert_eq!(node.outcomes(), [(2, 10, Status::Succeeded)]);
    node.pass(ms(20_000));
    assert_eq!(node.cancels(), []);
}

#[test]
fn the_shorter_of_two_stops_counts() {
    // The graces, when the second one comes, and when and why the attempt is ended.
    let cases = [
        (10_000, 1000, 3000, 4000, Reason::Cancelled),
        (10_000, 1000, 30_000, 10_000, Reason::Preempted),
        (10_000, 1000, 0, 1000, Reason::Cancelled),
        (5000, 4000, 1000, 5000, Reason::Preempted),
    ];
    for (first, later, second, ended, reason) in cases {
        let mut node = running();
        stop(&mut node, None, Reason::Preempted, ms(first));
        node.pass(ms(later));
        stop(&mut node, Some(10), Reason::Cancelled, ms(second));
        if ended > later {
            node.pass(ms(ended - later - 1));
            assert_eq!(node.cancels(), [], "{first}, {later}, {second}");
            node.pass(ms(1));
        }
        assert_eq!(node.cancels(), [(attempt(2, 10), reason)], "{first}, {later}, {second}");
        node.pass(ms(60_000));
        assert_eq!(node.cancels().len(), 1, "ended once");
    }
}

#[test]
fn the_grace_of_one_task_is_not_that_of_the_next() {
    let mut node = running();
    stop(&mut node, Some(10), Reason::Cancelled, ms(150));
    node.pass(ms(100));
    node.end(attempt(2, 10), success());
    assert_eq!(node.starts(), [attempt(2, 11)], "only one task was meant");
    node.pass(ms(1000));
    assert_eq!(node.cancels(), []);
}

#[test]
fn a_task_that_waits_behind_comes_back_whatever_the_grace() {
    let mut node = running();
    stop(&mut node, Some(12), Reason::Cancelled, ms(10_000));
    assert_eq!(node.returned(), [(2, 12)]);
    node.control(ToExecutor::Grant(grant(3, 20, 1)));
    assert_eq!(node.starts().len(), 1);
}
