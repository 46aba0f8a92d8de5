//! Guests that use time: they spin, sleep, or trap as fast as they can.

use std::time::Duration;

use weir_isolation::{Bench, End, Guest};
use weir_sandbox::FUEL_SLICE;
use weir_wire::{
    attempt::{AttemptSpec, Command},
    id::{AttemptId, GrantSeq},
    task::{Reason, Source, Status},
};

const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $more (br $more))))"#;
const SPIN_AT_START: &str = r#"(module
    (func $spin (loop $more (br $more)))
    (start $spin)
    (memory (export "memory") 1)
    (func (export "_start")))"#;
const HOST_CALLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (br $more))))"#;
const RANDOM_CALLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 16)
    (func (export "_start")
        (loop $more (drop (call $random (i32.const 0) (i32.const 1000000))) (br $more))))"#;
const SLEEP: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 31536000000000000))
        (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#;
/// Writes "ready", then does what stands in place of `THEN`.
const READY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 31536000000000000))
        THEN))"#;
const THEN_SPIN: &str = "(loop $more (br $more))";
const THEN_SLEEP: &str = "(drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))";
const UNREACHABLE: &str = r#"(module
    (memory (export "memory") 1)
    (func $inner unreachable)
    (func (export "_start") (call $inner)))"#;

const FOREVER: u64 = u64::MAX / 2;
const SHORT: Duration = Duration::from_millis(200);

fn assert_failed(end: &End, reason: Reason, source: Source) {
    assert_eq!(end.status(), Status::Failed, "{end:?}");
    let failure = end.failure().expect("a failure");
    assert_eq!((failure.reason, failure.source), (reason, source), "{end:?}");
}

#[test]
fn a_fuel_budget_ends_a_spinning_guest() {
    let mut bench = Bench::new();
    for guest in [SPIN, SPIN_AT_START] {
        for fuel in [10_000, 100 * FUEL_SLICE + 7] {
            let end = bench.run_among_neighbours(&Guest::new(guest).fuel(fuel));
            assert_failed(&end, Reason::FuelExhausted, Source::Executor);
            assert_eq!(end.ended.outcome.usage.fuel.0, fuel);
        }
    }
}

#[test]
fn a_timeout_ends_guests_that_spin_sleep_or_call_the_host() {
    let mut bench = Bench::new();
    for guest in [SPIN, SPIN_AT_START, HOST_CALLS, RANDOM_CALLS, SLEEP] {
        let end = bench.run_among_neighbours(&Guest::new(guest).fuel(FOREVER).timeout(SHORT));
        assert_failed(&end, Reason::WallTimeout, Source::Executor);
        let usage = end.ended.outcome.usage;
        assert!(usage.fuel.0 > 0 && usage.fuel.0.is_multiple_of(FUEL_SLICE), "{usage:?}");
        assert!(usage.wall_us >= 200_000);
    }
}

#[test]
fn a_fuel_budget_ends_tiny_host_calls() {
    let end = Bench::new().run_among_neighbours(&Guest::new(HOST_CALLS).fuel(3_000_000));
    assert_failed(&end, Reason::FuelExhausted, Source::Executor);
}

#[test]
fn a_command_ends_guests_that_spin_or_sleep() {
    let mut bench = Bench::new();
    for then in [THEN_SPIN, THEN_SLEEP] {
        let id = bench.start(&Guest::new(READY.replace("THEN", then)).fuel(FOREVER));
        assert_eq!(bench.wait_for_output(id), b"ready");
        bench.cancel(id, Reason::Cancelled);
        let end = bench.end(id);
        assert_eq!((end.status(), end.reason()), (Status::Killed, Some(Reason::Cancelled)));
        assert_eq!(end.text(), "ready");
        assert!(end.ended.outcome.usage.fuel.0 >= FUEL_SLICE);
    }
}

