//! Grants, attempts, outcomes: what happens to work on a node that is connected.

use crate::node::{MODULE, Node, RUN, TERM, attempt, config, grant, killed, ms, resources, spec, success};
use weir_agent::{Input, Output, Part, Payload};
use weir_wire::{
    attempt::{AttemptEvent, Command, EndedAttempt, OutputChunk, Progress},
    codec::Document,
    id::Digest,
    limits,
    log::Stream,
    message::{Follow, Grant, ToControl, ToExecutor},
    outcome::{BlobRef, Captured, Failure, Outcome, Usage},
    task::{Reason, Source, Status},
    work::Input as RunInput,
};

const BLOB: BlobRef = BlobRef { digest: Digest([9; 32]), len: 5000 };

fn failure(node: &Node, at: usize) -> Failure {
    let reports = node.reports();
    let outcomes: Vec<_> = reports.iter().flat_map(|report| &report.groups).flat_map(|group| &group.outcomes).collect();
    *outcomes[at].1.failure.clone().expect("a failure")
}

#[test]
fn a_range_runs_one_task_at_a_time_in_one_reservation() {
    let mut node = Node::ready(resources(1500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 3)));
    for index in 10..13 {
        assert_eq!(node.starts(), [attempt(2, index)]);
        assert_eq!(node.agent.stats().reserved, resources(1500, 64));
        node.take();
        node.end(attempt(2, index), success());
    }
    assert_eq!((node.agent.stats().reserved, node.agent.stats().ranges), (resources(0, 0), 0));
}

#[test]
fn what_does_not_fit_or_is_no_range_goes_back_at_once() {
    let wrong = |grant: Grant| (grant, "not a range of the run");
    let cases = [
        (grant(3, 20, 2), "no room beside the first"),
        wrong(Grant { len: 0, ..grant(4, 5, 1) }),
        wrong(Grant { len: limits::GRANT_LEN_MAX + 1, ..grant(5, 5, 1) }),
        wrong(grant(6, u32::MAX, 2)),
        wrong(grant(7, 99_999, 2)),
        (Grant { run: weir_wire::id::RunId(1), ..grant(8, 0, 1) }, "not defined"),
    ];
    for (refused, why) in cases {
        let mut node = Node::ready(resources(1500, 64));
        node.control(ToExecutor::Grant(grant(2, 10, 1)));
        node.take();
        node.control(ToExecutor::Grant(refused));
        assert_eq!(node.returned(), [(refused.grant.0, refused.first)], "{why}");
        assert!(node.starts().is_empty(), "{why}");
    }
    let mut node = Node::new(weir_agent::Config { lanes_max: 1, ..config() });
    node.join(TERM);
    node.control(ToExecutor::Define(spec(RUN, resources(1, 1), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 1)));
    node.control(ToExecutor::Grant(grant(2, 1, 1)));
    assert_eq!(node.returned(), [(2, 1)], "every lane is taken");
}

#[test]
fn a_repeated_grant_changes_nothing() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 3)));
    node.take();
    node.control(ToExecutor::Grant(grant(2, 10, 3)));
    assert_eq!(node.take(), []);
    assert_eq!(node.agent.stats().reserved, resources(500, 64));
}

#[test]
fn a_long_attempt_gives_back_what_waits_behind_it() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 100)));
    node.pass(ms(150));
    assert_eq!((node.started(), node.returned()), (vec![attempt(2, 10)], vec![]));
    node.pass(ms(60));
    assert_eq!(node.returned(), [(2, 11)]);
    node.take();
    node.end(attempt(2, 10), success());
    assert!(node.starts().is_empty());
    assert_eq!((node.outcomes().len(), node.agent.stats().ranges), (1, 0));
}

#[test]
fn short_attempts_are_not_reported_as_started() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 30)));
    for index in 10..40 {
        node.pass(ms(30));
        node.end(attempt(2, index), success());
    }
    assert!(node.started().is_empty());
    node.pass(ms(1000));
    node.take();
    assert_eq!(
        node.agent.poll_deadline().map(|(_, reason)| reason),
        Some(weir_agent::Reason::Renew),
        "nothing else is due"
    );
}

