//! `latency`: warm dispatch of one task, from its submission to its recorded outcome.

use std::time::Instant;

use anyhow::{Context, Result};
use etcd_client::{Client, Txn, TxnOp};

use crate::{
    null,
    report::{Report, median, percentile},
    system::System,
};

const JOB: &str = "null";
const WARM_UP: u32 = 50;

pub(crate) fn run(runs: u32) -> Result<()> {
    let wasm = null::module()?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let mut report = Report::new("latency");
    runtime.block_on(measure(&wasm, runs, &mut report))?;
    report.print()
}

async fn measure(wasm: &[u8], runs: u32, report: &mut Report) -> Result<()> {
    let system = System::start()?;
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
    report.row("runs", format!("{runs} of one null task, one after the other, warm"));
    report.figure("p50_ms", percentile(&mut latencies, 0.50), 3);
    report.figure("p99_ms", percentile(&mut latencies, 0.99), 3);
    report.figure("etcd_commit_ms", median(commits), 3);
    Ok(())
}
