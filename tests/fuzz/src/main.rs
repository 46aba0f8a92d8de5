//! `weir-fuzz TARGET --seconds N [--seed S]`: exit code 1 and the input in a file when something was found.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use weir_fuzz::{
    Target,
    campaign::{self, Amount},
    corpus::{self, Entry},
};

/// Fuzzes one target with seeded mutations of its corpus.
#[derive(Parser)]
struct Arguments {
    /// What is fuzzed
    target: Target,
    /// For how long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides every input
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this input, such as one that was found
    #[arg(long)]
    input: Option<PathBuf>,
    /// Only write the corpus, a file for each input, into this directory: for another fuzzer
    #[arg(long, conflicts_with = "input")]
    corpus_to: Option<PathBuf>,
}

fn main() -> ExitCode {
    match perform(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Where nobody reads it, nobody misses it.
            let _unread = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: &Arguments) -> Result<ExitCode> {
    let target = arguments.target;
    if let Some(path) = &arguments.input {
        target.run(&fs::read(path).with_context(|| format!("read {}", path.display()))?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(dir) = &arguments.corpus_to {
        return write_corpus(target, dir);
    }
    let tried = campaign::run(target, arguments.seed, Amount::Time(Duration::from_secs(arguments.seconds)))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{target}: {} executions with seed {}", tried.executions, arguments.seed)?;
    let Some(finding) = tried.finding else { return Ok(ExitCode::SUCCESS) };
    let path = std::env::temp_dir().join(format!("weir-fuzz-{target}-{}-{}", arguments.seed, tried.executions));
    fs::write(&path, &finding.input).with_context(|| format!("write {}", path.display()))?;
    writeln!(out, "found: {}\ninput: {}", finding.message, path.display())?;
    Ok(ExitCode::FAILURE)
}

fn write_corpus(target: Target, dir: &Path) -> Result<ExitCode> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let entries = corpus::read(target)?;
    for Entry { name, bytes } in &entries {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    writeln!(io::stdout(), "{target}: {} inputs in {}", entries.len(), dir.display())?;
    Ok(ExitCode::SUCCESS)
}
