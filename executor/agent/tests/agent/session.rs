//! Joining, leaving, terms, lease, and what is said again after a reconnection.

use crate::node::{LEASE, MODULE, Node, RUN, TERM, attempt, config, grant, ms, resources, spec, success};
use weir_agent::{DisconnectReason, ExitReason, Input, Output, Reason};
use weir_wire::{
    id::{GrantSeq, Incarnation, Term},
    message::{Grant, Refuse, RefuseCode, Renewed, ToControl, ToExecutor, Welcome},
    task::Status,
    work::Input as RunInput,
};

fn refuse(code: RefuseCode) -> ToExecutor {
    ToExecutor::Refuse(Refuse { code, message: "why".into() })
}

fn renewals(node: &Node) -> Vec<u64> {
    let token = |output: &Output| {
        if let Output::Send(ToControl::Renew(renew)) = output { Some(renew.token) } else { None }
    };
    node.outputs.iter().filter_map(token).collect()
}

#[test]
fn hello_comes_first_and_the_full_state_after_the_welcome() {
    let mut node = Node::new(config());
    node.input(Input::Connected);
    let [Output::Send(ToControl::Hello(hello))] = &node.take()[..] else { panic!("no hello") };
    assert_eq!((hello.incarnation, hello.lanes_max), (Incarnation(3), 1024));
    let welcome = Welcome { wire: 1, term: TERM, lease: LEASE, renew_every: ms(4000) };
    node.control(ToExecutor::Welcome(welcome));
    let outputs = node.take();
    assert!(matches!(&outputs[..], [Output::Send(ToControl::State(_)), Output::Send(ToControl::Renew(_))]));
}

#[test]
fn a_peer_that_breaks_the_greeting_is_left() {
    let before = "a message before the welcome";
    let stale = DisconnectReason::StaleTerm { found: Term(4), known: TERM };
    let welcome =
        |wire, term| ToExecutor::Welcome(Welcome { wire, term: Term(term), lease: LEASE, renew_every: ms(4000) });
    let cases = [
        (ToExecutor::Present, DisconnectReason::Protocol(before)),
        (welcome(9, 5), DisconnectReason::Protocol("a wire version that was not offered")),
        (welcome(1, 4), stale),
        (refuse(RefuseCode::NotLeader), DisconnectReason::NotLeader("why".into())),
    ];
    for (message, reason) in cases {
        let mut node = Node::joined();
        node.input(Input::Disconnected);
        node.input(Input::Connected);
        node.take();
        node.control(message);
        assert_eq!(node.take(), [Output::Disconnect(reason)]);
        assert!(!node.agent.is_up());
    }
    let mut node = Node::new(config());
    node.input(Input::Connected);
    node.take();
    node.pass(ms(10_000));
    assert_eq!(node.take(), [Output::Disconnect(DisconnectReason::Silent)]);
}

#[test]
fn a_final_refusal_ends_the_daemon_and_a_superseded_one_its_attempts() {
    for code in [RefuseCode::WireVersion, RefuseCode::Cluster, RefuseCode::Identity, RefuseCode::Malformed] {
        let mut node = Node::new(config());
        node.input(Input::Connected);
        node.take();
        node.control(refuse(code));
        assert_eq!(node.take(), [Output::Exit(ExitReason::Refused { code, message: "why".into() })]);
        node.input(Input::Connected);
        assert_eq!((node.take(), node.agent.poll_deadline()), (vec![], None));
    }
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 2)));
    node.input(Input::Disconnected);
    node.input(Input::Connected);
    node.take();
    node.control(refuse(RefuseCode::Superseded));
    assert_eq!(node.cancels().len(), 1);
    let exit = ExitReason::Superseded { incarnation: Incarnation(3), message: "why".into() };
    assert_eq!(node.outputs.last(), Some(&Output::Exit(exit)));
}