#[test]
fn a_command_ends_a_guest_that_waits_for_a_lane() {
    let mut bench = Bench::with(1, std::collections::BTreeMap::new());
    let first = bench.start(&Guest::new(READY.replace("THEN", THEN_SLEEP)));
    assert_eq!(bench.wait_for_output(first), b"ready");
    let second = bench.start(&Guest::new(SPIN).fuel(FOREVER));
    bench.cancel(second, Reason::Preempted);
    let end = bench.end(second);
    assert_eq!((end.status(), end.reason()), (Status::Killed, Some(Reason::Preempted)));
    assert_eq!(end.ended.outcome.usage.fuel.0, 0);
    bench.cancel(first, Reason::Drained);
    assert_eq!(bench.end(first).reason(), Some(Reason::Drained));
}

#[test]
fn a_trap_names_its_functions() {
    let end = Bench::new().run_among_neighbours(&Guest::new(UNREACHABLE));
    assert_failed(&end, Reason::Trap, Source::Guest);
    let failure = end.failure().unwrap();
    assert!(failure.message.contains("unreachable"), "{failure:?}");
    assert!(failure.backtrace[0].contains("inner"), "{failure:?}");
    assert_eq!(failure.backtrace.len(), 2);
    assert_eq!(end.ended.outcome.usage.fuel.0, FUEL_SLICE);
}

#[test]
fn a_guest_may_use_its_fuel_to_the_last_unit() {
    let mut bench = Bench::new();
    let quiet = r#"(module (memory (export "memory") 1) (func (export "_start") nop nop))"#;
    let used = bench.run(&Guest::new(quiet)).ended.outcome.usage.fuel.0;
    assert!(used > 0);
    let end = bench.run(&Guest::new(quiet).fuel(used));
    assert_eq!((end.status(), end.ended.outcome.usage.fuel.0), (Status::Succeeded, used));
    let end = bench.run(&Guest::new(quiet).fuel(used - 1));
    assert_eq!((end.reason(), end.ended.outcome.usage.fuel.0), (Some(Reason::FuelExhausted), used - 1));
}

#[test]
fn a_backtrace_says_names_as_they_are_and_nothing_to_the_terminal() {
    let guest = r#"(module $app (memory (export "memory") 1)
        (func $a unreachable) (func (@name "\1b[31mred\n at /etc") (call $a))
        (func $main (export "_start") (call 1)))"#;
    let end = Bench::new().run(&Guest::new(guest));
    assert_eq!(end.failure().unwrap().backtrace, ["app!a", "app!?[31mred? at /etc", "app!main"]);
}

#[test]
fn a_trap_shows_lines_where_the_module_has_debug_information() {
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Full);
    let wasm = parser.parse_str(Some("src/guest.wat".as_ref()), UNREACHABLE).expect("valid WAT");
    let end = Bench::new().run_among_neighbours(&Guest::new(wasm));
    assert_failed(&end, Reason::Trap, Source::Guest);
    let backtrace = &end.failure().unwrap().backtrace;
    assert!(backtrace[0].ends_with("inner (src/guest.wat:3:18)"), "{backtrace:?}");
    assert!(backtrace[1].ends_with("(src/guest.wat:4:30)"), "{backtrace:?}");
}

#[test]
fn a_storm_of_traps_leaves_the_worker_in_order() {
    const STORM: u64 = 2_000;
    let mut bench = Bench::new();
    let first = bench.start(&Guest::new(UNREACHABLE));
    let attempt = |n| {
        let id = AttemptId { grant: GrantSeq(n), ..first };
        Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: Box::default() })
    };
    bench.send((2..STORM).map(attempt).collect());
    for n in 1..STORM {
        let end = bench.end(AttemptId { grant: GrantSeq(n), ..first });
        assert_failed(&end, Reason::Trap, Source::Guest);
    }
    bench.run_among_neighbours(&Guest::new(SPIN).fuel(1));
}

#[test]
fn many_spinning_guests_share_a_worker() {
    let mut bench = Bench::new();
    let guest = Guest::new(SPIN).fuel(FOREVER).timeout(Duration::from_secs(1));
    let ids: Vec<_> = (0..15).map(|_| bench.start(&guest)).collect();
    bench.run_among_neighbours(&Guest::new(UNREACHABLE));
    for id in ids {
        assert_failed(&bench.end(id), Reason::WallTimeout, Source::Executor);
    }
}
