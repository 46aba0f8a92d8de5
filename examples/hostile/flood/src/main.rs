//! Prints without end and without a line break. It does not care whether anybody takes the output.

#![forbid(unsafe_code)]

use std::io::Write;

/// Bytes written at a time.
const CHUNK_BYTES: usize = 64 * 1024;

fn main() {
    let chunk = vec![b'~'; CHUNK_BYTES];
    let mut output = std::io::stdout().lock();
    loop {
        // A refusal is what a hostile guest ignores.
        let _ = output.write_all(&chunk);
    }
}
