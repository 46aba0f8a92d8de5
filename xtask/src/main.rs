//! The project's own tooling: `cargo xtask <command>`.

mod bench;
mod chaos;
mod ci;
mod demo;
mod fuzz;
mod mutate;
mod process;
mod setup;
mod sim;
mod test;
mod tidy;
mod workspace;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use process::{print, say};

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
    /// Run the word count example on a cluster on this machine, from nothing to its result
    Demo,
    /// Run all tests, those against a real etcd included; set up first
    Test,
    /// Check the rules of the repository that no compiler checks
    Tidy,
    /// Check everything: formatting, lints, documentation, tidy, tests
    Ci,
    /// Build for release and run one benchmark; its last line is a JSON object
    Bench {
        /// Which one
        name: String,
        /// Handed over to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run simulated clusters, see docs/SIMULATOR.md
    Sim {
        /// Handed over to the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a cluster of real processes under faults, see docs/TESTING.md
    Chaos {
        /// Handed over to the harness: `--minutes N --seed S --logs DIR`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzz one target with seeded mutations of its corpus, see docs/TESTING.md
    Fuzz {
        /// Handed over: `TARGET --seconds N --seed S`, or `TARGET --input FILE`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Put named faults into a copy of the code, and require the simulator or tests to find each, see docs/TESTING.md
    Mutate {
        /// Only this one
        #[arg(long)]
        only: Option<String>,
        /// Seeds for each
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Only those that continuous integration looks for
        #[arg(long)]
        ci: bool,
        /// Those that tests with real processes have to find, and not the simulator
        #[arg(long)]
        processes: bool,
    },
    /// Print the README's commands that the tests run
    ReadmeCommands,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Sim { arguments } => return sim::sim(&arguments),
        Task::Chaos { arguments } => return chaos::chaos(&arguments),
        Task::Fuzz { arguments } => return fuzz::fuzz(&arguments),
        Task::Setup => setup::setup(),
        Task::Demo => demo::demo(),
        Task::Test => test::test(),
        Task::Tidy => tidy::tidy(),
        Task::Ci => ci::ci(),
        Task::Bench { name, arguments } => bench::bench(&name, &arguments),
        Task::Mutate { only, seeds, ci, processes } => {
            mutate::mutate(&mutate::Search { only: only.as_deref(), ci, processes, seeds })
        }
        Task::ReadmeCommands => readme_commands(),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn readme_commands() -> Result<()> {
    let path = workspace::root()?.join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for command in tidy::readme_commands(&text) {
        print(command);
    }
    Ok(())
}
