//! `deterministic = true`: two runs of one spec on two executors give the same result, output and fuel.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{Cluster, Options, binaries::guest, wctl::field};

/// A guest of the examples: its target, its name, arguments of `deploy`, and the exit code of that.
type Example = (&'static str, &'static str, &'static [&'static str], i32);

const EXAMPLES: &[Example] = &[
    ("wasm32-wasip1", "echo-wasi", &["--input", "some words", "--arg", "a", "--env", "LANG=C"], 0),
    ("wasm32-wasip2", "echo-wasi", &["--input", "some words", "--arg", "a", "--env", "LANG=C"], 0),
    ("wasm32-wasip2", "hello", &["--input", r#"{"name": "Ada"}"#], 0),
    ("wasm32-wasip2", "primes", &["--count", "3", "--input", r#"{"from": 1000000, "per_task": 1000}"#], 0),
    ("wasm32-wasip2", "wordcount", &["--count", "2", "--grant", "dir:corpus:/data"], 0),
    ("wasm32-wasip2", "hostile-spin", &["--fuel", "1e8"], 11),
    ("wasm32-wasip2", "hostile-grow", &["--memory", "32MiB"], 11),
    ("wasm32-wasip2", "hostile-recurse", &[], 11),
    ("wasm32-wasip2", "hostile-flood", &["--output-limit", "64KiB"], 11),
];

/// How a task ended, why, its fuel, its result and what it wrote.
type Seen = (Value, Value, Value, String, String);

/// What the tasks of a run came to.
fn seen(cluster: &Cluster, example: &Example, node: &str) -> Result<Vec<Seen>> {
    let (target, name, extra, code) = *example;
    let module = guest(target, name)?;
    let module = module.to_str().context("a path")?;
    let there = format!("node == {node}");
    let common = ["deploy", module, "--deterministic", "--retries", "0", "--constraint", &there, "-o", "json"];
    let answer = cluster.wctl(common.into_iter().chain(extra.iter().copied()))?.expect(code)?;
    let run = answer.json()?;
    let id = field(&run, "id")?.as_str().context("an id")?.to_owned();
    let count = field(&run, "count")?.as_u64().context("a count")?;
    let mut tasks = Vec::new();
    for index in 0..count {
        let task_id = format!("{id}.{index}");
        let task = cluster.wctl(["task", "inspect", &task_id, "-o", "json"])?.expect(0)?.json()?;
        let result = cluster.wctl(["task", "result", &task_id])?.text();
        let output = cluster.wctl(["logs", &task_id])?.text();
        let of = |key: &str| task.get(key).cloned().unwrap_or(Value::Null);
        tasks.push((of("state"), of("reason"), field(&task, "usage.fuel")?.clone(), result, output));
    }
    Ok(tasks)
}

/// Every folder of the examples that has a guest is among them, but those that need more than a deterministic job has.
fn none_is_missing() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for parent in [root.clone(), root.join("hostile")] {
        for entry in std::fs::read_dir(&parent)? {
            let manifest = entry?.path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
            let name = text.lines().find_map(|line| line.strip_prefix("name = ")).context("a name")?.trim_matches('"');
            let run = ["hostile-fill", "client"].contains(&name) || EXAMPLES.iter().any(|example| example.1 == name);
            ensure!(run, "{name} is not run");
        }
    }
    Ok(())
}

#[test]
fn all_examples_end_alike_on_two_executors() {
    let run = || -> Result<()> {
        none_is_missing()?;
        let corpus = tempfile::tempdir()?;
        std::fs::write(corpus.path().join("text.txt"), "the weir holds the river back\n".repeat(100))?;
        let publish = vec![("corpus".to_owned(), corpus.path().to_owned())];
        // Guests in processes of their own on the first, on threads of the daemon on the second.
        let mut cluster = Cluster::start(&Options { executors: 1, spare: 1, publish, ..Options::default() })?;
        cluster.set_executor_args(&["--isolation", "in_process"]);
        cluster.start_executor(1)?;
        for example in EXAMPLES {
            let first = seen(&cluster, example, "node-1")?;
            let second = seen(&cluster, example, "node-2")?;
            ensure!(first == second, "{}: {first:#?} is not {second:#?}", example.1);
            ensure!(seen(&cluster, example, "node-1")? == first, "{}: another one on the same node", example.1);
        }
        Ok(())
    };
    run().expect("the test passes");
}
