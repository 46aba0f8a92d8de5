//! Unrest for as long as it is asked for; see docs/TESTING.md.

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use weir_e2e::chaos::Unrest;

/// Runs a cluster of real processes under faults, and checks what clients saw and what is stored.
#[derive(Debug, Parser)]
#[command(name = "weir-chaos")]
struct Arguments {
    /// For how many minutes there are faults; starting, calming down and checking come on top
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Decides the faults and the requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A directory for the logs of all processes
    #[arg(long)]
    logs: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let lasts = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("the minutes are no time")?;
    if let Some(dir) = &arguments.logs {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    let report = Unrest { seed: arguments.seed, lasts, logs: arguments.logs }.run()?;
    writeln!(std::io::stdout(), "{report}").context("print the report")?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
