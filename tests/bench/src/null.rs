//! The null task: a WASI command that reads its index, returns a function of it, and ends.

use anyhow::{Context, Result};

/// What task `index` returns, so that a result proves which task made it.
pub(crate) const fn expected(index: u32) -> u32 {
    index.wrapping_mul(2_654_435_761).wrapping_add(1)
}

/// The module: about sixty instructions besides three host calls.
///
/// It finds `WEIR_TASK_INDEX=` in its environment, computes [`expected`], and writes four little-endian bytes to
/// stdout.
pub(crate) fn module() -> Result<Vec<u8>> {
    wat::parse_str(NULL).context("assemble the null module")
}

/// The same, but each task waits before it ends, for 0 to 41 ms that are a hash of its index: many at once end in an
/// order that has nothing to do with their indices.
pub(crate) fn unordered() -> Result<Vec<u8>> {
    let text = NULL.replace("(memory (export", &format!("{POLL} (memory (export"));
    let text = text.replace(RETURN, &format!("{WAIT} {RETURN}"));
    wat::parse_str(text).context("assemble the null module that waits")
}

const POLL: &str =
    r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;

/// Where the null module begins to return its result.
const RETURN: &str = "(i32.store (i32.const 72) (i32.const 64))";

/// One subscription to the monotonic clock at 512; the middle of the hash at 64, in steps of 20 us, is its timeout.
const WAIT: &str = "
    (i32.store (i32.const 528) (i32.const 1))
    (i64.store (i32.const 536) (i64.mul
      (i64.extend_i32_u (i32.and (i32.shr_u (i32.load (i32.const 64)) (i32.const 16)) (i32.const 2047)))
      (i64.const 20000)))
    (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 640)))";

const NULL: &str = r#"
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $left i32) (local $slot i32) (local $text i32) (local $index i32) (local $digit i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $environ (i32.const 1024) (i32.const 4096)))
    (local.set $left (i32.load (i32.const 0)))
    (local.set $slot (i32.const 1024))
    (block $found
      (loop $next
        (if (i32.eqz (local.get $left)) (then unreachable))
        (local.set $text (i32.load (local.get $slot)))
        (br_if $found (i32.and
          (i64.eq (i64.load (local.get $text)) (i64.const 0x5341545f52494557))
          (i64.eq (i64.load offset=8 (local.get $text)) (i64.const 0x3d5845444e495f4b))))
        (local.set $slot (i32.add (local.get $slot) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (local.set $text (i32.add (local.get $text) (i32.const 16)))
    (block $end
      (loop $digits
        (br_if $end (i32.eqz (local.tee $digit (i32.load8_u (local.get $text)))))
        (local.set $index (i32.add
          (i32.mul (local.get $index) (i32.const 10))
          (i32.sub (local.get $digit) (i32.const 48))))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $digits)))
    (i32.store (i32.const 64)
      (i32.add (i32.mul (local.get $index) (i32.const 0x9e3779b1)) (i32.const 1)))
    (i32.store (i32.const 72) (i32.const 64))
    (i32.store (i32.const 76) (i32.const 4))
    (drop (call $write (i32.const 1) (i32.const 72) (i32.const 1) (i32.const 80)))))
"#;
