//! Guests that ask for the same clocks and random numbers each time: two of a kind end alike, to the last unit of fuel.

use std::time::Duration;

use weir_isolation::{Bench, End, Guest};
use weir_wire::task::{Reason, Status};

/// Reads both clocks, sleeps for an hour in both ways, draws random numbers and writes what it has seen, spinning as long
/// as the first random byte says.
const OBSERVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $i i32)
        (drop (call $time (i32.const 0) (i64.const 1) (i32.const 512)))
        (drop (call $time (i32.const 1) (i64.const 1) (i32.const 520)))
        (drop (call $random (i32.const 528) (i32.const 32)))
        ;; an hour from now, then until two hours after the start
        (i64.store (i32.const 1000) (i64.const 77))
        (i32.store (i32.const 1016) (i32.const 1))
        (i64.store (i32.const 1024) (i64.const 3600000000000))
        (drop (call $poll (i32.const 1000) (i32.const 1104) (i32.const 1) (i32.const 560)))
        (i64.store (i32.const 1024) (i64.const 7200000000000))
        (i32.store16 (i32.const 1040) (i32.const 1))
        (drop (call $poll (i32.const 1000) (i32.const 1200) (i32.const 1) (i32.const 564)))
        (drop (call $time (i32.const 1) (i64.const 1) (i32.const 568)))
        (local.set $i (i32.load8_u (i32.const 528)))
        (block $done (loop $more
            (br_if $done (i32.eqz (local.get $i)))
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (br $more)))
        (i32.store (i32.const 0) (i32.const 512))
        (i32.store (i32.const 4) (i32.const 64))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Sleeps an hour and again, for ever.
const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 1016) (i32.const 1))
        (i64.store (i32.const 1024) (i64.const 3600000000000))
        (loop $again
            (drop (call $poll (i32.const 1000) (i32.const 1104) (i32.const 1) (i32.const 560)))
            (br $again))))"#;

/// A preview 2 command that waits for the earlier of two hours and two and a half hours, looks at the clock, and spins as
/// long as that and a random number say; it traps unless two hours have passed.
const COMPONENT: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $pollable'))
        (export "pollable" (type $pollable (eq $pollable')))
        (export "now" (func (result u64)))
        (export "subscribe-instant" (func (param "when" u64) (result (own $pollable))))
        (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
    (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
    (core module $memory (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 256)))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (alias core export $memory "realloc" (core func $realloc))
    (core func $poll (canon lower (func $poll "poll") (memory $bytes) (realloc $realloc)))
    (core func $now (canon lower (func $clock "now")))
    (core func $until (canon lower (func $clock "subscribe-instant")))
    (core func $after (canon lower (func $clock "subscribe-duration")))
    (core func $random (canon lower (func $random "get-random-u64")))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "poll" (func $poll (param i32 i32 i32)))
        (import "host" "now" (func $now (result i64)))
        (import "host" "until" (func $until (param i64) (result i32)))
        (import "host" "after" (func $after (param i64) (result i32)))
        (import "host" "random" (func $random (result i64)))
        (func (export "run") (result i32) (local $i i64)
            (i32.store (i32.const 16) (call $after (i64.const 9000000000000)))
            (i32.store (i32.const 20) (call $until (i64.const 7200000000000)))
            (call $poll (i32.const 16) (i32.const 2) (i32.const 32))
            ;; one is ready, the second
            (if (i32.ne (i32.load (i32.const 36)) (i32.const 1)) (then unreachable))
            (if (i32.ne (i32.load (i32.load (i32.const 32))) (i32.const 1)) (then unreachable))
            (local.set $i (i64.sub (call $now) (i64.const 7200000000000)))
            (if (i64.gt_u (local.get $i) (i64.const 1000000)) (then unreachable))
            (local.set $i (i64.add (local.get $i) (i64.and (call $random) (i64.const 65535))))
            (loop $more
                (local.set $i (i64.sub (local.get $i) (i64.const 1)))
                (br_if $more (i64.gt_s (local.get $i) (i64.const 0))))
            (i32.const 0)))
    (core instance $code (instantiate $code
        (with "memory" (instance $memory))
        (with "host" (instance (export "poll" (func $poll)) (export "now" (func $now)) (export "until" (func $until))
            (export "after" (func $after)) (export "random" (func $random))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

const DAY: Duration = Duration::from_secs(86_400);

fn seen(end: &End) -> (Vec<u8>, u64) {
    assert_eq!(end.status(), Status::Succeeded, "{end:?}");
    (end.result.clone(), end.ended.outcome.usage.fuel.0)
}

#[test]
fn a_pointer_that_is_not_aligned_is_a_trap_in_both_times() {
    let guest = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call $poll (i32.const 1000) (i32.const 100) (i32.const 1) (i32.const 560)))))"#;
    for deterministic in [false, true] {
        let mut guest = Guest::new(guest);
        guest.capabilities.deterministic = deterministic;
        let end = Bench::new().run(&guest);
        assert_eq!(end.reason(), Some(Reason::Trap), "{deterministic}: {end:?}");
    }
}

#[test]
fn two_attempts_see_the_same_and_use_the_same_fuel() {
    let guest = Guest::new(OBSERVER).deterministic().timeout(DAY);
    let mut bench = Bench::new();
    let first = seen(&bench.run_among_neighbours(&guest));
    // Another run in this sandbox, and one in another.
    assert_eq!(seen(&bench.run(&guest)), first);
    assert_eq!(seen(&Bench::new().run(&guest)), first);
    let number = |at: usize| u64::from_le_bytes(first.0[at..at + 8].try_into().unwrap());
    assert_eq!((number(0), number(8)), (1_577_836_800_000_001_000, 2_000), "2020 on the wall clock, and a step later");
    assert_eq!(number(48), 0x0000_0001_0000_0001, "one event each");
    assert_eq!(number(56), 7_200_000_001_000, "both sleeps took their time");
    let other = Guest::new(OBSERVER).timeout(Duration::from_secs(2)).cpu(1000);
    let other = bench.run(&other);
    assert_eq!(other.reason(), Some(Reason::WallTimeout), "an hour is an hour for the others: {other:?}");
}

#[test]
fn components_sleep_in_their_own_time() {
    let guest = Guest::new(COMPONENT).deterministic().timeout(DAY);
    let mut bench = Bench::new();
    let first = seen(&bench.run_among_neighbours(&guest));
    assert_eq!(seen(&bench.run(&guest)), first);
    assert_eq!(seen(&Bench::new().run(&guest)), first);
    let end = bench.run(&Guest::new(COMPONENT).deterministic().timeout(DAY / 24));
    assert_eq!(end.reason(), Some(Reason::WallTimeout), "{end:?}");
}

#[test]
fn sleeping_is_no_way_beyond_the_timeout() {
    let end = Bench::new().run_among_neighbours(&Guest::new(SLEEPER).deterministic().timeout(DAY));
    assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::WallTimeout)), "{end:?}");
    // No time at all, if it may sleep for less than an hour.
    let end = Bench::new().run(&Guest::new(SLEEPER).deterministic().timeout(DAY / 48));
    assert_eq!(end.reason(), Some(Reason::WallTimeout), "{end:?}");
}
