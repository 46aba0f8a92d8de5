//! Calls of a function and runs of a job while leaders are killed: each one that was acknowledged has one outcome.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weir_client::{
    Client,
    api::{PageQuery, Run, RunState},
};
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    daemon,
    guests::{self, CAT},
    until,
    wctl::Answer,
};

/// What is called, and what is run.
const JOBS: [&str; 2] = ["echo", "batch"];
/// Most calls of each; a page of the list of runs has room for all.
const CALLS_MAX: usize = 450;
/// Calls that are to be answered between two deaths.
const CALLS_BETWEEN: usize = 5;
/// How long a call waits for the next leader before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// One use of `wctl`.
struct Call {
    input: String,
    took: Duration,
    answer: Answer,
}

/// What is called one after the other, until it is enough.
struct Caller {
    job: &'static str,
    /// By their inputs; prepared, since the cluster is busy with being broken.
    commands: Vec<(String, Command)>,
}

impl Caller {
    fn prepare(cluster: &Cluster, job: &'static str) -> Result<Self> {
        let command = |number: usize| {
            let input = format!("{job} {number}");
            let verb: &[&str] = if job == "echo" { &["job", "dispatch"] } else { &["run"] };
            let command = cluster.wctl_command([verb, &[job, "--input", &input]].concat())?;
            Ok((input, command))
        };
        Ok(Self { job, commands: (0..CALLS_MAX).map(command).collect::<Result<_>>()? })
    }

    fn call(self, enough: &AtomicBool, answered: &AtomicUsize) -> Result<Vec<Call>> {
        let mut calls = Vec::new();
        for (input, mut command) in self.commands {
            if enough.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let answer = Answer::of(&mut command, b"")?;
            calls.push(Call { input, took: begun.elapsed(), answer });
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(calls)
    }
}

/// Kills whoever leads, again and again, while calls are made.
fn kill_leaders(cluster: &mut Cluster, answered: &[AtomicUsize; 2]) -> Result<()> {
    for _ in 0..3 {
        let before = answered.each_ref().map(|count| count.load(Ordering::Relaxed));
        until("calls are answered", || {
            let mut counts = answered.iter().zip(before);
            let enough = counts.all(|(count, before)| count.load(Ordering::Relaxed) >= before + CALLS_BETWEEN);
            Ok(enough.then_some(()))
        })?;
        let leader = until("somebody leads", || cluster.leader())?;
        let pid = cluster.replica_mut(leader).pid();
        daemon::signal(pid, "KILL")?;
        until("another replica leads", || Ok(cluster.leader()?.filter(|next| *next != leader)))?;
        cluster.start_standby(leader)?;
    }
    Ok(())
}

/// The runs of the two jobs and the results of their only task.
fn stored(cluster: &Cluster) -> Result<Vec<(Run, Vec<u8>)>> {
    let addresses = (0..3).map(|replica| cluster.address_of(replica)).collect();
    let (token, ca_pem) = (Some(cluster.token().to_owned()), Some(cluster.ca_pem()?));
    let client = Client::new(weir_client::Options { addresses, token, ca_pem })?;
    let read = async {
        let query = PageQuery { limit: Some(1000), ..PageQuery::default() };
        let mut stored = Vec::new();
        for run in client.runs("default", &query).await?.items {
            let result = client.task_result("default", &run.id, 0).await?;
            stored.push((run, result));
        }
        Ok::<_, weir_client::Error>(stored)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(read).context("read what is stored")
}

fn check(calls: &[Call], stored: &[(Run, Vec<u8>)]) -> Result<()> {
    let mut runs: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (run, result) in stored {
        ensure!(run.state == RunState::Succeeded && run.tasks.succeeded == 1, "{run:?}");
        *runs.entry(result).or_default() += 1;
    }
    for Call { input, took, answer } in calls {
        let count = runs.get(input.as_bytes()).copied().unwrap_or(0);
        if answer.code == 0 {
            ensure!(answer.text() == *input, "{input}: {answer:?}");
            ensure!(count == 1, "{input} was acknowledged and has {count} runs");
        } else {
            ensure!(answer.code == 7 && *took >= PATIENCE, "{input} failed after {took:?}: {answer:?}");
            ensure!(count <= 1, "{input} has {count} runs");
        }
    }
    Ok(())
}

#[test]
fn calls_and_runs_outlive_their_leaders() {
    let options = Options { standbys: 2, executors: 1, ..Options::default() };
    on_etcd("calls_and_runs_outlive_their_leaders", options, |cluster| {
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        cluster.wctl(["deploy", &cat, "--name", "echo", "--kind", "function"])?.expect(0)?;
        cluster.wctl(["deploy", &cat, "--name", "batch", "--input", "first"])?.expect(0)?;
        let (enough, answered) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 2]);
        let callers = [Caller::prepare(cluster, JOBS[0])?, Caller::prepare(cluster, JOBS[1])?];
        let calls = thread::scope(|scope| {
            let callers = callers.into_iter().zip(&answered);
            let running =
                callers.map(|(caller, answered)| (caller.job, scope.spawn(|| caller.call(&enough, answered))));
            let running: Vec<_> = running.collect();
            let killed = kill_leaders(cluster, &answered);
            enough.store(true, Ordering::Relaxed);
            let mut calls = Vec::new();
            for (job, caller) in running {
                calls.extend(caller.join().map_err(|_| anyhow::anyhow!("the caller of {job} panicked"))??);
            }
            killed.map(|()| calls)
        })?;
        for replica in 0..3 {
            // The executor only came to another leader.
            ensure!(!cluster.replica_mut(replica).has_said("restarted=true"), "replica {replica}");
        }
        let stored = stored(cluster)?;
        check(&calls, &stored)?;
        ensure!(calls.iter().filter(|call| call.answer.code == 0).count() > calls.len() / 2, "most calls failed");
        Ok(())
    });
}
