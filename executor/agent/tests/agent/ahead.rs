//! Tasks that the sandbox starts by itself behind one that it was told to start.

use std::sync::Arc;

use weir_agent::{Input, limits::AHEAD_MAX};
use weir_wire::{
    attempt::AttemptEvent,
    id::AttemptId,
    kind::{Execution, Tier},
    message::{Follow, Stop, ToExecutor},
    outcome::Captured,
    task::{Reason, Status},
    work::{Input as RunInput, WorkSpec},
};

use crate::node::{Node, RUN, attempt, grant, killed, ms, quick, resources, spec, success};

/// A node that runs the first of some quick tasks, and what it may start behind that.
fn running(len: u32) -> Node {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1 + len)));
    node.end(attempt(2, 10), quick());
    assert_eq!(node.aheads(), [(10, 0), (11, len.saturating_sub(1).min(AHEAD_MAX))]);
    node.take();
    node
}

/// An attempt has ended at once, and the sandbox has begun with the next one.
fn goes_on(node: &mut Node, id: AttemptId) {
    node.input(Node::ended_with(id, quick(), true));
}

fn settled(node: &mut Node, id: AttemptId) {
    node.input(Input::Sandbox(AttemptEvent::Settled(id)));
}

#[test]
fn quick_tasks_are_started_ahead_and_recorded_in_their_order() {
    let mut node = running(4);
    goes_on(&mut node, attempt(2, 11));
    goes_on(&mut node, attempt(2, 12));
    goes_on(&mut node, attempt(2, 13));
    assert_eq!((node.starts(), node.agent.stats().running), (vec![], 1), "nobody has to be told");
    node.end(attempt(2, 14), quick());
    node.pass(ms(10));
    let outcomes: Vec<u32> = node.outcomes().iter().map(|(_, index, _)| *index).collect();
    assert_eq!(outcomes, [11, 12, 13, 14]);
    let stats = node.agent.stats();
    assert_eq!((stats.ranges, stats.running, stats.totals.events_unexpected), (0, 0, 0));
    assert_eq!(stats.totals.attempts_started, stats.totals.attempts_ended);
}

#[test]
fn a_sandbox_that_does_not_go_on_is_told() {
    let mut node = running(100);
    goes_on(&mut node, attempt(2, 11));
    node.end(attempt(2, 12), quick());
    assert_eq!(node.aheads(), [(13, AHEAD_MAX)]);
    node.end(attempt(2, 13), success());
    assert_eq!(node.aheads().last(), Some(&(14, 0)), "it took its time");
}

#[test]
fn what_fails_or_takes_its_time_or_is_large_is_followed_by_nothing() {
    let large = {
        let mut outcome = quick();
        outcome.result = Captured::Empty;
        outcome
    };
    for (outcome, large_result) in [(success(), vec![]), (killed(Reason::Trap), vec![]), (large, vec![1u8; 100_000])] {
        let mut node = Node::ready(resources(500, 64));
        node.control(ToExecutor::Grant(grant(2, 10, 40)));
        let mut ended = Node::ended(attempt(2, 10), outcome);
        if let Input::Sandbox(AttemptEvent::Ended(ended)) = &mut ended {
            ended.large_result = large_result.into();
        }
        node.input(ended);
        assert!(node.aheads().iter().all(|(_, ahead)| *ahead == 0), "{:?}", node.aheads());
    }
}

#[test]
fn what_depends_on_a_lease_or_makes_room_or_has_items_is_started_one_by_one() {
    let plain = Arc::unwrap_or_clone(spec(RUN, resources(500, 64), RunInput::None));
    let once = Execution { at_most_once: true, ..plain.execution };
    let cases = [
        WorkSpec { execution: once, ..plain.clone() },
        WorkSpec { tier: Tier::Revocable, ..plain.clone() },
        WorkSpec { input: RunInput::Inline(vec![1; 2000].into()), ..plain.clone() },
    ];
    for case in cases {
        let mut node = Node::new(crate::node::config());
        node.join(crate::node::TERM);
        let many = if case.execution.at_most_once { 1 } else { 20 };
        node.control(ToExecutor::Define(Arc::new(case)));
        node.renew();
        node.control(ToExecutor::Grant(grant(1, 0, many)));
        node.prepare(None);
        node.end(attempt(1, 0), quick());
        node.control(ToExecutor::Grant(grant(2, 30, many)));
        assert!(node.aheads().iter().all(|(_, ahead)| *ahead == 0), "{:?}", node.aheads());
    }
    let mut node = Node::joined();
    node.control(ToExecutor::Define(Arc::new(WorkSpec { input: RunInput::Inline([1; 9].into()), ..plain })));
    node.control(ToExecutor::Grant(grant(1, 0, 3)));
    node.prepare(None);
    node.end(attempt(1, 0), quick());
    assert_eq!(node.aheads(), [(0, 0), (1, 1)], "a small payload goes along");
}

#[test]
fn the_outbox_has_room_for_all_that_may_end() {
    let mut config = crate::node::config();
    config.outbox_len_max = 10;
    let mut node = Node::new(config);
    node.join(crate::node::TERM);
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.prepare(None);
    node.end(attempt(1, 0), quick());
    node.ack(1);
    node.take();
    node.control(ToExecutor::Grant(grant(2, 10, 50)));
    node.control(ToExecutor::Grant(grant(3, 100, 50)));
    assert_eq!(node.aheads(), [(10, 9)]);
    assert_eq!(node.agent.stats().parked, 1);
    for index in 10..19 {
        goes_on(&mut node, attempt(2, index));
    }
    node.end(attempt(2, 19), quick());
    assert_eq!((node.agent.stats().outbox_len, node.agent.stats().parked), (10, 2));
    node.pass(ms(20));
    node.ack(11);
    assert_eq!(node.aheads(), [(10, 9), (20, 4), (100, 4)], "both that waited");
}