#[test]
fn the_first_outcome_leaves_at_once_and_the_next_ones_together() {
    let mut node = Node::ready(resources(100, 64));
    for lane in 0..4 {
        node.control(ToExecutor::Grant(grant(2 + lane, 100 * u32::try_from(lane).expect("small"), 50)));
    }
    node.take();
    node.turn((0..4).map(|lane| Node::ended(attempt(2 + lane, 100 * u32::try_from(lane).expect("small")), success())));
    assert_eq!((node.reports().len(), node.outcomes().len()), (1, 4), "one turn, one report");
    node.take();
    // Two lanes end tasks alternately while that report is unacknowledged.
    for index in 1..11 {
        node.end(attempt(2, index), success());
        node.end(attempt(3, 100 + index), success());
    }
    assert!(node.reports().is_empty());
    node.pass(ms(10));
    assert_eq!(node.reports().len(), 1);
    assert_eq!(node.reports()[0].groups.len(), 2, "grouped by grant");
    node.take();
    node.end(attempt(2, 11), success());
    node.ack(25);
    assert_eq!(node.outcomes().len(), 1, "nothing is in flight any more");
}

#[test]
fn a_node_with_nothing_left_to_do_does_not_make_the_control_plane_wait() {
    let mut node = Node::ready(resources(100, 64));
    node.control(ToExecutor::Grant(grant(2, 0, 1)));
    node.control(ToExecutor::Grant(grant(3, 10, 1)));
    node.take();
    node.end(attempt(2, 0), success());
    assert_eq!(node.reports().len(), 1, "the first outcome leaves at once");
    node.take();
    // That report is unacknowledged, and no lane has anything more to do.
    node.end(attempt(3, 10), success());
    assert_eq!(node.reports().len(), 1, "nothing else could travel with it");
}

#[test]
fn a_node_that_runs_out_of_work_reports_while_it_still_has_some() {
    let mut node = Node::ready(resources(100, 64));
    for lane in 0..6 {
        node.control(ToExecutor::Grant(grant(2 + lane, 10 * u32::try_from(lane).expect("small"), 1)));
    }
    node.take();
    node.end(attempt(2, 0), success());
    assert_eq!(node.reports().len(), 1, "the first outcome leaves at once");
    node.take();
    // That report is unacknowledged. Five lanes are left.
    node.pass(ms(2));
    node.end(attempt(3, 10), success());
    node.end(attempt(4, 20), success());
    assert!(node.reports().is_empty(), "three are busy, and two have become idle");
    node.end(attempt(5, 30), success());
    assert_eq!(node.reports().len(), 1, "two are busy, and three have become idle");
    assert_eq!(node.outcomes().len(), 3);
    node.take();
    node.end(attempt(6, 40), success());
    assert!(node.reports().is_empty(), "that was just now");
    node.pass(ms(1));
    assert_eq!(node.outcomes().len(), 1);
}

#[test]
fn reports_fit_into_frames() {
    let mut node = Node::ready(resources(1, 1));
    node.input(Input::Disconnected);
    node.join(TERM);
    node.control(ToExecutor::Grant(grant(2, 0, 400)));
    let noisy = || {
        let mut failure = Failure::new(Reason::Trap, Source::Guest, "é".repeat(100_000));
        failure.backtrace = vec!["f".repeat(60_000); 100];
        Outcome { log: Captured::inline(&[1; 1024]), ..Outcome::not_run(Status::Failed, failure) }
    };
    for index in 0..400 {
        node.end(attempt(2, index), noisy());
    }
    node.pass(ms(1000));
    assert_eq!(node.outcomes().len(), 400);
    for report in node.reports() {
        let bytes = ToControl::Report(report.clone()).to_bytes();
        assert!(bytes.len() <= limits::FRAME_LEN_MAX, "{}", bytes.len());
        assert_eq!(ToControl::from_bytes(&bytes), Ok(ToControl::Report(report.clone())));
    }
}

