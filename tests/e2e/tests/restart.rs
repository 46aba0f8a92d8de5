//! What survives `kill -9`: everything that was accepted, and every outcome that was recorded.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{Cluster, Options, Store, binaries::guest, daemon::Daemon, etcd::Etcd, skip, until, wctl::field};

/// Runs a test on both stores; on etcd only where there is one.
fn on_both_stores(test: &str, run: impl Fn(Store) -> Result<()>) {
    run(Store::Embedded).expect("the test passes on the embedded store");
    if Etcd::is_installed() {
        run(Store::Etcd).expect("the test passes on etcd");
    } else {
        skip::note(test, "etcd is not installed");
    }
}

fn start(store: Store, executors: usize) -> Result<Cluster> {
    Cluster::start(&Options { store, executors, ..Options::default() })
}

/// Deploys the prime counter as an array and gives the run's id.
fn deploy_primes(cluster: &Cluster, count: u32, per_task: u32) -> Result<String> {
    let module = guest("wasm32-wasip2", "primes")?;
    let input = format!(r#"{{"from":1000000,"per_task":{per_task}}}"#);
    let count = count.to_string();
    let arguments = ["deploy", module.to_str().context("a path")?, "--count", &count, "--input", &input];
    let answer = cluster.wctl(arguments.into_iter().chain(["--cpu", "1", "--detach", "-o", "json"]))?.expect(0)?;
    Ok(field(&answer.json()?, "id")?.as_str().context("an id")?.to_owned())
}

fn run_of(cluster: &Cluster, run: &str) -> Result<Value> {
    cluster.wctl(["status", run, "-o", "json"])?.expect(0)?.json()
}

fn succeeded(run: &Value) -> Result<u64> {
    field(run, "tasks.succeeded")?.as_u64().context("a number")
}

/// Waits until at least one task of the run has ended, by asking for its state: there is nothing else to wait for.
fn some_ended(cluster: &Cluster, run: &str) -> Result<u64> {
    for _ in 0..10_000 {
        let ended = succeeded(&run_of(cluster, run)?)?;
        if ended > 0 {
            return Ok(ended);
        }
    }
    anyhow::bail!("no task ends")
}

#[test]
fn the_control_plane_goes_on_after_kill_9() {
    on_both_stores("the_control_plane_goes_on_after_kill_9", |store| {
        let mut cluster = start(store, 1)?;
        let run = deploy_primes(&cluster, 60, 20_000)?;
        let before = some_ended(&cluster, &run)?;
        cluster.control_mut().kill9()?;
        // Somebody begins to wait while nobody answers.
        let mut wait = Daemon::start("wctl", &mut cluster.wctl_command(["wait", &run, "--timeout", "300s"])?)?;
        wait.wait_for_line(&["trying again"], Duration::from_secs(60))?;
        cluster.start_control()?;
        let after = succeeded(&run_of(&cluster, &run)?)?;
        ensure!(after >= before, "{before} tasks had succeeded, and after the restart {after}");
        ensure!(wait.wait_exit(Duration::from_secs(300))?.success(), "the wait failed: {}", wait.tail(20));
        ensure!(succeeded(&run_of(&cluster, &run)?)? == 60);
        let result = cluster.wctl(["task", "result", &format!("{run}.59")])?.expect(0)?;
        ensure!(field(&result.json()?, "count")?.as_u64().is_some_and(|count| count > 0));
        Ok(())
    });
}

#[test]
fn tasks_that_run_go_on_while_the_control_plane_is_killed() {
    on_both_stores("tasks_that_run_go_on_while_the_control_plane_is_killed", |store| {
        let mut cluster = start(store, 2)?;
        let spin = guest("wasm32-wasip1", "hostile-spin")?;
        let arguments = ["deploy", spin.to_str().context("a path")?, "--count", "4", "--cpu", "0.1", "--fuel", "1e15"];
        let arguments = arguments.into_iter().chain(["--timeout", "10m", "--detach", "-o", "json"]);
        let run = cluster.wctl(arguments)?.expect(0)?.json()?;
        let run = field(&run, "id")?.as_str().context("an id")?.to_owned();
        let before = until("all tasks run", || {
            let placed = placed(&cluster, &run)?;
            Ok((placed.len() == 4).then_some(placed))
        })?;
        cluster.control_mut().kill9()?;
        cluster.start_control()?;
        until("both nodes are back", || {
            let nodes = cluster.wctl(["node", "list", "-o", "json"])?.expect(0)?.json()?;
            let nodes = field(&nodes, "items")?.as_array().context("a list")?;
            let ready = nodes.iter().filter(|node| node.get("state").is_some_and(|state| state == "ready"));
            Ok((ready.count() == 2).then_some(()))
        })?;
        let after = until("all tasks run again", || {
            let placed = placed(&cluster, &run)?;
            Ok((placed.len() == 4).then_some(placed))
        })?;
        ensure!(before == after, "tasks were started again: {before:?} became {after:?}\n{}", cluster.logs());
        let state = run_of(&cluster, &run)?;
        ensure!(!cluster.control_mut().has_said("node lost"), "a node was given up:\n{}", cluster.logs());
        ensure!(field(&state, "retries")? == 0, "tasks were tried again: {state}");
        cluster.wctl(["stop", &run, "--wait", "--timeout", "60s"])?.expect(0)?;
        Ok(())
    });
}

/// The running tasks of a run: index, node and attempt.
fn placed(cluster: &Cluster, run: &str) -> Result<Vec<[String; 3]>> {
    let tasks = cluster.wctl(["task", "list", run, "-o", "json"])?.expect(0)?.json()?;
    let running = field(&tasks, "items")?.as_array().context("a list")?.iter();
    let running = running.filter(|task| task.get("state").is_some_and(|state| state == "running"));
    running
        .map(|task| {
            let [index, node, attempt] =
                ["index", "node", "attempt"].map(|name| field(task, name).map(Value::to_string));
            Ok([index?, node?, attempt?])
        })
        .collect()
}

#[test]
fn an_executor_that_is_killed_loses_no_task() {
    let run = || -> Result<()> {
        let mut cluster = start(Store::Embedded, 2)?;
        let run = deploy_primes(&cluster, 40, 20_000)?;
        some_ended(&cluster, &run)?;
        cluster.executor_mut(0).kill9()?;
        cluster.start_executor(0)?;
        cluster.wctl(["wait", &run, "--timeout", "300s"])?.expect(0)?;
        ensure!(succeeded(&run_of(&cluster, &run)?)? == 40);
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn an_etcd_that_dies_and_comes_back_loses_nothing() {
    if !Etcd::is_installed() {
        return skip::note("an_etcd_that_dies_and_comes_back_loses_nothing", "etcd is not installed");
    }
    let run = || -> Result<()> {
        let mut cluster = start(Store::Etcd, 1)?;
        let run = deploy_primes(&cluster, 40, 20_000)?;
        some_ended(&cluster, &run)?;
        cluster.etcd_mut().kill9()?;
        cluster.control_mut().wait_for_line(&["the store does not work"], Duration::from_secs(60))?;
        cluster.etcd_mut().restart()?;
        cluster.wctl(["wait", &run, "--timeout", "300s"])?.expect(0)?;
        ensure!(succeeded(&run_of(&cluster, &run)?)? == 40);
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn results_and_logs_survive_the_executor() {
    let run = || -> Result<()> {
        let mut cluster = start(Store::Embedded, 1)?;
        let module = guest("wasm32-wasip2", "hello")?;
        let module = module.to_str().context("a path")?;
        let answer = cluster.wctl(["deploy", module, "--input", r#"{"name":"Ada"}"#, "-o", "json"])?.expect(0)?;
        let id = field(&answer.json()?, "id")?.as_str().context("an id")?.to_owned();
        cluster.executor_mut(0).kill9()?;
        std::fs::remove_dir_all(cluster.dir().join("node-1")).context("remove the executor's directory")?;
        let result = cluster.wctl(["task", "result", &id])?.expect(0)?;
        ensure!(result.text().contains("Hello, Ada!"), "{}", result.text());
        let log = cluster.wctl(["logs", &id])?.expect(0)?;
        ensure!(!log.text().is_empty(), "the log is empty");
        Ok(())
    };
    run().expect("the test passes");
}
