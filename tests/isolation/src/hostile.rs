//! Hostile guests, with budgets that end them and the reasons for which they end.

use std::time::Duration;

use weir_wire::task::Reason;

use crate::Guest;

/// What each guest may use of memory, bytes.
pub const MEMORY: u64 = 16 << 20;
/// What it may write, bytes.
pub const OUTPUT: u64 = 1 << 20;

/// One kind of guest.
#[derive(Debug, Clone)]
pub struct Kind {
    /// What it does.
    pub name: &'static str,
    /// The guest.
    pub guest: Guest,
    /// Why it ends, unless it succeeds.
    pub reason: Option<Reason>,
}

/// A preview 1 command with host functions, so much memory, and a body.
#[must_use]
pub fn guest(pages: u32, body: &str) -> Guest {
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
#[must_use]
pub fn jump(targets: usize) -> Guest {
    guest(1, &format!("(block (br_table {} (i32.const 1)))", "0 ".repeat(targets)))
}

/// All kinds.
#[must_use]
pub fn kinds() -> Vec<Kind> {
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
    let kinds = [
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
    ];
    kinds.into_iter().map(|(name, guest, reason)| Kind { name, guest, reason }).collect()
}