#[test]
fn a_full_outbox_stops_the_lanes_until_something_is_recorded() {
    let mut node = Node::new(weir_agent::Config { outbox_len_max: 4, ..config() });
    node.join(TERM);
    node.control(ToExecutor::Define(spec(RUN, resources(100, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 50)));
    node.control(ToExecutor::Grant(grant(2, 50, 50)));
    node.prepare(None);
    node.end(attempt(1, 0), success());
    node.end(attempt(1, 1), success());
    node.end(attempt(1, 2), success());
    assert_eq!((node.agent.stats().running, node.agent.stats().parked), (1, 1));
    node.end(attempt(2, 50), success());
    assert_eq!((node.agent.stats().running, node.agent.stats().parked), (0, 2));
    node.take();
    node.ack(1);
    assert_eq!(node.starts().len(), 1);
    node.pass(ms(20));
    node.ack(4);
    assert_eq!(node.starts(), [attempt(1, 3), attempt(2, 51)]);
    assert_eq!(node.agent.stats().parked, 0);
}

#[test]
fn every_task_of_a_refused_module_fails_with_its_reason() {
    let mut node = Node::joined();
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 3)));
    assert!(node.outputs.contains(&Output::FetchModule(MODULE)));
    node.prepare(Some("no memory"));
    assert_eq!(node.outcomes().len(), 3);
    let failure = failure(&node, 2);
    assert_eq!(
        (failure.reason, failure.source, &*failure.message),
        (Reason::ModuleInvalid, Source::Executor, "no memory")
    );
    node.take();
    node.control(ToExecutor::Grant(grant(2, 3, 2)));
    node.pass(ms(20));
    assert_eq!(node.outcomes().len(), 2, "the refusal is remembered");
    assert!(!node.outputs.contains(&Output::FetchModule(MODULE)));
    assert_eq!(node.agent.stats().reserved, resources(0, 0));
}

#[test]
fn payloads_are_fetched_once_and_named_with_each_start() {
    let cases = [
        (RunInput::Inline([1, 2].into()), Payload::Inline([1, 2].into()), false),
        (RunInput::None, Payload::Inline([].into()), false),
        (RunInput::Blob(BLOB), Payload::Blob, true),
        (RunInput::Items(BLOB), Payload::Item(0), true),
    ];
    for (input, payload, fetched) in cases {
        let mut node = Node::joined();
        node.control(ToExecutor::Define(spec(RUN, resources(500, 64), input)));
        node.control(ToExecutor::Grant(grant(1, 0, 1)));
        node.control(ToExecutor::Grant(grant(2, 1, 1)));
        node.prepare(None);
        let fetch = Output::FetchPayload { run: RUN, blob: BLOB };
        assert_eq!(node.outputs.iter().filter(|output| **output == fetch).count(), usize::from(fetched));
        if fetched {
            assert!(node.starts().is_empty());
            node.input(Input::PayloadReady { run: RUN });
        }
        let start =
            node.outputs.iter().find_map(|output| if let Output::Start(start) = output { Some(start) } else { None });
        assert_eq!(start.expect("started").payload, payload);
        assert_eq!(node.starts().len(), 2);
    }
}

#[test]
fn a_payload_that_cannot_be_had_fails_its_tasks() {
    let mut node = Node::joined();
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::Blob(BLOB))));
    node.control(ToExecutor::Grant(grant(1, 0, 2)));
    node.prepare(None);
    node.input(Input::PayloadFailed { run: RUN, message: "not found".into(), retry: false });
    assert_eq!(node.outcomes().len(), 2);
    assert_eq!(failure(&node, 0).reason, Reason::HostError);
}

#[test]
fn a_large_result_is_stored_before_its_outcome_is_reported() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 2)));
    node.take();
    let id = attempt(2, 10);
    let bytes: Box<[u8]> = [5; 5000].into();
    let outcome = Outcome::succeeded(Usage::default(), Captured::Empty, Captured::Empty);
    let ended =
        EndedAttempt { id, outcome, large_result: bytes.clone(), large_log: [6; 2000].into(), next_started: false };
    node.input(Input::Sandbox(AttemptEvent::Ended(Box::new(ended))));
    let upload = Output::Upload { id, part: Part::Result, bytes: bytes.clone() };
    assert!(node.outputs.contains(&upload) && node.starts().is_empty() && node.outcomes().is_empty());
    let failed = Input::BlobUploadFailed { id, part: Part::Result, bytes, message: "gone".into(), retry: true };
    node.input(Input::BlobUploaded { id, part: Part::Log, blob: BLOB });
    node.take();
    node.input(Input::Disconnected);
    node.input(failed);
    node.join(TERM);
    assert!(node.outputs.contains(&upload), "tried again in the next session");
    let held = node.states()[0].grants[0];
    assert_eq!((held.next, held.running), (10, true), "not ended as long as its result is not stored");
    node.input(Input::BlobUploaded { id, part: Part::Result, blob: BLOB });
    let outcome = &node.reports()[0].groups[0].outcomes[0].1;
    assert_eq!((&outcome.result, &outcome.log), (&Captured::Blob(BLOB), &Captured::Blob(BLOB)));
    assert_eq!(node.starts(), [attempt(2, 11)]);
}

