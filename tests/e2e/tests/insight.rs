//! What running tasks do, asked of real daemons whose guests run in worker processes.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{Cluster, Options, Store, guests, until, wctl::field};

const SPIN: &str = r#"(module
  (memory (export "memory") 1)
  (func $inner (loop $more (br $more)))
  (func (export "_start") (call $inner)))"#;
const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $naps (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256))))
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 300000000000))
    (call $naps)))"#;

/// Deploys a module, and waits until its task shows what it does; the task and what it shows.
fn live(cluster: &Cluster, name: &str, wat: &str) -> Result<(String, Value)> {
    let module = guests::write(cluster.dir(), name, wat)?;
    let arguments = ["deploy", &module, "--fuel", "1e15", "--timeout", "300s", "--detach", "-o", "json"];
    let run = cluster.wctl(arguments)?.expect(0)?.json()?;
    let task = format!("{}.0", field(&run, "id")?.as_str().context("an id")?);
    let live = until("the task shows what it does", || {
        let shown = cluster.wctl(["task", "inspect", &task, "-o", "json"])?;
        // On a busy machine the node may not have answered in time.
        if shown.code == 5 {
            return Ok(None);
        }
        let shown = shown.expect(0)?.json()?;
        Ok(shown.get("live").filter(|live| live["backtrace"].as_array().is_some_and(|all| !all.is_empty())).cloned())
    })?;
    Ok((task, live))
}

fn insight() -> Result<()> {
    let mut cluster = Cluster::start(&Options { store: Store::Embedded, executors: 1, ..Options::default() })?;
    let (spin, shown) = live(&cluster, "spin", SPIN)?;
    ensure!(shown["backtrace"][0].as_str().is_some_and(|frame| frame.contains("inner")), "{shown}");
    ensure!(shown["fuel"].as_u64() > Some(0) && shown["memory"] == 65_536 && shown["host_call"].is_null(), "{shown}");
    let (nap, _) = live(&cluster, "nap", SLEEP)?;
    let waits = cluster.wctl(["task", "inspect", &nap])?.expect(0)?.text();
    ensure!(waits.contains("waits in wasi_snapshot_preview1.poll_oneoff") && waits.contains("naps"), "{waits}");
    let profile = cluster.wctl(["task", "profile", &spin, "--for", "300ms"])?.expect(0)?.json()?;
    let samples = profile["threads"][0]["samples"]["length"].as_u64();
    ensure!(samples > Some(0) && profile["meta"]["preprocessedProfileVersion"].is_u64(), "{profile}");
    let file = cluster.dir().join("nap.json").display().to_string();
    let empty = cluster.wctl(["task", "profile", &nap, "--for", "100ms", "--output", &file])?.expect(0)?;
    ensure!(empty.stderr.contains("the profile is empty"), "{}", empty.stderr);

    let executor = cluster.executor_mut(0).pid().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &executor]).status();
    ensure!(signal("-STOP")?.success());
    let silent = cluster.wctl(["task", "inspect", &spin])?.expect(5)?;
    ensure!(signal("-CONT")?.success());
    ensure!(silent.stderr.contains("has not answered within 2 s"), "{}", silent.stderr);

    cluster.wctl(["stop", &spin, "--wait"])?.expect(0)?;
    let ended = cluster.wctl(["task", "profile", &spin])?.expect(5)?;
    ensure!(ended.stderr.contains("it has ended as killed: cancelled"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_running_task_shows_what_it_does_and_a_silent_node_is_not_waited_for() {
    insight().expect("the test passes");
}
