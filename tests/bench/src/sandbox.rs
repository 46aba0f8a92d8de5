//! `sandbox`: instantiate, run and drop a null module through the sandbox crate, in this process and in worker processes,
//! against straight wasmtime; then how long starts and stops take, and what many attempts at once are and take.

mod crowding;
mod guests;
mod layers;
mod start;
mod stop;

use anyhow::{Context, Result};
use weir_sandbox::Isolation;

use crate::{
    bare::Bare,
    null,
    report::{Report, median},
    straight,
};

/// Attempts of each round; rounds alternate between the sides.
const TASKS: u32 = 100_000;
const ROUNDS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let wasm = null::module()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let [here, apart] = ["here", "apart"].map(|name| dir.path().join(name));
    for dir in [&here, &apart] {
        std::fs::create_dir(dir).context("make a temporary directory")?;
    }
    let mut bare = Bare::start(&here, &wasm, threads, Isolation::InProcess)?;
    let mut workers = Bare::start(&apart, &wasm, threads, Isolation::Processes { number: threads })?;
    bare.tasks_per_s(TASKS / 10)?;
    workers.tasks_per_s(TASKS / 10)?;
    let (mut ours, mut theirs, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(bare.tasks_per_s(TASKS)?);
        apart.push(workers.tasks_per_s(TASKS)?);
        theirs.push(straight::tasks_per_s(&wasm, TASKS, threads)?);
    }
    bare.stop();
    let quotients = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    let (ratio, worker_ratio) = (quotients(&ours, &theirs), quotients(&apart, &ours));
    let [ours, apart, theirs] = [ours, apart, theirs].map(median);
    let mut report = Report::new("sandbox");
    report.row("threads", threads.to_string());
    report.row("rounds", format!("{ROUNDS} of {TASKS} attempts, alternating; medians"));
    report.figure("attempts_per_s", ours, 0);
    report.figure("worker_attempts_per_s", apart, 0);
    report.figure("wasmtime_attempts_per_s", theirs, 0);
    report.figure("ratio", ratio, 3);
    report.figure("worker_ratio", worker_ratio, 3);
    crowding::rates(&mut report, &mut workers)?;
    workers.stop();
    layers::measure(&mut report, &wasm, layers::Rates { wasmtime: theirs, in_process: ours, workers: apart })?;
    stop::measure(&mut report)?;
    start::measure(&mut report)?;
    crowding::idle(&mut report)?;
    report.print()
}
