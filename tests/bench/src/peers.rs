//! `peers`: as many no-op functions on Ray and on Dask, and as many processes of `true`, in turn with ours in one run.

mod python;

use std::{process::Command, thread, time::Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    null,
    report::{Report, median},
    system::System,
    throughput::results,
};
use python::Python;

const JOB: &str = "null";
const ROUNDS: u32 = 3;
const WARM_UP: u32 = 2_000;
/// A program that ends at once: what a system that starts a process for each task pays at least.
const PROGRAM: &str = "true";

/// A peer from PyPI.
struct Peer {
    name: &'static str,
    script: &'static str,
    packages: &'static [&'static str],
    key: &'static str,
    lacks: &'static str,
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "ray",
        script: include_str!("peers/ray_tasks.py"),
        packages: &["ray"],
        key: "ray_ratio",
        lacks: "no outcome survives its driver, tasks share a process, nothing is metered or limited",
    },
    Peer {
        name: "dask",
        script: include_str!("peers/dask_tasks.py"),
        packages: &["dask[distributed]"],
        key: "dask_ratio",
        lacks: "no outcome survives its scheduler, tasks share a process, nothing is metered or limited",
    },
];

pub(crate) fn run(tasks: u32) -> Result<()> {
    let mut report = Report::new("peers");
    let pythons: Vec<Result<Python>> = PEERS.iter().map(|peer| Python::with(peer.name, peer.packages)).collect();
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let system = System::start()?;
    let wasm = null::module()?;
    runtime.block_on(async {
        system.deploy(JOB, &wasm).await?;
        ours(&system, WARM_UP).await
    })?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (mut weir, mut spawn) = (Vec::new(), Vec::new());
    let mut theirs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        weir.push(runtime.block_on(ours(&system, tasks))?);
        for ((peer, python), rates) in PEERS.iter().zip(&pythons).zip(&mut theirs) {
            if let Ok(python) = python {
                rates.push(python.tasks_per_s(peer.script, tasks, cores)?);
            }
        }
        spawn.push(processes_per_s(tasks, cores)?);
    }
    report.row("rounds", format!("{ROUNDS} of {tasks} tasks, in turn, on {cores} cores; medians"));
    report.row(
        "weir",
        format!("{:.0}/s; durable outcomes in etcd, a sandbox each, fuel and memory", median(weir.clone())),
    );
    for ((peer, python), rates) in PEERS.iter().zip(&pythons).zip(theirs) {
        match python {
            Ok(python) => {
                let rate = median(rates.clone());
                report.row(peer.name, format!("{rate:.0}/s with {}; {}", python.versions(peer.packages)?, peer.lacks));
                report.figure(peer.key, median_ratio(&weir, &rates), 1);
            }
            Err(why) => {
                weir_e2e::skip::note(peer.key, &format!("{why:#}"));
                report.absent(peer.key, &format!("{why:#}"));
            }
        }
    }
    let rate = median(spawn.clone());
    report.row(
        "posix_spawn",
        format!("{rate:.0}/s of `{PROGRAM}`; a process each, nothing recorded, metered or limited"),
    );
    report.figure("spawn_ratio", median_ratio(&weir, &spawn), 1);
    report.row(
        "bound by",
        "so few tasks are over soon: for ours, a commit before the first and one after the last count",
    );
    report.print()
}

/// Tasks per second of one array, from its submission to its last durable outcome; every result is read back.
async fn ours(system: &System, tasks: u32) -> Result<f64> {
    let began = Instant::now();
    let run = system.start_run(JOB, tasks).await?;
    system.finish(&run.id).await?;
    let seconds = began.elapsed().as_secs_f64();
    results::check(&system.client, &run.id, tasks).await?;
    Ok(f64::from(tasks) / seconds)
}

/// Processes per second, on as many threads as there are cores. Without anything to be done between fork and exec, the
/// standard library uses `posix_spawn`.
fn processes_per_s(tasks: u32, threads: usize) -> Result<f64> {
    let began = Instant::now();
    let count = u32::try_from(threads).unwrap_or(1).max(1);
    let start = |first: u32| {
        move || -> Result<()> {
            for _ in (first..tasks).step_by(count as usize) {
                let status = Command::new(PROGRAM).status().context("start a process")?;
                ensure!(status.success(), "`{PROGRAM}` failed");
            }
            Ok(())
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|first| scope.spawn(start(first))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    Ok(f64::from(tasks) / began.elapsed().as_secs_f64())
}

fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}
