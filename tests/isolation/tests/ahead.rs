//! Attempts that are started behind others without being told.

use weir_isolation::{Bench, Guest};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, CancelSpec, Command, EndedAttempt},
    id::{AttemptId, GrantSeq, RunId, TaskId, Term},
    kind::Tier,
    outcome::Captured,
    task::{Reason, Status},
};

const FOREVER: u64 = u64::MAX / 2;
/// Writes "ready".
const QUICK: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))))"#;
const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $more (br $more))))"#;
const TRAP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
/// Writes more than travels with an outcome.
const LARGE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 512) "\00\04\00\00\00\00\02\00")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))))"#;

fn id(run: RunId, index: u32) -> AttemptId {
    AttemptId { task: TaskId { run, index }, term: Term(1), grant: GrantSeq(1) }
}

/// Starts an attempt behind which so many may follow.
fn start(bench: &Bench, id: AttemptId, ahead: u32) {
    bench.send(vec![Command::Start(AttemptSpec { id, ordinal: 1, ahead, payload: Box::default() })]);
}

fn define(bench: &mut Bench, guest: &Guest) -> RunId {
    let ready = bench.prepare(&guest.wasm);
    assert_eq!(ready.refused, None);
    bench.define(guest, ready.digest)
}

/// The next thing that is said of attempts.
fn next(bench: &mut Bench) -> Result<EndedAttempt, AttemptId> {
    bench.wait(|event| match event {
        AttemptEvent::Ended(ended) => Some(Ok((**ended).clone())),
        AttemptEvent::Settled(id) => Some(Err(*id)),
        AttemptEvent::Module(_) | AttemptEvent::Output(_) | AttemptEvent::Progress(_) | AttemptEvent::Seen(_) => None,
    })
}

#[test]
fn quick_guests_follow_each_other_in_order_and_nothing_follows_the_last() {
    let mut bench = Bench::new();
    let run = define(&mut bench, &Guest::new(QUICK));
    let mut followed = 0;
    // How far the sandbox goes depends on how fast the machine is.
    while followed == 0 {
        let (mut index, mut told) = (0, 0);
        start(&bench, id(run, 0), 7);
        while index < 8 {
            let ended = next(&mut bench).expect("none of them takes its time");
            assert_eq!(ended.id, id(run, index));
            assert_eq!(ended.outcome.status, Status::Succeeded);
            assert_eq!(ended.outcome.result, Captured::inline(b"ready"));
            index += 1;
            followed += u32::from(ended.next_started);
            if !ended.next_started && index < 8 {
                start(&bench, id(run, index), 7 - index);
                told += 1;
            }
            assert!(index < 8 || !ended.next_started, "nothing may follow the last one");
        }
        assert!(told < 8);
    }
    assert!(bench.is_quiet());
}

#[test]
fn nothing_follows_what_takes_its_time() {
    let mut bench = Bench::new();
    let run = define(&mut bench, &Guest::new(SPIN).fuel(FOREVER));
    start(&bench, id(run, 0), 7);
    assert_eq!(next(&mut bench), Err(id(run, 0)), "it says so");
    bench.send(vec![Command::Settle(id(run, 0))]);
    bench.cancel(id(run, 0), Reason::Cancelled);
    let ended = next(&mut bench).expect("said once");
    assert_eq!((ended.id, ended.next_started), (id(run, 0), false));
    assert!(bench.is_quiet());
}

#[test]
fn nothing_follows_what_fails_or_has_a_large_result() {
    let mut bench = Bench::new();
    for (guest, status) in [(TRAP, Status::Failed), (LARGE, Status::Succeeded)] {
        let run = define(&mut bench, &Guest::new(guest));
        start(&bench, id(run, 0), 7);
        let ended = next(&mut bench).expect("it ends at once");
        assert_eq!((ended.outcome.status, ended.next_started), (status, false));
    }
    assert!(bench.is_quiet());
}

#[test]
fn one_that_waits_for_a_place_can_be_settled_and_cancelled() {
    let mut bench = Bench::configured(|config| config.lanes_per_worker = 1);
    let spinning = define(&mut bench, &Guest::new(SPIN).fuel(FOREVER));
    let quick = define(&mut bench, &Guest::new(QUICK));
    start(&bench, id(spinning, 0), 0);
    start(&bench, id(quick, 0), 7);
    start(&bench, id(quick, 1), 7);
    for waiting in [id(quick, 0), id(quick, 1)] {
        bench.send(vec![Command::Settle(waiting), Command::Settle(waiting)]);
        assert_eq!(next(&mut bench), Err(waiting), "once");
    }
    let cancel = CancelSpec { id: id(quick, 1), reason: Reason::Preempted };
    bench.send(vec![Command::Cancel(cancel)]);
    let ended = next(&mut bench).expect("it has not begun");
    assert_eq!((ended.id, ended.outcome.status, ended.next_started), (id(quick, 1), Status::Killed, false));
    bench.cancel(id(spinning, 0), Reason::Cancelled);
    let mut ends = [next(&mut bench).expect("an end"), next(&mut bench).expect("another")];
    ends.sort_by_key(|ended| ended.id);
    assert_eq!(
        ends.each_ref().map(|ended| (ended.id, ended.next_started)),
        [(id(spinning, 0), false), (id(quick, 0), false)]
    );
}

#[test]
fn what_waits_is_started_by_its_tier_and_not_by_its_coming() {
    let mut bench = Bench::configured(|config| config.lanes_per_worker = 1);
    let spinning = define(&mut bench, &Guest::new(SPIN).fuel(FOREVER));
    let tiers = [Tier::Revocable, Tier::Preemptible, Tier::Production];
    let runs = tiers.map(|tier| define(&mut bench, &Guest { tier, ..Guest::new(QUICK) }));
    start(&bench, id(spinning, 0), 0);
    for run in runs {
        start(&bench, id(run, 0), 0);
    }
    bench.cancel(id(spinning, 0), Reason::Cancelled);
    let ends: Vec<AttemptId> = (0..4).map(|_| next(&mut bench).expect("an end").id).collect();
    assert_eq!(ends, [id(spinning, 0), id(runs[2], 0), id(runs[1], 0), id(runs[0], 0)]);
}