#[test]
fn unacknowledged_outcomes_are_sent_again_after_the_full_state() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 5)));
    for index in 10..13 {
        node.end(attempt(2, index), success());
    }
    node.pass(ms(20));
    assert_eq!(node.outcomes().len(), 3);
    node.ack(2);
    node.input(Input::Disconnected);
    node.end(attempt(2, 13), success());
    node.take();
    node.join(Term(6));
    let state = node.states()[0].clone();
    assert_eq!((state.outbox_first, state.outbox_next), (3, 6));
    let held = state.grants[0];
    assert_eq!((held.next, held.end, held.running), (14, 15, true));
    let sent = [(3, 11, Status::Succeeded), (4, 12, Status::Succeeded), (5, 13, Status::Succeeded)];
    assert_eq!(node.outcomes(), sent, "numbers stay");
    let place = |what: fn(&Output) -> bool| node.outputs.iter().position(what);
    let state = place(|output| matches!(output, Output::Send(ToControl::State(_))));
    assert!(state < place(|output| matches!(output, Output::Send(ToControl::Report(_)))));
    node.take();
    node.ack(5);
    node.control(ToExecutor::Present);
    assert_eq!(node.states()[0].outbox_first, 6);
    assert!(node.outcomes().is_empty());
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_breaks_the_protocol() {
    let mut node = Node::ready(resources(500, 64));
    node.ack(100);
    assert!(matches!(node.outputs[..], [Output::Disconnect(DisconnectReason::Protocol(_))]));
}

#[test]
fn grants_of_a_lower_term_are_dropped() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(Grant { term: Term(4), ..grant(2, 10, 2) }));
    assert_eq!(node.take(), [], "neither started nor given back");
    assert_eq!(node.agent.stats().totals.grants_stale, 1);
    node.input(Input::Disconnected);
    node.join(Term(6));
    node.control(ToExecutor::Grant(grant(3, 10, 2)));
    assert_eq!(node.agent.stats().totals.grants_stale, 2);
    node.control(ToExecutor::Grant(Grant { term: Term(6), grant: GrantSeq(1), ..grant(1, 10, 2) }));
    assert_eq!(node.agent.stats().running, 1);
}

#[test]
fn the_lease_is_renewed_and_its_end_stops_nothing() {
    let mut node = Node::new(config());
    node.join(TERM);
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.prepare(None);
    let began = node.now;
    let first = renewals(&node)[0];
    node.pass(ms(1000));
    node.control(ToExecutor::Renewed(Renewed { token: first }));
    assert_eq!(node.agent.stats().lease_until, Some(began + LEASE), "from when the renewal was sent");
    node.take();
    node.pass(ms(14_999));
    assert!((3..=5).contains(&renewals(&node).len()), "{}", renewals(&node).len());
    assert_eq!(node.agent.stats().totals.leases_lapsed, 1);
    assert_eq!((node.agent.stats().running, node.cancels().len()), (1, 0));
    node.pass(ms(1000));
    assert!(node.outputs.contains(&Output::Disconnect(DisconnectReason::Silent)), "no answer for a whole lease");
}

#[test]
fn a_reconnection_within_the_lease_keeps_it() {
    let mut node = Node::new(config());
    node.join(TERM);
    let token = renewals(&node)[0];
    node.control(ToExecutor::Renewed(Renewed { token }));
    let until = node.agent.stats().lease_until;
    node.pass(ms(500));
    node.input(Input::Disconnected);
    assert_eq!(node.agent.poll_deadline().map(|(_, reason)| reason), Some(Reason::LeaseEnd));
    node.join(TERM);
    assert_eq!(node.agent.stats().lease_until, until);
    node.control(ToExecutor::Renewed(Renewed { token }));
    assert_eq!(node.agent.stats().lease_until, until, "a token of an earlier session counts for nothing");
}

#[test]
fn a_module_that_could_not_be_fetched_is_asked_for_again() {
    let mut node = Node::joined();
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.control(ToExecutor::Grant(grant(2, 1, 1)));
    let fetch = Output::FetchModule(MODULE);
    let fetches = |node: &Node| node.outputs.iter().filter(|output| **output == fetch).count();
    assert_eq!(fetches(&node), 1, "once for all of its grants");
    let failed = || Input::ModuleFailed { digest: MODULE, message: "busy".into(), retry: true };
    node.input(failed());
    node.input(Input::Disconnected);
    node.take();
    node.pass(ms(5000));
    assert_eq!(fetches(&node), 0, "not while disconnected");
    node.join(TERM);
    assert_eq!(fetches(&node), 1);
    for _ in 0..20 {
        node.input(failed());
        node.pass(ms(1000));
    }
    assert_eq!(
        node.outcomes().iter().map(|(.., status)| *status).collect::<Vec<_>>(),
        [Status::Failed, Status::Failed]
    );
}
