//! `failover`: of three replicas the leader is killed with -9, again and again, while services run and a batch goes on.
//!
//! The time is that from the kill to the durable outcome of the first task that was submitted after it, through the
//! replicas that are left: the first new grant is before that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::time::interval;
use weir_api::{PageQuery, Run, RunQuery, RunRequest, Until};
use weir_client::Client;
use weir_e2e::Options;

use crate::{
    null,
    report::{Report, median},
    system::{NAMESPACE, System, client},
};

const REPLICAS: usize = 3;
const SERVICE: &str = "web";
const BATCH: &str = "batch";
const PROBE: &str = "probe";
/// What a leader says when it gives a node up.
const NODE_LOST: &str = "node lost";
/// Leaders that are asked to stop.
const STEP_DOWNS: usize = 10;
/// Tasks of the service.
const SERVICE_TASKS: u32 = 3;
/// Tasks of one run of the batch; one run follows the other.
const BATCH_TASKS: u32 = 20_000;
/// The longest wait for a replica to take over.
const TAKEOVER_MAX: Duration = Duration::from_secs(60);
/// The pause between two tries to submit: it adds to what is measured.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// A service's task: it sleeps for ever.
const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 1000000000))
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $again))))"#;

pub(crate) fn run(kills: u32) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let mut report = Report::new("failover");
    runtime.block_on(measure(kills, &mut report))?;
    report.print()
}

/// What becomes of a leader.
#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    StepDown,
}

async fn measure(kills: u32, report: &mut Report) -> Result<()> {
    let options = Options { standbys: REPLICAS - 1, executors: 2, ..Options::default() };
    let mut system = System::with(&options)?;
    let service = start_service(&system).await?;
    system.deploy(PROBE, &null::module()?).await?;
    system.deploy(BATCH, &null::module()?).await?;
    let load = Arc::<Load>::default();
    let addresses = (0..REPLICAS).map(|replica| system.cluster.address_of(replica)).collect();
    let batch = tokio::spawn(keep_submitting(client(&system.cluster, addresses)?, Arc::clone(&load)));

    let (mut seconds, mut lost_nodes) = (Vec::new(), 0);
    let mut stepped_down = Vec::new();
    let rounds = std::iter::repeat_n(End::Kill, kills as usize).chain([End::StepDown; STEP_DOWNS]);
    for end in rounds {
        let leader = settled(&system, &load).await?;
        let left = (0..REPLICAS).filter(|replica| *replica != leader).map(|replica| system.cluster.address_of(replica));
        let left = left.map(|address| client(&system.cluster, vec![address])).collect::<Result<Vec<_>>>()?;
        // What it has said goes with it.
        lost_nodes += u64::from(system.cluster.replica_mut(leader).has_said(NODE_LOST));
        let ended = Instant::now();
        match end {
            End::Kill => {
                system.cluster.replica_mut(leader).kill9()?;
                probe(&left).await?;
                seconds.push(ended.elapsed().as_secs_f64());
            }
            End::StepDown => {
                system.cluster.replica_mut(leader).signal("TERM")?;
                probe(&left).await?;
                stepped_down.push(ended.elapsed().as_secs_f64());
                system.cluster.replica_mut(leader).wait_exit(TAKEOVER_MAX)?;
            }
        }
        system.cluster.start_standby(leader)?;
    }
    load.stop.store(true, Ordering::Relaxed);
    let (runs, longest_s) = batch.await.context("the batch")??;
    let (lost, doubled) = count_outcomes(&system, &runs).await?;
    let service = system.client.run(NAMESPACE, &service, &RunQuery::default()).await?;
    lost_nodes += (0..REPLICAS).map(|at| u64::from(system.cluster.replica_mut(at).has_said(NODE_LOST))).sum::<u64>();

    report.row("kills", format!("{kills} of the leader of {REPLICAS} replicas, with default settings"));
    report.row("step-downs", format!("{STEP_DOWNS} after that: SIGTERM to the leader"));
    report.row("load", format!("{} batches of {BATCH_TASKS} null tasks, and a service of {SERVICE_TASKS}", runs.len()));
    report.row("longest batch", format!("{longest_s:.2} s"));
    report.row("bound by", "the leader's lease of 3 s, then the way of the executors to the next leader");
    report.figure("median_s", median(seconds.clone()), 3);
    report.figure("step_down_median_s", median(stepped_down.clone()), 3);
    report.figure("step_down_max_s", stepped_down.iter().copied().fold(0.0, f64::max), 3);
    report.figure("max_s", seconds.iter().copied().fold(0.0, f64::max), 3);
    for (key, count) in
        [("lost", lost), ("doubled", doubled), ("false_lost", lost_nodes), ("services_restarted", service.retries)]
    {
        report.figure(key, f64::from(u32::try_from(count).unwrap_or(u32::MAX)), 0);
    }
    Ok(())
}

