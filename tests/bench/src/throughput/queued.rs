//! What ten million queued tasks take of the control process' memory.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::interval;
use weir_api::RunQuery;
use weir_e2e::Options;

use crate::{
    report::Report,
    system::{NAMESPACE, System},
};

const JOB: &str = "queued";
/// The most that one run may have.
const TASKS: u32 = 10_000_000;
/// Memory is looked at this often, so many times; the highest counts.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Submits them to a cluster without an executor.
pub(super) async fn measure(wasm: &[u8], report: &mut Report) -> Result<()> {
    let mut system = System::with(&Options::default())?;
    system.deploy(JOB, wasm).await?;
    // The first submission touches code and tables that are not those of the tasks.
    system.start_run(JOB, 1).await?;
    let idle = highest(&mut system).await?;
    let run = system.start_run(JOB, TASKS).await?;
    let queued = highest(&mut system).await?;
    let run = system.client.run(NAMESPACE, &run.id, &RunQuery::default()).await?;
    ensure!(run.tasks.pending == u64::from(TASKS), "not all tasks are queued: {:?}", run.tasks);
    report.row("queued", format!("{TASKS} tasks of one array without an executor; {} MiB when idle", idle >> 20));
    report.figure("queued_10m_bytes", queued.saturating_sub(idle) as f64, 0);
    Ok(())
}

async fn highest(system: &mut System) -> Result<u64> {
    let (mut look, mut highest) = (interval(LOOK_EVERY), 0);
    for _ in 0..LOOKS {
        look.tick().await;
        highest = highest.max(system.control_rss_bytes()?);
    }
    Ok(highest)
}
