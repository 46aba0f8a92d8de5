//! The program that the sandboxes of the isolation suite start for themselves: the suite's own has a test harness in
//! place of a `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_sandbox::run_helper(std::env::args_os().skip(1)).unwrap_or(ExitCode::FAILURE)
}
