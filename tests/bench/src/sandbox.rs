//! `sandbox`: instantiate, run and drop a null module through the sandbox crate, against straight wasmtime.

use anyhow::{Context, Result};

use crate::{
    bare::Bare,
    null,
    report::{Report, median},
    straight,
};

/// Attempts of each round; rounds alternate between the two sides.
const TASKS: u32 = 100_000;
const ROUNDS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let wasm = null::module()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let mut bare = Bare::start(dir.path(), &wasm, threads)?;
    bare.tasks_per_s(TASKS / 10)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(bare.tasks_per_s(TASKS)?);
        theirs.push(straight::tasks_per_s(&wasm, TASKS, threads)?);
    }
    bare.stop();
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    let mut report = Report::new("sandbox");
    report.row("threads", threads.to_string());
    report.row("rounds", format!("{ROUNDS} of {TASKS} attempts, alternating; medians"));
    report.figure("attempts_per_s", median(ours), 0);
    report.figure("wasmtime_attempts_per_s", median(theirs), 0);
    report.figure("ratio", ratio, 3);
    report.print()
}