#[test]
fn a_success_whose_result_cannot_be_stored_is_a_failure_of_the_host() {
    for (part, status) in [(Part::Result, Status::Failed), (Part::Log, Status::Succeeded)] {
        let mut node = Node::ready(resources(500, 64));
        node.control(ToExecutor::Grant(grant(2, 10, 1)));
        let id = attempt(2, 10);
        let (mut large_result, mut large_log): (Box<[u8]>, Box<[u8]>) = ([1; 2000].into(), [].into());
        if part == Part::Log {
            core::mem::swap(&mut large_result, &mut large_log);
        }
        let ended = EndedAttempt { id, outcome: success(), large_result, large_log, next_started: false };
        node.input(Input::Sandbox(AttemptEvent::Ended(Box::new(ended))));
        node.input(Input::BlobUploadFailed {
            id,
            part,
            bytes: [1; 2000].into(),
            message: "forbidden".into(),
            retry: false,
        });
        assert_eq!(node.outcomes()[0].2, status);
    }
}

#[test]
fn stop_cancels_what_runs_and_gives_back_the_rest() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 5)));
    node.take();
    node.stop(None);
    node.stop(None);
    assert_eq!(node.cancels(), [(attempt(2, 10), Reason::Cancelled)], "once");
    assert_eq!(node.returned(), [(2, 11)]);
    node.end(attempt(2, 10), killed(Reason::Cancelled));
    assert_eq!(node.agent.stats().ranges, 0);
    node.pass(ms(20));
    assert_eq!(node.outcomes().last().map(|(.., status)| *status), Some(Status::Killed));
}

#[test]
fn stop_of_one_task_gives_back_the_range_from_there() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 5)));
    node.take();
    node.stop(Some(99));
    assert_eq!(node.take(), [], "not held");
    node.stop(Some(12));
    assert_eq!((node.returned(), node.cancels().len()), (vec![(2, 12)], 0));
    node.stop(Some(10));
    assert_eq!(node.cancels().len(), 1);
    node.take();
    node.end(attempt(2, 10), killed(Reason::Cancelled));
    assert_eq!(node.starts(), [attempt(2, 11)], "only that task was stopped");
}

#[test]
fn a_watcher_sees_output_until_the_end() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 2)));
    node.take();
    let follow = |index, on| ToExecutor::Follow(Follow { run: RUN, index, on });
    let chunk = |id, len| {
        let bytes = vec![1; len].into();
        Input::Sandbox(AttemptEvent::Output(OutputChunk { id, stream: Stream::Stderr, at_ms: 1, bytes }))
    };
    let sent = |node: &mut Node| -> Vec<(u32, usize, bool)> {
        let piece = |output: &Output| {
            let Output::Send(ToControl::Output(output)) = output else { return None };
            Some((output.index, output.bytes.len(), output.last))
        };
        node.take().iter().filter_map(piece).collect()
    };
    node.control(follow(50, true));
    assert_eq!(sent(&mut node), [(50, 0, true)], "not here");
    node.input(chunk(attempt(2, 10), 5));
    assert_eq!(sent(&mut node), [], "nobody watches");
    node.control(follow(10, true));
    node.control(follow(11, true));
    assert!(matches!(node.outputs[..], [Output::Sandbox(Command::Follow(_))]), "only what runs is followed at once");
    node.input(chunk(attempt(2, 10), 100_000));
    assert_eq!(sent(&mut node), [(10, 65_536, false), (10, 34_464, false)]);
    node.end(attempt(2, 10), success());
    let followed =
        |output: &Output| matches!(output, Output::Sandbox(Command::Follow(f)) if f.id == attempt(2, 11) && f.on);
    assert!(node.outputs.iter().any(followed), "the next one is followed from its start");
    assert_eq!(sent(&mut node), [(10, 0, true)]);
    node.stop(Some(11));
    node.control(follow(11, false));
    assert!(node.outputs.iter().any(|o| matches!(o, Output::Sandbox(Command::Follow(f)) if !f.on)));
}

