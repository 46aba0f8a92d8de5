//! Calls itself without end. Without arguments it overflows the stack of the engine; with the argument `frames` each
//! call keeps data on the stack in linear memory, which overflows first and appears as an access out of bounds.

#![forbid(unsafe_code)]

use std::hint::black_box;

/// Bytes that one call of `descend_with_frame` keeps in linear memory.
const FRAME_BYTES: usize = 4096;

fn main() {
    let depth = if std::env::args().any(|argument| argument == "frames") { descend_with_frame() } else { descend() };
    println!("came back from {depth}");
}

#[expect(unconditional_recursion, reason = "it is what this guest is for")]
#[inline(never)]
fn descend() -> u64 {
    black_box(descend()) + 1
}

#[expect(unconditional_recursion, reason = "it is what this guest is for")]
#[inline(never)]
fn descend_with_frame() -> u64 {
    let frame = black_box([0_u8; FRAME_BYTES]);
    descend_with_frame() + u64::from(black_box(&frame)[0])
}
