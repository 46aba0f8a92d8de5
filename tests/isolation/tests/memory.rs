//! Guests that use memory, tables and stack, or look for what others left there.

use std::collections::BTreeMap;

use weir_isolation::{Bench, Guest};
use weir_wire::{
    task::{Reason, Source, Status},
    units::MemBytes,
};

const MIB: u64 = 1 << 20;

/// Grows its memory page by page until that fails, then does what stands in place of `THEN`.
const GROW: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        THEN))"#;
const GROW_TABLE: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 0 funcref)
    (func (export "_start")
        (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable))"#;
const RECURSE: &str = r#"(module
    (memory (export "memory") 1)
    (func $deeper (param i64) (result i64)
        (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (func (export "_start") (drop (call $deeper (i64.const 0)))))"#;
const FILL: &str = r#"(module
    (memory (export "memory") 256)
    (func (export "_start")
        (loop $more
            (memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216))
            (br $more))))"#;
/// Leaves a mark in all of its memory and its table.
const LEAVE: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 1000 funcref)
    (elem declare func $mark)
    (func $mark)
    (func (export "_start")
        (drop (memory.grow (i32.const 127)))
        (table.fill $t (i32.const 0) (ref.func $mark) (i32.const 1000))
        (memory.fill (i32.const 0) (i32.const 170) (i32.const 8388608))))"#;
/// Traps if any byte of its memory or element of its table is set.
const SEARCH: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 1000 funcref)
    (func (export "_start") (local $i i32)
        (drop (memory.grow (i32.const 127)))
        (loop $more
            (if (i64.ne (i64.load (local.get $i)) (i64.const 0)) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 8388608))))
        (local.set $i (i32.const 0))
        (loop $more
            (if (i32.eqz (ref.is_null (table.get $t (local.get $i)))) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 1000))))))"#;

#[test]
fn growth_stops_at_the_limit_and_is_the_reason_if_the_guest_then_fails() {
    let mut bench = Bench::new();
    let cases = [
        ("", None, None),
        ("unreachable", Some(Reason::MemoryLimit), None),
        ("(call $exit (i32.const 3))", Some(Reason::MemoryLimit), Some(3)),
    ];
    for (then, reason, code) in cases {
        let end = bench.run_among_neighbours(&Guest::new(GROW.replace("THEN", then)).memory(4 * MIB));
        assert_eq!((end.reason(), end.exit_code()), (reason, code), "{end:?}");
        assert_eq!(end.ended.outcome.usage.peak_memory.0, 4 * MIB);
    }
}

#[test]
fn a_memory_beyond_the_limit_at_the_start_is_the_reason() {
    let mut bench = Bench::new();
    let guest = r#"(module (memory (export "memory") 257) (func (export "_start")))"#;
    let end = bench.run_among_neighbours(&Guest::new(guest).memory(16 * MIB));
    assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::MemoryLimit)), "{end:?}");
    assert_eq!(end.failure().unwrap().source, Source::Executor);
    let end = bench.run_among_neighbours(&Guest::new(guest).memory(17 * MIB));
    assert_eq!(end.status(), Status::Succeeded);
}

#[test]
fn tables_count_and_have_a_limit_of_their_own() {
    let mut bench = Bench::new();
    let end = bench.run_among_neighbours(&Guest::new(GROW_TABLE));
    assert_eq!(end.reason(), Some(Reason::TableLimit), "{end:?}");
    assert_eq!(end.ended.outcome.usage.peak_memory.0, (1 << 16) + 200_000 * 8);
    let end = bench.run_among_neighbours(&Guest::new(GROW_TABLE).memory(1 << 17));
    assert_eq!(end.reason(), Some(Reason::MemoryLimit), "{end:?}");
    assert!(end.ended.outcome.usage.peak_memory.0 <= 1 << 17);
}

#[test]
fn what_no_slot_can_hold_is_refused_before_it_runs() {
    let mut bench = Bench::new();
    for (guest, words) in [
        (r#"(module (memory (export "memory") 65536) (func (export "_start")))"#, "memory"),
        (r#"(module (memory (export "memory") 1) (table 1000000 funcref) (func (export "_start")))"#, "table"),
        (r#"(module (memory (export "memory") 1) (memory 1) (func (export "_start")))"#, "memor"),
        (r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#, "memory64"),
        (r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#, "threads"),
    ] {
        let refused = bench.prepare(guest.as_bytes()).refused.unwrap();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn an_initial_memory_beyond_what_the_node_has_is_refused_by_name() {
    let mut bench = Bench::configured(|config| config.memory_max = MemBytes(1 << 20));
    let guest = r#"(module (memory (export "memory") 17) (func (export "_start")))"#;
    let refused = bench.prepare(guest.as_bytes()).refused.unwrap();
    assert!(refused.contains("1114112 bytes") && refused.contains("at most 1048576"), "{refused}");
    assert!(!refused.contains("/proc"), "{refused}");
}

#[test]
fn deep_recursion_ends_the_guest_alone() {
    let end = Bench::new().run_among_neighbours(&Guest::new(RECURSE));
    assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::StackOverflow)));
    let backtrace = &end.failure().unwrap().backtrace;
    assert!(backtrace.len() > 16 && backtrace.len() <= 32 && backtrace[0].contains("deeper"), "{backtrace:?}");
}

#[test]
fn bulk_operations_burn_fuel_by_the_byte() {
    let end = Bench::new().run_among_neighbours(&Guest::new(FILL).fuel(200_000_000));
    assert_eq!(end.reason(), Some(Reason::FuelExhausted));
    assert_eq!(end.ended.outcome.usage.fuel.0, 200_000_000);
}

#[test]
fn a_slot_holds_nothing_of_its_previous_tenant() {
    // One lane: every guest gets the slot that the one before it left.
    let mut bench = Bench::with(1, BTreeMap::new());
    for _ in 0..5 {
        let left = bench.run(&Guest::new(LEAVE));
        assert_eq!(left.status(), Status::Succeeded, "{left:?}");
        let found = bench.run(&Guest::new(SEARCH));
        assert_eq!(found.status(), Status::Succeeded, "{found:?}");
    }
}
