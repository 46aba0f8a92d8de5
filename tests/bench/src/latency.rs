//! `latency`: one task from its submission to its recorded outcome; one after the other on an idle cluster, then at fixed
//! rates.

mod open;

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use etcd_client::{Client, Txn, TxnOp};
use serde_json::json;

use crate::{
    null,
    report::{Report, median, percentile},
    system::{System, bound_by, client},
};

const JOB: &str = "null";
const FUNCTION: &str = "call";
const WARM_UP: u32 = 50;
/// The rates that are tried until one is too much, dispatches per second.
const RATES: [u32; 10] = [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600];

pub(crate) fn run(runs: u32) -> Result<()> {
    let wasm = null::module()?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let mut report = Report::new("latency");
    runtime.block_on(async {
        let system = System::start()?;
        idle(&system, &wasm, runs, &mut report).await?;
        under_load(&system, &wasm, &mut report).await
    })?;
    report.print()
}

async fn idle(system: &System, wasm: &[u8], runs: u32, report: &mut Report) -> Result<()> {
    system.deploy(JOB, wasm).await?;
    let etcd = system.cluster.etcd_url().context("the cluster runs on etcd")?;
    let mut etcd = Client::connect([etcd], None).await.context("connect to etcd")?;
    let (mut latencies, mut commits) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + runs {
        let began = Instant::now();
        let run = system.start_run(JOB, 1).await?;
        system.finish(&run.id).await?;
        let latency = began.elapsed().as_secs_f64() * 1e3;
        let began = Instant::now();
        let put = TxnOp::put("weir-bench/commit", vec![0; 256], None);
        etcd.txn(Txn::new().and_then([put])).await.context("commit to etcd")?;
        let commit = began.elapsed().as_secs_f64() * 1e3;
        if round >= WARM_UP {
            latencies.push(latency);
            commits.push(commit);
        }
    }
    let commit = median(commits);
    let p50 = percentile(&mut latencies, 0.50);
    report.row("idle", format!("{runs} runs of one null task, one after the other, warm"));
    report.figure("idle_p50_ms", p50, 3);
    report.figure("idle_p99_ms", percentile(&mut latencies, 0.99), 3);
    report.figure("etcd_commit_ms", commit, 3);
    report.row("idle bound by", format!("{:.2} x two commits to etcd, one after the other", p50 / (2.0 * commit)));
    Ok(())
}

async fn under_load(system: &System, wasm: &[u8], report: &mut Report) -> Result<()> {
    system.deploy_with(json!({ "name": FUNCTION, "kind": "function" }), wasm).await?;
    let client = Arc::new(client(&system.cluster, vec![system.cluster.address()])?);
    open::warm_up(&client, FUNCTION, WARM_UP).await?;
    report.row("open loop", "calls of a function at fixed rates; latency is from the scheduled arrival to the result");
    let mut sustained = None;
    for rate in RATES {
        let (before, began) = (system.cpu()?, Instant::now());
        let row = open::at_rate(&client, FUNCTION, rate).await?;
        report.row(format!("{rate}/s"), row.to_string());
        if !row.is_sustained() {
            let bound = bound_by(&before, &system.cpu()?, began.elapsed().as_secs_f64());
            report.row("bound by", format!("at {rate}/s, {bound}"));
            break;
        }
        sustained = Some(rate);
    }
    let mut highest = sustained.context("not even the lowest rate is sustained")?;
    // Rates double: the one in the middle says more exactly where the end is.
    let middle = open::at_rate(&client, FUNCTION, highest / 2 * 3).await?;
    report.row(format!("{}/s", highest / 2 * 3), middle.to_string());
    if middle.is_sustained() {
        highest = highest / 2 * 3;
    }
    let half = open::at_rate(&client, FUNCTION, highest / 2).await?;
    report.row("half load", format!("{}/s: {half}", highest / 2));
    report.figure("rate", f64::from(highest / 2), 0);
    report.figure("p50_ms", half.p50_ms, 3);
    report.figure("p99_ms", half.p99_ms, 3);
    report.figure("p999_ms", half.p999_ms, 3);
    Ok(())
}
