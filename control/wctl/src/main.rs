//! The command line of Weir.

use std::process::ExitCode;

fn main() -> ExitCode {
    wctl::main()
}
