//! `throughput`: an array of null tasks through the whole system with real etcd, against the same module in a bare loop
//! over the sandbox crate and straight over wasmtime.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;

use crate::{
    bare::Bare,
    null,
    report::Report,
    straight,
    system::{NAMESPACE, System},
};

const JOB: &str = "null";
/// Tasks of the run that teaches the scheduler how short a task is, and compiles the module.
const WARM_UP: u32 = 2_000;

pub(crate) fn run(tasks: u32) -> Result<()> {
    let wasm = null::module()?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let mut report = Report::new("throughput");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ours = runtime.block_on(system(&wasm, tasks, &mut report))?;
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let mut bare = Bare::start(dir.path(), &wasm, threads)?;
    bare.tasks_per_s(WARM_UP)?;
    let bare_rate = bare.tasks_per_s(tasks)?;
    bare.stop();
    let straight_rate = straight::tasks_per_s(&wasm, tasks, threads)?;
    report.figure("tasks_per_s", ours, 0);
    report.figure("bare_tasks_per_s", bare_rate, 0);
    report.row("wasmtime tasks/s", format!("{straight_rate:.0}"));
    report.figure("bare_ratio", ours / bare_rate, 3);
    report.figure("wasmtime_ratio", ours / straight_rate, 3);
    report.print()
}

/// The whole system: tasks per second from submission to the last recorded outcome.
async fn system(wasm: &[u8], tasks: u32, report: &mut Report) -> Result<f64> {
    let mut system = System::start()?;
    system.deploy(JOB, wasm).await?;
    let warm = system.start_run(JOB, WARM_UP).await?;
    system.finish(&warm.id).await?;

    let cpu_before = system.cpu()?;
    let began = Instant::now();
    let run = system.start_run(JOB, tasks).await?;
    let ended = system.finish(&run.id).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_after = system.cpu()?;

    ensure!(ended.usage.sum.fuel > u64::from(tasks), "tasks burned no fuel");
    report.row("tasks", format!("{tasks} null tasks, each in a fresh store, in {seconds:.2} s"));
    for (name, after) in cpu_after {
        let used = after - cpu_before.get(name).copied().unwrap_or(0.0);
        report.row(format!("cpu of {name}"), format!("{used:.2} s, {:.2} us a task", used * 1e6 / f64::from(tasks)));
    }
    system.cluster.control_mut().kill9()?;
    system.cluster.start_control()?;
    read_back(&system, &run.id, tasks).await.context("read everything back after kill -9 of the control plane")?;
    report.row("after kill -9", "all outcomes and results read back");
    Ok(f64::from(tasks) / seconds)
}

/// Reads all outcomes and results, and checks each.
async fn read_back(system: &System, run: &str, tasks: u32) -> Result<()> {
    system.finish(run).await?;
    let mut results = system.client.run_results(NAMESPACE, run).await.context("open the results")?;
    let (mut seen, mut sum) = (vec![false; tasks as usize], 0u64);
    while let Some(result) = results.next().await.context("read the results")? {
        let bytes = match (&result.text, &result.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).context("decode a result")?,
            (None, None) => Vec::new(),
        };
        let bytes: [u8; 4] =
            bytes.as_slice().try_into().with_context(|| format!("task {} returned {bytes:?}", result.index))?;
        let value = u32::from_le_bytes(bytes);
        ensure!(value == null::expected(result.index), "task {} returned {value}", result.index);
        let slot = seen.get_mut(result.index as usize).context("a result of no task")?;
        ensure!(!std::mem::replace(slot, true), "task {} has two results", result.index);
        sum += u64::from(value);
    }
    ensure!(seen.iter().all(|seen| *seen), "results are missing");
    let wanted: u64 = (0..tasks).map(|index| u64::from(null::expected(index))).sum();
    ensure!(sum == wanted, "the checksum is {sum} and not {wanted}");
    Ok(())
}
