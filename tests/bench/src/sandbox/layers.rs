//! What each layer around a guest costs: the time of one thread for a null attempt with it.

use anyhow::{Context, Result};
use weir_sandbox::Isolation;
use weir_wire::work::Capabilities;

use crate::{bare::Bare, report::Report, stage, straight};

const TASKS: u32 = 50_000;

/// Attempts a second that were measured already.
pub(super) struct Rates {
    pub(super) wasmtime: f64,
    pub(super) in_process: f64,
    pub(super) workers: f64,
}

pub(super) fn measure(report: &mut Report, wasm: &[u8], rates: Rates) -> Result<()> {
    let deterministic = Capabilities { deterministic: true, ..Capabilities::NONE };
    let scratch = Capabilities { scratch: 1 << 20, ..Capabilities::NONE };
    let layers = [
        ("wasmtime without fuel", straight::unmetered_tasks_per_s(wasm, TASKS, stage::threads())?),
        ("wasmtime", rates.wasmtime),
        ("in process", rates.in_process),
        ("worker processes", rates.workers),
        ("worker processes, deterministic", with(wasm, TASKS, deterministic)?),
        ("worker processes, scratch directory", with(wasm, TASKS / 5, scratch)?),
    ];
    #[expect(clippy::cast_precision_loss, reason = "a few threads")]
    let threads_us = stage::threads() as f64 * 1e6;
    for (layer, rate) in layers {
        report.row(format!("an attempt in {layer}"), format!("{:.2} us of a thread", threads_us / rate));
    }
    Ok(())
}

/// Attempts a second in worker processes that may use more.
fn with(wasm: &[u8], tasks: u32, capabilities: Capabilities) -> Result<f64> {
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let threads = stage::threads();
    let mut bare = Bare::with(dir.path(), wasm, (threads, Isolation::Processes { number: threads }), capabilities)?;
    bare.tasks_per_s(tasks / 10)?;
    let rate = bare.tasks_per_s(tasks)?;
    bare.stop();
    Ok(rate)
}
