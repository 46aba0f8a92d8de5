//! The project's own tooling: `cargo xtask <command>`.

mod process;
mod setup;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use process::say;

/// Tooling of the Weir repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building, running and testing need and this machine lacks
    Setup,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Setup => setup::setup(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
