//! Tests that cannot run here are counted, never silent.

use std::io::Write as _;

/// Notes that a test is skipped, and why. The test command compares the number of notes with a committed one.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn note(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(path) = std::env::var_os("WEIR_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let written = log.and_then(|mut log| writeln!(log, "SKIPPED: {test}: {why}"));
        assert!(written.is_ok(), "the log of skipped tests cannot be written: {written:?}");
    }
}