async fn start_service(system: &System) -> Result<String> {
    let job = json!({ "name": SERVICE, "kind": "service", "count": SERVICE_TASKS });
    system.deploy_with(job, &wat::parse_str(SLEEP).context("assemble a module")?).await?;
    let request = RunRequest { job: SERVICE.to_owned(), ..RunRequest::default() };
    let run = system.client.start_run(NAMESPACE, &request, None).await.context("start the service")?;
    let query = RunQuery { wait: Some("30s".to_owned()), until: Some(Until::Healthy), ..RunQuery::default() };
    let healthy = system.client.run(NAMESPACE, &run.id, &query).await?;
    ensure!(healthy.healthy == Some(SERVICE_TASKS), "the service does not run: {healthy:?}");
    Ok(run.id)
}

/// The batches that follow each other.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    done: AtomicUsize,
}

/// Waits until one replica leads, all nodes are ready, and a batch has ended under that leader, so that the next one goes
/// on; gives the leader.
async fn settled(system: &System, load: &Load) -> Result<usize> {
    let done = load.done.load(Ordering::Relaxed);
    let (begun, mut pause) = (Instant::now(), interval(PROBE_PAUSE));
    while begun.elapsed() < TAKEOVER_MAX {
        if let Some(leader) = system.cluster.leader()?
            && let Ok(page) = system.client.nodes(&PageQuery::default()).await
            && page.items.iter().all(|node| node.state == weir_api::NodeState::Ready)
            && load.done.load(Ordering::Relaxed) > done
        {
            return Ok(leader);
        }
        pause.tick().await;
    }
    bail!("the cluster does not settle")
}

/// Has one task executed, whichever replica takes it.
async fn probe(replicas: &[Client]) -> Result<()> {
    let (begun, mut pause) = (Instant::now(), interval(PROBE_PAUSE));
    let request = RunRequest { job: PROBE.to_owned(), ..RunRequest::default() };
    for client in replicas.iter().cycle() {
        ensure!(begun.elapsed() < TAKEOVER_MAX, "nobody takes over");
        if let Ok(run) = client.start_run(NAMESPACE, &request, None).await {
            finish(client, &run.id).await?;
            return Ok(());
        }
        pause.tick().await;
    }
    bail!("there is no replica left")
}

async fn finish(client: &Client, run: &str) -> Result<Run> {
    let query = RunQuery { wait: Some("10s".to_owned()), until: Some(Until::Terminal), ..RunQuery::default() };
    let (begun, mut pause) = (Instant::now(), interval(PROBE_PAUSE));
    while begun.elapsed() < TAKEOVER_MAX {
        match client.run(NAMESPACE, run, &query).await {
            Ok(run) if run.state.is_terminal() => return Ok(run),
            Ok(_) => {}
            // The leader may be gone again.
            Err(_) => drop(pause.tick().await),
        }
    }
    bail!("run {run} does not end")
}

/// Submits one batch after the other, each under a key, as a client does that must not lose any; gives their runs, and
/// how long the longest took, seconds.
async fn keep_submitting(client: Client, load: Arc<Load>) -> Result<(Vec<String>, f64)> {
    let (mut runs, mut pause, mut longest_s) = (Vec::new(), interval(PROBE_PAUSE), 0f64);
    let request = RunRequest { job: BATCH.to_owned(), count: Some(BATCH_TASKS), ..RunRequest::default() };
    while !load.stop.load(Ordering::Relaxed) {
        let key = format!("batch-{}", runs.len());
        let begun = Instant::now();
        let run = loop {
            match client.start_run(NAMESPACE, &request, Some(&key)).await {
                Ok(run) => break run.id,
                Err(error) if begun.elapsed() > TAKEOVER_MAX => return Err(error).context("submit a batch"),
                Err(_) => drop(pause.tick().await),
            }
        };
        finish(&client, &run).await?;
        longest_s = longest_s.max(begun.elapsed().as_secs_f64());
        runs.push(run);
        load.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok((runs, longest_s))
}

/// Tasks of the batches that have no outcome, and results beyond the first of a task.
async fn count_outcomes(system: &System, runs: &[String]) -> Result<(u64, u64)> {
    let (mut lost, mut doubled) = (0, 0);
    for run in runs {
        let mut seen = vec![0u64; BATCH_TASKS as usize];
        let mut results = system.client.run_results(NAMESPACE, run).await.context("open the results")?;
        while let Some(result) = results.next().await.context("read the results")? {
            *seen.get_mut(result.index as usize).context("a result of no task")? += 1;
        }
        lost += seen.iter().filter(|seen| **seen == 0).count() as u64;
        doubled += seen.iter().map(|seen| seen.saturating_sub(1)).sum::<u64>();
    }
    Ok((lost, doubled))
}
