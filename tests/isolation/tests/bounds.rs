//! The memory of the host under hostile guests: one after the other, each between two neighbours, so that what the process
//! grows by is their doing. The only test of its program, since memory is counted for a whole process.

use std::time::Duration;

use weir_isolation::{Bench, Guest, Peak};
use weir_wire::task::Reason;

const MIB: u64 = 1 << 20;
/// What each guest may use.
const MEMORY: u64 = 16 * MIB;
/// What it may write.
const OUTPUT: u64 = MIB;
/// What the process may use for three guests beside their memory: stacks, tables, captures, and what it loads lazily.
const SLACK: u64 = 24 * MIB;

/// A preview 1 command with host functions, so much memory, and a body.
fn guest(pages: u32, body: &str) -> Guest {
    let module = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") {pages})
            (table $t 0 funcref)
            (func $deeper (param i64) (result i64)
                (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
            (func (export "_start") {body}))"#
    );
    Guest::new(module).memory(MEMORY).output(OUTPUT).fuel(100_000_000).timeout(Duration::from_secs(60))
}

/// A jump with so many targets.
fn jump(targets: usize) -> Guest {
    guest(1, &format!("(block (br_table {} (i32.const 1)))", "0 ".repeat(targets)))
}

fn hostile() -> Vec<(&'static str, Guest, Option<Reason>)> {
    let short = Duration::from_millis(200);
    let sleep = "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 31536000000000000))
        (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))";
    let flood = "(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
        (loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))";
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let touch = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536))) unreachable";
    let tables =
        "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let fill = "(loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 15728640)) (br $l))";
    let calls = "(loop $l (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (br $l))";
    let recurse = "(drop (call $deeper (i64.const 0)))";
    let random = "(drop (call $random (i32.const 0) (i32.const 1000000000)))";
    vec![
        ("spin forever", guest(1, "(loop $l (br $l))"), Some(Reason::FuelExhausted)),
        ("spin in tiny host calls", guest(1, calls).timeout(short).fuel(u64::MAX / 2), Some(Reason::WallTimeout)),
        ("poll_oneoff for a year", guest(1, sleep).timeout(short), Some(Reason::WallTimeout)),
        ("memory bomb at the start", guest(8_000, ""), Some(Reason::MemoryLimit)),
        ("memory bomb by growth", guest(1, grow), Some(Reason::MemoryLimit)),
        ("memory bomb by growth, touched", guest(1, touch), Some(Reason::MemoryLimit)),
        ("table bomb", guest(1, tables), Some(Reason::TableLimit)),
        ("deep recursion", guest(1, recurse), Some(Reason::StackOverflow)),
        ("trap", guest(1, "unreachable"), Some(Reason::Trap)),
        ("endless stdout without newline", guest(1, flood).fuel(u64::MAX / 2), Some(Reason::OutputLimit)),
        ("a gigabyte of random", guest(1, random), Some(Reason::Trap)),
        ("memory.fill over all memory in a loop", guest(240, fill), Some(Reason::FuelExhausted)),
        ("a huge jump table", jump(60_000), None),
    ]
}

#[test]
fn hostile_guests_cost_the_host_their_limits_and_a_constant() {
    let mut bench = Bench::new();
    // What is loaded once, at the first guest, is nobody's in particular.
    bench.run_among_neighbours(&guest(1, "unreachable"));
    for (name, guest, reason) in hostile() {
        let peak = Peak::watch(&bench.guest_pids());
        let end = bench.run_among_neighbours(&guest);
        assert_eq!(end.reason(), reason, "{name}: {end:?}");
        let growth = peak.growth();
        assert!(growth < MEMORY + 2 * OUTPUT + SLACK, "{name}: {} MiB", growth / MIB);
        println!("{name}: {} KiB", growth >> 10);
    }
    let refused = bench.prepare(&jump(500_000).wasm).refused.expect("refused");
    assert!(refused.contains("br_table"), "{refused}");
}
