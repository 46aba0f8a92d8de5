//! Many small runs, submitted in bulk: ranges of one task, and independent tasks.

use std::{collections::HashSet, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};
use weir_api::{BATCH_ITEMS_MAX, BatchItem, BatchRequest, PageQuery, RunRequest};
use weir_client::Client;

use super::results;
use crate::{
    report::Report,
    system::{NAMESPACE, System, bound_by},
};

const JOB: &str = "small";
/// Tasks of a run of which every grant has one task: the scheduler gives out ranges of what is pending divided by twice
/// the lanes, and even one worker has 64 of them when a task takes 0.01 cores.
const RUN_TASKS: u32 = 100;
/// Runs of those.
const RUNS: usize = 1000;
/// Runs of a single task each.
const SINGLES: usize = 20_000;
/// Bulk submissions in flight.
const IN_FLIGHT: usize = 2;
/// Runs whose results are read at a time, after the clock was stopped.
const READERS: usize = 32;
/// Runs in one page of the list.
const PAGE_LEN: u32 = 10_000;
/// Of this many runs, what the tasks returned is read; that all of their tasks succeeded is read of every run.
const RUNS_READ: usize = 1000;

/// Measures both kinds.
pub(super) async fn measure(system: &System, client: Arc<Client>, wasm: &[u8], report: &mut Report) -> Result<()> {
    system.deploy_small(json!({ "name": JOB }), 0.01, wasm).await?;
    bulk(system, &client, 10, RUN_TASKS).await?;
    let (rate, bound) = bulk(system, &client, RUNS, RUN_TASKS).await?;
    report
        .row("length 1", format!("{RUNS} runs of {RUN_TASKS} tasks, so that each grant has one task; one submission"));
    report.figure("length1_tasks_per_s", rate, 0);
    report.row("length 1 bound by", bound);
    let (rate, bound) = bulk(system, &client, SINGLES, 1).await?;
    let calls = SINGLES.div_ceil(BATCH_ITEMS_MAX);
    report.row("jobs", format!("{SINGLES} runs of one task in {calls} bulk submissions, {IN_FLIGHT} at a time"));
    report.figure("jobs_per_s", rate, 0);
    report.row("jobs bound by", bound);
    Ok(())
}

/// Submits runs of `tasks` tasks each and waits for the end of all; tasks per second, and what bounds them. Every result
/// is read back.
async fn bulk(system: &System, client: &Arc<Client>, runs: usize, tasks: u32) -> Result<(f64, String)> {
    let (before, began) = (system.cpu()?, Instant::now());
    let ids = submit(client, runs, tasks).await?;
    system.quiet().await?;
    let seconds = began.elapsed().as_secs_f64();
    let bound = bound_by(&before, &system.cpu()?, seconds);
    ensure!(ids.len() == runs, "{} of {runs} runs were started", ids.len());
    read_back(client, ids, tasks).await?;
    Ok((runs as f64 * f64::from(tasks) / seconds, bound))
}

async fn submit(client: &Arc<Client>, runs: usize, tasks: u32) -> Result<Vec<String>> {
    let item = RunRequest { job: JOB.to_owned(), count: Some(tasks), ..RunRequest::default() };
    let gate = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut calls = JoinSet::new();
    for first in (0..runs).step_by(BATCH_ITEMS_MAX) {
        let request = BatchRequest { items: vec![item.clone(); BATCH_ITEMS_MAX.min(runs - first)] };
        let (client, gate) = (Arc::clone(client), Arc::clone(&gate));
        calls.spawn(async move {
            let _permit = gate.acquire().await;
            client.start_runs(NAMESPACE, &request, None).await
        });
    }
    let mut ids = Vec::new();
    while let Some(answer) = calls.join_next().await {
        for item in answer?.context("submit in bulk")?.items {
            match item {
                BatchItem::Run(run) => ids.push(run.id),
                BatchItem::Error(problem) => anyhow::bail!("a run was refused: {}", problem.detail),
            }
        }
    }
    Ok(ids)
}

async fn read_back(client: &Arc<Client>, mut ids: Vec<String>, tasks: u32) -> Result<()> {
    let succeeded = succeeded(client, tasks).await?;
    ensure!(ids.iter().all(|id| succeeded.contains(id)), "not all runs have succeeded");
    let each = ids.len().div_ceil(RUNS_READ);
    let mut number = 0;
    ids.retain(|_| {
        number += 1;
        number % each == 0
    });
    let gate = Arc::new(Semaphore::new(READERS));
    let mut readers = JoinSet::new();
    for id in ids {
        let permit = Arc::clone(&gate).acquire_owned().await.context("a reader")?;
        let client = Arc::clone(client);
        readers.spawn(async move {
            let _permit = permit;
            results::check(&client, &id, tasks).await.with_context(|| format!("run {id}"))
        });
        while let Some(read) = readers.try_join_next() {
            read??;
        }
    }
    while let Some(read) = readers.join_next().await {
        read??;
    }
    Ok(())
}

/// The runs of which all of so many tasks succeeded.
async fn succeeded(client: &Client, tasks: u32) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    let mut page = PageQuery { limit: Some(PAGE_LEN), job: Some(JOB.to_owned()), ..PageQuery::default() };
    loop {
        let runs = client.runs(NAMESPACE, &page).await.context("list the runs")?;
        let whole = runs.items.into_iter().filter(|run| run.count == tasks && run.tasks.succeeded == u64::from(tasks));
        found.extend(whole.map(|run| run.id));
        match runs.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(found),
        }
    }
}
