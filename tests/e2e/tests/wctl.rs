//! The command line against a live cluster: formats, prefixes, exit codes, logs.

use anyhow::{Context, Result, ensure};
use weir_e2e::{Cluster, Options, binaries::guest, wctl::field};

fn one_node() -> Result<Cluster> {
    Cluster::start(&Options { executors: 1, ..Options::default() })
}

fn module(target: &str, name: &str) -> Result<String> {
    Ok(guest(target, name)?.to_str().context("a path")?.to_owned())
}

#[test]
fn a_module_is_described_alike_as_a_file_and_in_the_store() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        for (target, name, sdk) in [
            ("wasm32-wasip2", "hello", true),
            ("wasm32-wasip1", "echo-wasi", false),
            ("wasm32-wasip2", "echo-wasi", false),
        ] {
            let file = module(target, name)?;
            let here = cluster.wctl(["module", "inspect", &file, "-o", "json"])?.expect(0)?.json()?;
            let pushed = cluster.wctl(["module", "push", &file, "-o", "json"])?.expect(0)?.json()?;
            let digest = field(&here, "digest")?.as_str().context("a digest")?.to_owned();
            let stored = cluster.wctl(["module", "inspect", &digest, "-o", "json"])?.expect(0)?.json()?;
            ensure!(here == stored && here == pushed, "{here}\n{stored}\n{pushed}");
            ensure!(here["sdk"].is_string() == sdk, "{here}");
            let least = field(&here, "parts.memory_min_bytes")?.as_u64().context("bytes")?;
            ensure!(field(&here, "parts.memories")?.as_array().is_some_and(|memories| !memories.is_empty()), "{here}");
            let made_with = field(&here, "made_with")?.to_string();
            ensure!(made_with.contains("processed-by rustc "), "{here}");
            let table = cluster.wctl(["module", "inspect", &digest])?.expect(0)?.text();
            for part in ["memory of a task", "at least ", "initial memories and tables", "functions"] {
                ensure!(table.contains(part), "{table}");
            }
            // One byte below the estimate, a task does not start.
            let memory = format!("{}B", least - 1);
            let poor = cluster.wctl(["run", &file, "--memory", &memory, "--input", "{}"])?.expect(11)?;
            ensure!(poor.stderr.contains("memory_limit"), "{}", poor.stderr);
        }
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn every_reading_command_answers_in_json_and_as_a_table() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let hello = module("wasm32-wasip2", "hello")?;
        let run = cluster.wctl(["deploy", &hello, "--name", "greet", "-o", "json"])?.expect(0)?.json()?;
        let id = field(&run, "id")?.as_str().context("an id")?.to_owned();
        let task = format!("{id}.0");
        let digest = field(&run, "module")?.as_str().context("a digest")?.to_owned();
        let commands: [&[&str]; 20] = [
            &["status"],
            &["status", "greet"],
            &["status", &id],
            &["status", &task],
            &["module", "list"],
            &["module", "inspect", &digest],
            &["job", "list"],
            &["job", "inspect", "greet"],
            &["job", "why", "greet"],
            &["job", "history", "greet"],
            &["job", "graph"],
            &["cron", "list"],
            &["namespace", "list"],
            &["quota", "list"],
            &["task", "why", &task],
            &["task", "list", &id],
            &["task", "inspect", &task],
            &["node", "list"],
            &["node", "inspect", "node-1"],
            &["cluster", "info"],
        ];
        for command in commands {
            let json = cluster.wctl(command.iter().chain(&["-o", "json"]))?.expect(0);
            let json = json.and_then(|answer| answer.json()).with_context(|| format!("{command:?}"))?;
            ensure!(field(&json, "api")? == "v1", "{command:?}: {json}");
            let table = cluster.wctl(command)?.expect(0).with_context(|| format!("{command:?}"))?;
            ensure!(!table.stdout.is_empty(), "{command:?} shows nothing");
        }
        let prefix = &id[..6];
        let by_prefix = cluster.wctl(["status", prefix, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&by_prefix, "id")? == id.as_str(), "{by_prefix}");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn logs_follow_a_running_task_and_stop_ends_it() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let spin = module("wasm32-wasip1", "hostile-spin")?;
        let arguments = ["deploy", &spin, "--fuel", "1e15", "--timeout", "10m", "--detach", "-o", "json"];
        let id = cluster.wctl(arguments)?.expect(0)?.json()?;
        let id = field(&id, "id")?.as_str().context("an id")?.to_owned();
        cluster.wctl(["wait", &id, "--for", "running", "--timeout", "120s"])?.expect(0)?;
        cluster.wctl(["wait", &id, "--timeout", "10ms"])?.expect(8)?;
        cluster.wctl(["stop", &id, "--wait", "--timeout", "60s"])?.expect(0)?;
        let task = cluster.wctl(["task", "inspect", &id, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&task, "state")? == "killed", "{task}");
        ensure!(field(&task, "reason")? == "cancelled", "{task}");
        Ok(())
    };
    run().expect("the test passes");
}