#[test]
fn a_long_task_gives_back_what_waits_behind_it_once_the_sandbox_has_settled() {
    let mut node = running(20);
    goes_on(&mut node, attempt(2, 11));
    settled(&mut node, attempt(2, 12));
    assert_eq!(node.returned(), []);
    node.pass(ms(300));
    assert_eq!((node.returned(), node.settles()), (vec![(2, 13)], vec![]));
    // One that has yet to begin is asked.
    let mut node = running(20);
    node.pass(ms(300));
    assert_eq!((node.returned(), node.settles()), (vec![], vec![attempt(2, 11)]));
    node.pass(ms(300));
    assert_eq!(node.settles().len(), 1, "once");
    settled(&mut node, attempt(2, 11));
    node.pass(ms(20));
    assert_eq!(node.returned(), [(2, 12)]);
}

#[test]
fn a_stop_waits_until_it_is_known_what_runs() {
    // The whole run, while the sandbox goes on for a while.
    let mut node = running(20);
    node.stop(None);
    assert_eq!((node.cancels(), node.settles()), (vec![], vec![attempt(2, 11)]));
    goes_on(&mut node, attempt(2, 11));
    settled(&mut node, attempt(2, 12));
    assert_eq!(node.cancels(), [(attempt(2, 12), Reason::Cancelled)]);
    node.end(attempt(2, 12), killed(Reason::Cancelled));
    node.pass(ms(20));
    assert_eq!(node.returned(), [(2, 13)]);
    let outcomes: Vec<(u32, Status)> = node.outcomes().iter().map(|(_, index, status)| (*index, *status)).collect();
    assert_eq!(outcomes, [(11, Status::Succeeded), (12, Status::Killed)]);
    assert_eq!(node.agent.stats().ranges, 0);
    // It ends before anything runs.
    let mut node = running(20);
    node.stop(None);
    goes_on(&mut node, attempt(2, 11));
    node.end(attempt(2, 12), quick());
    node.pass(ms(20));
    assert_eq!((node.returned(), node.cancels(), node.starts()), (vec![(2, 13)], vec![], vec![]));
    assert_eq!(node.agent.stats().ranges, 0);
}

#[test]
fn a_stop_of_one_task_finds_it_wherever_it_is() {
    let stop = |node: &mut Node, index| {
        let stop = Stop { run: RUN, index: Some(index), grant: None, reason: Reason::Cancelled, grace: ms(0) };
        node.control(ToExecutor::Stop(stop));
    };
    // Among those that may have been started, and has been: it runs now.
    let mut node = running(20);
    stop(&mut node, 13);
    goes_on(&mut node, attempt(2, 11));
    goes_on(&mut node, attempt(2, 12));
    settled(&mut node, attempt(2, 13));
    assert_eq!(node.cancels(), [(attempt(2, 13), Reason::Cancelled)]);
    // It was not: it goes back, with what is behind it.
    let mut node = running(20);
    stop(&mut node, 13);
    goes_on(&mut node, attempt(2, 11));
    settled(&mut node, attempt(2, 12));
    node.pass(ms(20));
    assert_eq!((node.cancels(), node.returned()), (vec![], vec![(2, 13)]));
    // It has ended.
    let mut node = running(20);
    stop(&mut node, 11);
    goes_on(&mut node, attempt(2, 11));
    settled(&mut node, attempt(2, 12));
    node.pass(ms(20));
    assert_eq!((node.cancels(), node.returned()), (vec![], vec![]));
    // It cannot have been started.
    let mut node = running(100);
    stop(&mut node, 80);
    node.pass(ms(20));
    assert_eq!((node.settles(), node.returned()), (vec![], vec![(2, 80)]));
}

#[test]
fn a_node_that_drains_or_ends_gives_back_what_was_not_started() {
    let mut node = running(20);
    node.input(Input::ShuttingDown);
    node.input(Input::ShutDownNow);
    assert_eq!((node.returned(), node.cancels()), (vec![], vec![]));
    goes_on(&mut node, attempt(2, 11));
    settled(&mut node, attempt(2, 12));
    assert_eq!(node.cancels(), [(attempt(2, 12), Reason::Drained)]);
    node.end(attempt(2, 12), killed(Reason::Drained));
    node.pass(ms(20));
    assert_eq!(node.returned(), [(2, 13)]);
    assert_eq!(node.agent.stats().ranges, 0);
}

#[test]
fn a_task_that_is_watched_is_started_by_itself() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 20)));
    node.control(ToExecutor::Follow(Follow { run: RUN, index: 14, on: true }));
    node.end(attempt(2, 10), quick());
    assert_eq!(node.aheads(), [(10, 0), (11, 2)]);
}

#[test]
fn a_sandbox_that_starts_more_than_it_may_is_not_believed() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 3)));
    goes_on(&mut node, attempt(2, 10));
    assert_eq!(node.aheads(), [(10, 0), (11, 1)], "it is told as if nothing had been started");
    settled(&mut node, attempt(2, 99));
    assert_eq!(node.agent.stats().totals.events_unexpected, 1);
}
