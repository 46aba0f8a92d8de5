//! A sandbox with worker processes as the executor has it by default, for guests of the isolation suite.

use anyhow::{Context, Result};
use weir_isolation::{Bench, Held};
use weir_sandbox::{Helper, Isolation, SandboxConfig};

/// The machine's threads, which are a sandbox's workers.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A sandbox with one worker process for each of the machine's threads, and what `change` makes of that.
pub(crate) fn start(change: impl FnOnce(&mut SandboxConfig)) -> Result<Bench> {
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let mut config = SandboxConfig {
        workers: threads(),
        cache_dir: dir.path().join("cache"),
        cache_key: [7; 32],
        isolation: Isolation::Processes { number: threads() },
        helper: Helper::this_program(),
        ..SandboxConfig::default()
    };
    change(&mut config);
    Ok(Bench::of(dir, config))
}

/// What the worker processes and this one hold.
pub(crate) fn held(bench: &Bench) -> Held {
    let pids: Vec<u32> = bench.worker_pids().into_iter().chain([std::process::id()]).collect();
    Held::by(&pids)
}
