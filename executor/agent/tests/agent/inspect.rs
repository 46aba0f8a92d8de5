//! Looks into running attempts, and how fast they are.

use std::time::Duration;

use weir_agent::{Input, Output, limits};
use weir_wire::{
    attempt::{AttemptEvent, Command},
    id::AttemptId,
    inspect::{AttemptSeen, Inspect, InspectSpec, Moment, Seen},
    message::{ToControl, ToExecutor, Welcome},
    outcome::{Captured, Outcome, Usage},
    units::Fuel,
};

use crate::node::{LEASE, Node, RUN, TERM, attempt, grant, ms, resources, success};

/// A node on which task 10 runs and task 11 waits behind it.
fn running() -> Node {
    let mut node = Node::ready(resources(100, 1));
    node.control(ToExecutor::Grant(grant(2, 10, 2)));
    node.outputs.clear();
    node
}

fn inspect(token: u64, index: u32, sample_for: Option<Duration>) -> ToExecutor {
    ToExecutor::Inspect(Inspect { token, run: RUN, index, sample_for })
}

fn seen(id: AttemptId, seen: Seen) -> Input {
    Input::Sandbox(AttemptEvent::Seen(AttemptSeen { id, seen }))
}

fn moment() -> Seen {
    Seen::Moment(Box::new(Moment { fuel: Some(Fuel(7)), ..Moment::default() }))
}

/// What the sandbox was asked since the last call, and what was answered: token and kind.
fn said(node: &mut Node) -> (Vec<InspectSpec>, Vec<(u64, &'static str)>) {
    let (mut asked, mut answered) = (vec![], vec![]);
    for output in node.take() {
        if let Output::Sandbox(Command::Inspect(spec)) = output {
            asked.push(spec);
        } else if let Output::Send(ToControl::Inspected(inspected)) = output {
            let kind = match inspected.seen {
                Seen::Moment(_) => "moment",
                Seen::Profile(_) => "profile",
                Seen::Nothing(_) => "nothing",
            };
            answered.push((inspected.token, kind));
        }
    }
    (asked, answered)
}

#[test]
fn those_who_ask_at_a_time_share_an_answer_and_profiles_are_told_from_looks() {
    let mut node = running();
    let id = attempt(2, 10);
    node.control(inspect(1, 10, None));
    node.control(inspect(2, 10, None));
    node.control(inspect(3, 10, Some(Duration::from_secs(3600))));
    node.control(inspect(4, 10, Some(Duration::from_secs(1))));
    let minute = Some(Duration::from_mins(1));
    let specs = vec![InspectSpec { id, sample_for: None }, InspectSpec { id, sample_for: minute }];
    assert_eq!(said(&mut node), (specs, vec![(4, "nothing")]), "a second profile is not taken");
    node.input(seen(id, moment()));
    assert_eq!(said(&mut node), (vec![], vec![(1, "moment"), (2, "moment")]));
    node.input(seen(id, Seen::Profile(Box::default())));
    node.input(seen(id, moment()));
    assert_eq!(said(&mut node), (vec![], vec![(3, "profile")]), "and what nobody asked for goes nowhere");
}

#[test]
fn what_does_not_execute_has_an_answer_at_once() {
    let mut node = running();
    node.control(inspect(1, 11, None));
    node.control(inspect(2, 99, None));
    node.control(inspect(3, 10, None));
    assert_eq!(said(&mut node).1, [(1, "nothing"), (2, "nothing")]);
    node.end(attempt(2, 10), success());
    assert_eq!(said(&mut node).1, [(3, "nothing")], "it ended before it was seen");
}

#[test]
fn the_number_is_bounded_and_time_makes_room() {
    let mut node = running();
    for token in 0..=limits::INSPECTIONS_MAX as u64 {
        node.control(inspect(token, 10, None));
    }
    let (asked, answered) = said(&mut node);
    assert_eq!((asked.len(), answered), (1, vec![(limits::INSPECTIONS_MAX as u64, "nothing")]));
    node.pass(limits::INSPECT_TIME);
    node.control(inspect(100, 10, None));
    assert_eq!(said(&mut node).0.len(), 1, "those who asked first have given up");
}

#[test]
fn a_session_takes_those_who_wait_with_it() {
    let mut node = running();
    node.control(inspect(1, 10, None));
    node.input(Input::Disconnected);
    node.join(TERM);
    node.take();
    node.input(seen(attempt(2, 10), moment()));
    assert_eq!(said(&mut node), (vec![], vec![]));
}

fn speeds(node: &mut Node) -> Vec<u64> {
    let speed = |output| if let Output::Send(ToControl::Speed(speed)) = output { Some(speed.fuel_per_s) } else { None };
    node.take().into_iter().filter_map(speed).collect()
}

#[test]
fn the_speed_is_told_to_whom_it_means_something() {
    let mut node = running();
    let usage = Usage { fuel: Fuel(2_000_000_000), cpu_us: 1_000_000, ..Usage::default() };
    node.end(attempt(2, 10), Outcome::succeeded(usage, Captured::Empty, Captured::Empty));
    assert_eq!(speeds(&mut node), [2_000_000_000]);
    node.input(Input::Disconnected);
    node.input(Input::Connected);
    let welcome = Welcome { wire: 1, term: TERM, lease: LEASE, renew_every: ms(4000) };
    node.control(ToExecutor::Welcome(welcome));
    assert_eq!(speeds(&mut node), [], "not to a leader of the earlier release");
    node.input(Input::Disconnected);
    node.join(TERM);
    assert_eq!(speeds(&mut node), [2_000_000_000]);
    assert_eq!(node.agent.stats().fuel_per_s, Some(2_000_000_000));
}