#[test]
fn a_watcher_of_a_task_that_cannot_be_run_is_told_that_nothing_comes() {
    let mut node = Node::joined();
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(1, 0, 2)));
    for index in [0, 1] {
        node.control(ToExecutor::Follow(Follow { run: RUN, index, on: true }));
    }
    node.prepare(Some("no"));
    let last = |output: &Output| {
        if let Output::Send(ToControl::Output(output)) = output { output.last.then_some(output.index) } else { None }
    };
    assert_eq!(node.outputs.iter().filter_map(last).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn the_newest_progress_is_reported_at_a_bounded_rate() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1)));
    for done in 0..1000 {
        let progress = Progress { id: attempt(2, 10), done, total: 1000 };
        node.input(Input::Sandbox(AttemptEvent::Progress(progress)));
        node.pass(ms(1));
    }
    let progress = node.progress();
    assert!((2..=3).contains(&progress.len()), "{}", progress.len());
    assert!(progress.is_sorted_by_key(|progress| progress.done));
}

#[test]
fn a_draining_node_ends_when_everything_is_recorded() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 5)));
    node.take();
    node.input(Input::ShuttingDown);
    assert_eq!(node.returned(), [(2, 11)]);
    node.take();
    node.control(ToExecutor::Grant(grant(3, 20, 5)));
    assert_eq!(node.returned(), [], "the leader would grant it again at once");
    node.pass(ms(1000));
    assert_eq!(node.returned(), [(3, 20)]);
    node.end(attempt(2, 10), success());
    assert!(!node.outputs.iter().any(|output| matches!(output, Output::Exit(_))));
    node.ack(2);
    assert_eq!(node.outputs.last(), Some(&Output::Exit(weir_agent::ExitReason::Drained)));
}

#[test]
fn a_draining_node_says_so_at_once_and_in_every_later_session() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1)));
    node.take();
    let places = |node: &Node, which: fn(&ToControl) -> bool| -> Vec<usize> {
        let sent = |output: &Output| if let Output::Send(message) = output { which(message) } else { false };
        node.outputs.iter().enumerate().filter(|(_, output)| sent(output)).map(|(place, _)| place).collect()
    };
    let draining = |node: &Node| places(node, |message| *message == ToControl::Draining);
    node.input(Input::ShuttingDown);
    node.input(Input::ShuttingDown);
    assert_eq!(draining(&node), [0], "the control plane is told first, and once");
    node.take();
    node.input(Input::Disconnected);
    node.input(Input::Connected);
    assert_eq!(draining(&node), [], "nothing but a hello comes before the welcome");
    node.take();
    node.join(TERM);
    let state = places(&node, |message| matches!(message, ToControl::State(_)));
    let said = draining(&node);
    assert_eq!((said.len(), state.len()), (1, 1));
    assert!(said < state, "the full state would make the node ready for grants");
}

#[test]
fn a_node_without_a_session_drains_and_says_so_when_it_has_one() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1)));
    node.input(Input::Disconnected);
    node.take();
    node.input(Input::ShuttingDown);
    assert_eq!(node.take(), []);
    node.join(TERM);
    assert!(node.outputs.contains(&Output::Send(ToControl::Draining)));
}

#[test]
fn the_end_of_the_grace_ends_what_runs() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1)));
    node.input(Input::ShuttingDown);
    node.input(Input::ShutDownNow);
    assert_eq!(node.cancels(), [(attempt(2, 10), Reason::Drained)]);
}

#[test]
fn a_forgotten_run_goes_when_its_last_range_ends() {
    let mut node = Node::ready(resources(500, 64));
    node.control(ToExecutor::Grant(grant(2, 10, 1)));
    node.take();
    node.control(ToExecutor::Forget(RUN));
    assert_eq!(node.take(), []);
    node.end(attempt(2, 10), success());
    assert!(node.outputs.contains(&Output::Sandbox(Command::Forget(RUN))));
    assert_eq!((node.agent.stats().runs, node.agent.stats().modules), (0, 0), "the sandbox may unload it from here on");
    node.control(ToExecutor::Define(spec(RUN, resources(500, 64), RunInput::None)));
    node.control(ToExecutor::Grant(grant(3, 0, 1)));
    assert!(node.outputs.contains(&Output::FetchModule(MODULE)) && node.starts().is_empty());
}
