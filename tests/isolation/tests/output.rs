//! Guests that write too much, and what followers see.

use weir_isolation::{Bench, Guest};
use weir_wire::{log::Stream, task::Reason};

/// Writes the letter x without end: `LEN` at a time, to the stream in place of `FD`.
const FLOOD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const LEN))
        (memory.fill (i32.const 1024) (i32.const 120) (i32.const LEN))
        (loop $more
            (drop (call $write (i32.const FD) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $more))))"#;
/// Writes one byte to each stream in turn, without end.
const ALTERNATE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 1))
        (loop $more
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $more))))"#;
/// Fills `TOTAL` bytes of memory, writes them `LEN` at a time and ends.
const LARGE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1026)
    (func (export "_start") (local $at i32)
        (memory.fill (i32.const 65536) (i32.const 120) (i32.const TOTAL))
        (loop $more
            (i32.store (i32.const 0) (i32.add (i32.const 65536) (local.get $at)))
            (i32.store (i32.const 4) (i32.const LEN))
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
            (br_if $more (i32.lt_u (local.get $at) (i32.const TOTAL))))))"#;
/// Asks for a gigabyte of random bytes at once.
const RANDOM: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (drop (call $random (i32.const 0) (i32.const 1000000000)))))"#;

#[test]
fn endless_output_ends_at_its_budget_and_the_beginning_is_kept() {
    let mut bench = Bench::new();
    for (fd, len) in [(1, 1), (1, 100), (1, 4096), (1, 100_000), (2, 4096)] {
        let flood = FLOOD.replace("FD", &fd.to_string()).replace("LEN", &len.to_string());
        let end = bench.run_among_neighbours(&Guest::new(flood).output(10_000));
        assert_eq!(end.reason(), Some(Reason::OutputLimit), "{end:?}");
        let kept: usize = end.log.iter().map(|record| record.bytes.len()).sum();
        assert_eq!(kept, 10_000);
        assert_eq!(end.result.len(), if fd == 1 { 10_000 } else { 0 });
        assert!(end.ended.outcome.usage.output_bytes > 10_000);
    }
}

#[test]
fn a_large_result_is_whole_and_so_is_its_log() {
    const MIB: usize = 1 << 20;
    let mut bench = Bench::new();
    for (total, write) in
        [(2 * MIB, 2 * MIB), (2 * MIB, 4096), (10 * MIB, 10 * MIB), (64 * MIB, 64 * MIB), (64 * MIB, MIB)]
    {
        let large = LARGE.replace("TOTAL", &total.to_string()).replace("LEN", &write.to_string());
        let end = bench.run(&Guest::new(large).memory(80 << 20).output(64 << 20));
        assert_eq!((end.reason(), end.result.len()), (None, total), "{write} at a time: {:?}", end.failure());
        assert!(end.result.iter().all(|byte| *byte == b'x'));
        assert_eq!(end.log.iter().map(|record| record.bytes.len()).sum::<usize>(), total);
    }
}

#[test]
fn tiny_writes_cost_the_host_no_more_than_a_multiple_of_the_budget() {
    let end = Bench::new().run_among_neighbours(&Guest::new(ALTERNATE).output(1 << 20));
    assert_eq!(end.reason(), Some(Reason::OutputLimit), "{:?}", end.failure());
    assert!(end.ended.large_log.len() < (2 << 20) + (65 << 10), "{}", end.ended.large_log.len());
}

#[test]
fn a_budget_of_nothing_allows_nothing() {
    let flood = FLOOD.replace("FD", "1").replace("LEN", "1");
    let end = Bench::new().run(&Guest::new(flood).output(0));
    assert_eq!((end.reason(), end.result.len()), (Some(Reason::OutputLimit), 0));
}

#[test]
fn a_gigabyte_of_random_is_not_allocated() {
    let end = Bench::new().run_among_neighbours(&Guest::new(RANDOM));
    assert_eq!(end.reason(), Some(Reason::Trap), "{end:?}");
    assert!(end.failure().unwrap().message.contains("exceeds limit"), "{end:?}");
}

#[test]
fn a_follower_sees_the_output_as_it_comes_and_the_log_holds_it_too() {
    let mut bench = Bench::new();
    let flood = FLOOD.replace("FD", "1").replace("LEN", "16");
    let id = bench.start(&Guest::new(flood).output(1 << 20));
    let first = bench.wait_for_output(id);
    assert!(first.iter().all(|byte| *byte == b'x'));
    let end = bench.end(id);
    assert!(end.log.iter().all(|record| record.stream == Stream::Stdout));
    assert_eq!(end.result.len(), 1 << 20);
}