/// A module that writes `tick` and a digit to stdout, `err` and the digit to stderr, and then sleeps for 200 ms; five
/// times.
const TICKING: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "tick 0\n")
  (data (i32.const 16) "err 0\n")
  (func (export "_start") (local $i i32)
    (i32.store (i32.const 32) (i32.const 0)) (i32.store (i32.const 36) (i32.const 7))
    (i32.store (i32.const 40) (i32.const 16)) (i32.store (i32.const 44) (i32.const 6))
    ;; a subscription to the monotonic clock
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 200000000))
    (loop $again
      (i32.store8 (i32.const 5) (i32.add (i32.const 48) (local.get $i)))
      (i32.store8 (i32.const 20) (i32.add (i32.const 48) (local.get $i)))
      (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 48)))
      (drop (call $write (i32.const 2) (i32.const 40) (i32.const 1) (i32.const 48)))
      (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 48)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 5))))))"#;

/// Demands each line exactly once, in order.
fn once_each(text: &str, word: &str) -> Result<()> {
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with(word)).collect();
    let expected: Vec<String> = (0..5).map(|i| format!("{word} {i}")).collect();
    ensure!(found == expected, "{word}: {text}");
    Ok(())
}

#[test]
fn what_a_task_writes_over_time_is_shown_once() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("tick.wasm");
        std::fs::write(&file, wat::parse_str(TICKING)?)?;
        let file = file.to_str().context("a path")?;

        let ran = cluster.wctl(["run", file])?.expect(0)?;
        ensure!(ran.text().lines().count() == 5, "{}", ran.text());
        once_each(&ran.text(), "tick")?;
        once_each(&ran.stderr, "err")?;

        let id = cluster.wctl(["deploy", file, "--detach", "-o", "json"])?.expect(0)?.json()?;
        let id = field(&id, "id")?.as_str().context("an id")?.to_owned();
        cluster.wctl(["wait", &id, "--for", "running", "--timeout", "60s"])?.expect(0)?;
        let log = cluster.wctl(["logs", &id, "-f"])?.expect(0)?.text();
        once_each(&log, "tick")?;
        once_each(&log, "err")?;
        let tail = cluster.wctl(["logs", &id, "--tail", "3", "--stdout"])?.expect(0)?.text();
        ensure!(tail == "tick 2\ntick 3\ntick 4\n", "{tail}");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn a_task_that_no_node_takes_says_why() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let hello = module("wasm32-wasip2", "hello")?;
        let arguments = ["deploy", &hello, "--constraint", "zone=mars", "--detach", "-o", "json"];
        let run = cluster.wctl(arguments)?.expect(0)?.json()?;
        let id = field(&run, "id")?.as_str().context("an id")?.to_owned();
        let why = cluster.wctl(["job", "why", &id])?.expect(0)?;
        ensure!(why.text().contains("zone"), "{}", why.text());
        cluster.wctl(["stop", &id, "--wait", "--timeout", "60s"])?.expect(0)?;
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn each_of_many_deploys_at_once_runs_its_own_spec() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let hello = module("wasm32-wasip2", "hello")?;
        let deployed = |number: u32| -> Result<String> {
            let env = format!("NUMBER={number}");
            let run =
                cluster.wctl(["deploy", &hello, "--name", "many", "--env", &env, "-o", "json"])?.expect(0)?.json()?;
            let version = field(&run, "version")?.to_string();
            let shown = cluster.wctl(["job", "inspect", "many", "--version", &version, "-o", "json"])?.expect(0)?;
            ensure!(shown.text().contains(&format!("\"{number}\"")), "version {version} is not that of {number}");
            Ok(version)
        };
        let versions: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..5).map(|number| scope.spawn(move || deployed(number))).collect();
            all.into_iter().map(|one| one.join().expect("a deploy")).collect::<Result<_>>()
        })?;
        ensure!(versions.iter().collect::<std::collections::BTreeSet<_>>().len() == 5, "{versions:?}");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn the_same_idempotency_key_starts_one_run() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let hello = module("wasm32-wasip2", "hello")?;
        let deploy = ["deploy", &hello, "--idempotency-key", "once", "-o", "json"];
        let first = cluster.wctl(deploy)?.expect(0)?.json()?;
        let second = cluster.wctl(deploy)?.expect(0)?.json()?;
        ensure!(field(&first, "id")? == field(&second, "id")?, "{first} {second}");
        // The key stands for the spec as well.
        let other = cluster.wctl(["deploy", &hello, "--idempotency-key", "once", "--env", "A=1"])?.expect(5)?;
        ensure!(other.stderr.contains("different request"), "{}", other.stderr);
        Ok(())
    };
    run().expect("the test passes");
}
