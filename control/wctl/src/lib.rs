//! The command line of Weir.
//!
//! Data goes to stdout, everything else to stderr; every outcome has its own exit code ([`exit`]).

mod args;
mod authority;
mod command;
mod context;
#[cfg(feature = "dev")]
mod dev;
pub mod exit;
mod failure;
mod follow;
mod input;
mod log;
mod module_file;
mod output;
mod resolve;
mod session;
mod spec;
mod upload;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use crate::{args::Cli, exit::Exit, failure::Failure};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    #[cfg(feature = "dev")]
    if let Some(code) = weir_sandbox::run_helper(std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // There is nobody to tell when the terminal itself fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let verbose = cli.global.verbose > 0;
    match command::dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure, verbose),
    }
}

fn report(failure: &Failure, verbose: bool) -> ExitCode {
    if failure.is_closed_pipe() {
        return Exit::Ok.into();
    }
    let text = failure.render(verbose, output::terminal::color_on_stderr());
    // There is nobody to tell when stderr itself fails; the exit code still speaks.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    failure.exit().into()
}
