//! The command line of Weir.

use std::process::ExitCode;

/// Attempts allocate on one thread and free on another, where the system's allocator takes locks: measured, it was a
/// third of a null attempt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wctl::main()
}
