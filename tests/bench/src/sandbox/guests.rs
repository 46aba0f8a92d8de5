//! Guests of these measurements besides the null module.

/// No limit that is ever met.
pub(super) const FOREVER: u64 = u64::MAX / 2;
/// Spins.
pub(super) const SPIN: &str = "(loop $more (br $more))";
/// Sleeps for a year.
pub(super) const SLEEP: &str = "(i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 31536000000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))";
/// Computes for three slices of fuel and some.
pub(super) const COMPUTE: &str = "(loop $more
    (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $turn) (i32.const 500000))))";

/// A command that does so.
pub(super) fn command(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 512) "\00\04\00\00\05\00\00\00")
            (data (i32.const 1024) "ready")
            (func (export "_start") (local $turn i32) {body}))"#
    )
}

/// A command that writes "ready" and then does so.
pub(super) fn ready_then(body: &str) -> String {
    command(&format!("(drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520))) {body}"))
}

/// The same module under another digest: with a custom section at its end that holds a number.
pub(super) fn variant(wasm: &[u8], number: u32) -> Vec<u8> {
    [wasm, &[0, 6, 1, b'n'], &number.to_le_bytes()].concat()
}
