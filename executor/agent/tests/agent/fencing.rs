//! What the lease covers: fenced attempts, and those that stop without the control plane.

use std::sync::Arc;

use crate::node::{LEASE, Node, RUN, TERM, attempt, config, grant, killed, ms, resources, spec, success};
use weir_agent::{Input, Output};
use weir_wire::{
    id::{RunId, Term},
    kind::Execution,
    message::{Grant, Renewed, ToControl, ToExecutor},
    outcome::Outcome,
    task::{Reason, Source, Status},
    work::Input as RunInput,
};

const FENCED: Execution = Execution { at_most_once: false, fenced: true, stop_on_disconnect: false };
const ONCE: Execution = Execution { at_most_once: true, fenced: false, stop_on_disconnect: false };
const STOPS: Execution = Execution { at_most_once: false, fenced: false, stop_on_disconnect: true };

/// A joined node that knows a run; its lease is valid if `leased`.
fn node(execution: Execution, leased: bool) -> Node {
    let mut node = Node::new(config());
    node.join(TERM);
    if leased {
        node.renew();
    }
    let mut work = spec(RUN, resources(500, 64), RunInput::None);
    Arc::make_mut(&mut work).execution = execution;
    node.control(ToExecutor::Define(work));
    node
}

fn began(execution: Execution) -> Node {
    let mut node = node(execution, true);
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.prepare(None);
    assert_eq!(node.starts(), [attempt(1, 0)]);
    node.take();
    node
}

#[test]
fn a_fenced_grant_wants_a_lease_and_one_task() {
    let cases = [
        (FENCED, false, 1, false),
        (ONCE, false, 1, false),
        (STOPS, false, 1, true),
        (Execution::default(), false, 3, true),
        (FENCED, true, 1, true),
        (FENCED, true, 2, false),
        (ONCE, true, 1, true),
    ];
    for (execution, leased, len, accepted) in cases {
        let mut node = node(execution, leased);
        node.control(ToExecutor::Grant(grant(1, 5, len)));
        assert_eq!(node.agent.stats().ranges == 1, accepted, "{execution:?}, leased {leased}, {len} tasks");
        assert_eq!(node.returned(), if accepted { vec![] } else { vec![(1, 5)] });
    }
}

#[test]
fn the_end_of_the_lease_ends_what_needs_it() {
    let kept = Execution::default();
    for (execution, stops) in [(FENCED, true), (ONCE, true), (STOPS, true), (kept, false)] {
        let mut node = began(execution);
        node.input(Input::Disconnected);
        node.pass(LEASE - ms(1));
        assert_eq!(node.cancels(), [], "the lease holds");
        node.pass(ms(1));
        let wanted = if stops { vec![(attempt(1, 0), Reason::NodeLost)] } else { vec![] };
        assert_eq!(node.cancels(), wanted, "{execution:?}");
    }
}

#[test]
fn after_a_freeze_the_lease_is_looked_at_first() {
    let mut node = began(FENCED);
    let token = node.renewals().last().copied();
    assert_eq!(token, None, "nothing is on its way");
    node.pass(ms(4000));
    let token = node.renewals().last().copied().expect("a renewal was sent");
    node.take();
    // A minute later the first thing that is read is the answer to a renewal of before the freeze.
    node.now = node.now + ms(60_000);
    node.control(ToExecutor::Renewed(Renewed { token }));
    assert_eq!(node.cancels(), [(attempt(1, 0), Reason::NodeLost)]);
    assert_eq!(node.agent.stats().lease_until, None);
    // Or a grant.
    let mut node = began(FENCED);
    node.now = node.now + LEASE;
    node.control(ToExecutor::Grant(grant(2, 1, 1)));
    assert_eq!(node.cancels(), [(attempt(1, 0), Reason::NodeLost)]);
    assert_eq!((node.starts(), node.returned()), (vec![], vec![(2, 1)]));
}

#[test]
fn what_waits_for_its_module_goes_back_with_the_lease() {
    let mut node = node(FENCED, true);
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.pass(LEASE - ms(1));
    assert_eq!(node.returned(), []);
    node.pass(ms(1));
    node.input(Input::Tick);
    node.prepare(None);
    assert_eq!(node.starts(), [], "it went back before its module came");
    assert_eq!(node.agent.stats().ranges, 0);
}

