//! `throughput`: an array of null tasks through the whole system with real etcd, against the same module in a bare loop
//! over the sandbox crate and straight over wasmtime; then many small runs, an array that ends in no order, and what a long
//! queue takes of memory.

mod bulk;
mod queued;
pub(crate) mod results;
mod store;

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weir_sandbox::Isolation;

use crate::{
    bare::Bare,
    null,
    report::Report,
    straight,
    system::{System, bound_by, client},
};
use store::Meter;

const JOB: &str = "null";
const UNORDERED: &str = "unordered";
/// Tasks of the run that teaches the scheduler how short a task is, and compiles the module.
const WARM_UP: u32 = 2_000;
/// Tasks of the array that ends in no order: they wait, and a tenth as many takes as long as the others.
const UNORDERED_TASKS: u32 = 100_000;

pub(crate) fn run(tasks: u32) -> Result<()> {
    let wasm = null::module()?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let mut report = Report::new("throughput");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ours = runtime.block_on(async {
        let mut system = System::start()?;
        let ours = ordered(&mut system, &wasm, tasks, &mut report).await?;
        // Before there are many runs: a checkpoint of theirs would be counted here.
        unordered(&system, &mut report).await?;
        let client = Arc::new(client(&system.cluster, vec![system.cluster.address()])?);
        bulk::measure(&system, client, &wasm, &mut report).await?;
        drop(system);
        queued::measure(&wasm, &mut report).await?;
        anyhow::Ok(ours)
    })?;
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let mut bare = Bare::start(dir.path(), &wasm, threads, Isolation::InProcess)?;
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
async fn ordered(system: &mut System, wasm: &[u8], tasks: u32, report: &mut Report) -> Result<f64> {
    system.deploy(JOB, wasm).await?;
    let warm = system.start_run(JOB, WARM_UP).await?;
    system.finish(&warm.id).await?;

    let meter = Meter::start(&system.cluster.etcd_url().context("the cluster runs on etcd")?).await?;
    let cpu_before = system.cpu()?;
    let began = Instant::now();
    let run = system.start_run(JOB, tasks).await?;
    let ended = system.finish(&run.id).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_after = system.cpu()?;
    let written = meter.finish().await?;

    ensure!(ended.usage.sum.fuel > u64::from(tasks), "tasks burned no fuel");
    report.row("tasks", format!("{tasks} null tasks, each in a fresh store, in {seconds:.2} s"));
    for (name, after) in &cpu_after {
        let used = after - cpu_before.get(name).copied().unwrap_or(0.0);
        report.row(format!("cpu of {name}"), format!("{used:.2} s, {:.2} us a task", used * 1e6 / f64::from(tasks)));
    }
    report.row("bound by", bound_by(&cpu_before, &cpu_after, seconds));
    report.figure("control_rss_bytes", system.control_rss_bytes()? as f64, 0);
    report.row("written to etcd", written.kinds());
    report.figure("etcd_bytes_per_task", written.bytes_per_task(tasks), 3);
    system.cluster.control_mut().kill9()?;
    system.cluster.start_control()?;
    system.finish(&run.id).await?;
    let read = results::check(&system.client, &run.id, tasks).await;
    read.context("read everything back after kill -9 of the control plane")?;
    report.row("after kill -9", "all outcomes and results read back");
    Ok(f64::from(tasks) / seconds)
}

/// What etcd takes of an array whose tasks end in no order.
async fn unordered(system: &System, report: &mut Report) -> Result<()> {
    system.deploy_small(json!({ "name": UNORDERED }), 0.01, &null::unordered()?).await?;
    let warm = system.start_run(UNORDERED, WARM_UP).await?;
    system.finish(&warm.id).await?;
    let meter = Meter::start(&system.cluster.etcd_url().context("the cluster runs on etcd")?).await?;
    let began = Instant::now();
    let run = system.start_run(UNORDERED, UNORDERED_TASKS).await?;
    system.finish(&run.id).await?;
    let seconds = began.elapsed().as_secs_f64();
    let written = meter.finish().await?;
    results::check(&system.client, &run.id, UNORDERED_TASKS).await?;
    report.row("in no order", format!("{UNORDERED_TASKS} tasks of 0 to 41 ms, all lanes at once, in {seconds:.2} s"));
    report.row("written to etcd", written.kinds());
    report.figure("etcd_bytes_per_task_random", written.bytes_per_task(UNORDERED_TASKS), 3);
    Ok(())
}
