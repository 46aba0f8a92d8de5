//! Takes memory and writes to all of it until it is refused, then traps.

#![forbid(unsafe_code)]

use std::hint::black_box;

/// Bytes asked for at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

fn main() {
    let mut chunks = Vec::new();
    while let Some(chunk) = take() {
        chunks.push(chunk);
    }
    eprintln!("grow: refused after {} MiB", black_box(&chunks).len());
    give_up();
}

/// Returns a chunk with every byte written, so that it really takes up memory; `None` when it is refused.
#[inline(never)]
fn take() -> Option<Vec<u8>> {
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(CHUNK_BYTES).ok()?;
    chunk.resize(CHUNK_BYTES, 0xA5);
    Some(black_box(chunk))
}

#[inline(never)]
fn give_up() -> ! {
    std::process::abort();
}