#[test]
fn without_a_lease_the_end_of_the_session_ends_what_needs_one() {
    let mut node = node(STOPS, false);
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.prepare(None);
    node.input(Input::Disconnected);
    assert_eq!(node.cancels(), [(attempt(1, 0), Reason::NodeLost)]);
}

#[test]
fn an_attempt_that_the_lease_ended_is_reported_later() {
    let mut node = began(ONCE);
    node.input(Input::Disconnected);
    node.pass(LEASE);
    node.end(attempt(1, 0), killed(Reason::NodeLost));
    assert_eq!(node.outcomes(), []);
    node.join(Term(TERM.0 + 1));
    assert_eq!(node.outcomes(), [(1, 0, Status::Killed)]);
    // One that ended well before it could be ended says so.
    let mut node = began(ONCE);
    node.input(Input::Disconnected);
    node.pass(LEASE);
    node.end(attempt(1, 0), success());
    node.join(TERM);
    assert_eq!(node.outcomes(), [(1, 0, Status::Succeeded)]);
}

#[test]
fn a_reconnection_within_the_lease_keeps_fenced_attempts() {
    let mut node = began(FENCED);
    node.input(Input::Disconnected);
    node.pass(ms(9000));
    node.join(Term(TERM.0 + 1));
    assert!(node.states().last().is_some_and(|state| state.grants.len() == 1 && state.grants[0].running));
    node.renew();
    node.pass(ms(10_000));
    assert_eq!(node.cancels(), []);
    let stale = Grant { term: TERM, ..grant(9, 1, 1) };
    node.control(ToExecutor::Grant(stale));
    assert_eq!(node.agent.stats().totals.grants_stale, 1);
}

#[test]
fn long_running_work_comes_one_task_at_a_time_and_stays() {
    let mut node = Node::joined();
    let run = RunId(4);
    let mut work = spec(run, resources(500, 64), RunInput::None);
    Arc::make_mut(&mut work).long_running = true;
    node.control(ToExecutor::Define(work));
    node.control(ToExecutor::Grant(Grant { run, ..grant(1, 0, 2) }));
    assert_eq!(node.returned(), [(1, 0)]);
    node.take();
    node.control(ToExecutor::Grant(Grant { run, ..grant(2, 0, 1) }));
    node.prepare(None);
    node.pass(ms(100_000));
    assert_eq!(node.returned(), []);
    assert_eq!(node.started().len(), 1);
}

#[test]
fn the_hello_names_what_is_compiled() {
    let mut node = began(Execution::default());
    node.input(Input::Disconnected);
    node.join(TERM);
    let modules = node.outputs.iter().find_map(|output| {
        let Output::Send(ToControl::Hello(hello)) = output else { return None };
        Some(hello.modules.clone())
    });
    assert_eq!(modules, Some(vec![crate::node::MODULE]));
}

#[test]
fn an_evicted_attempt_says_that_the_executor_did_it() {
    let mut node = Node::ready(resources(500, 900 << 20));
    node.control(ToExecutor::Grant(grant(9, 90, 1)));
    node.input(Input::Measured(resources(0, 0)));
    node.take();
    let run = RunId(4);
    let mut work = spec(run, resources(100, 600 << 20), RunInput::None);
    Arc::make_mut(&mut work).tier = weir_wire::kind::Tier::Revocable;
    node.control(ToExecutor::Define(work));
    node.control(ToExecutor::Grant(Grant { run, ..grant(2, 0, 3) }));
    let id = weir_wire::id::AttemptId { task: weir_wire::id::TaskId { run, index: 0 }, ..attempt(2, 0) };
    assert_eq!(node.starts(), [id]);
    node.input(Input::Measured(resources(0, 500 << 20)));
    assert_eq!(node.cancels(), [(id, Reason::Preempted)]);
    assert_eq!(node.returned(), [(2, 1)], "what waits behind it goes back");
    node.end(id, killed(Reason::Preempted));
    let outcomes: Vec<Outcome> = node
        .reports()
        .iter()
        .flat_map(|report| &report.groups)
        .flat_map(|group| group.outcomes.iter().map(|(_, outcome)| outcome.clone()))
        .collect();
    let failure = outcomes[0].failure.as_ref().expect("a failure");
    assert_eq!((failure.reason, failure.source), (Reason::Preempted, Source::Executor));
}
