//! `cargo xtask demo`: the main job from end to end on this machine, shown command by command.

mod cluster;
mod corpus;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{cargo, run, say};
use crate::setup;
use crate::workspace::{self, GUEST_FOLDER, GUEST_TARGET};
use cluster::Cluster;

const STEPS: usize = 6;
/// Tasks that share the corpus.
const TASKS: usize = 4;
const JOB: &str = "wordcount";
/// Longest time for all tasks together; a second is usual.
const RUN_LIMIT: &str = "5m";
/// What each task gets on standard input.
const INPUT: &str = r#"{"path":"/data","top":5}"#;

/// Sets up, builds, starts a cluster, runs the word count on it, shows what came out, stops the cluster.
///
/// # Errors
/// Names the step that failed, why, and what to do.
pub(crate) fn demo() -> Result<()> {
    let root = workspace::root()?;
    step(1, "set-up", "finding out what this machine lacks", setup::setup)?;
    let wctl =
        step(2, "build", "building wctl and the word count guest (the first time takes minutes)", || build(&root))?;
    let place = workspace::target_folder(&root)?.join("demo");
    let text = place.join("corpus");
    let corpus = step(3, "corpus", "taking real text from this machine", || corpus::make(&text, &root))?;
    say(format!("demo: {corpus}, in {}", text.display()));
    let cluster = step(4, "cluster", "starting a control plane and an executor in one process", || {
        Cluster::start(&wctl, &place, &text)
    })?;
    let module = workspace::guest_target_folder(&root)?.join(GUEST_TARGET).join("release").join("wordcount.wasm");
    step(5, "word count", "deploying it as an array of tasks", || word_count(&cluster, &module, corpus.bytes()))?;
    step(6, "stop", "stopping the cluster", || cluster.stop())?;
    say("demo: done. The cluster's data and the corpus stay in the build folder until the next demo");
    Ok(())
}

fn step<T>(number: usize, name: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format!("\ndemo [{number}/{STEPS}] {name}: {what}"));
    work().with_context(|| format!("step {number} of {STEPS}, {name}, failed"))
}

fn build(root: &Path) -> Result<PathBuf> {
    // The same selection as the tests': cargo unites the features of what it builds together, so another selection would
    // build most dependencies once more.
    run(cargo().current_dir(root).args(["build", "--workspace", "--bins"])).context("wctl does not build")?;
    run(cargo().current_dir(root.join(GUEST_FOLDER)).args([
        "build",
        "--release",
        "--target",
        GUEST_TARGET,
        "--package",
        "wordcount",
    ]))
    .context("the guest does not build")?;
    Ok(workspace::target_folder(root)?.join("debug").join("wctl"))
}

fn word_count(cluster: &Cluster, module: &Path, corpus_bytes: u64) -> Result<()> {
    let module = module.to_str().context("the build folder's path is not UTF-8")?;
    let tasks = TASKS.to_string();
    let job = ["deploy", module, "--name", JOB, "--count", &tasks, "--cpu", "0.5"];
    let wishes = ["--grant", "dir:corpus:/data:ro", "--input", INPUT, "--wait", "--wait-timeout", RUN_LIMIT];
    cluster.show(&[&job[..], &wishes].concat())?;
    cluster.show(&["status"])?;
    cluster.show(&["status", JOB])?;
    let list = cluster.ask(&["task", "list", JOB, "-o", "json"])?;
    let mut counted = Counted::default();
    for task in task_ids(&list)? {
        let result = cluster.show_result(&["task", "result", task])?;
        counted.add(&result).with_context(|| format!("the result of {task} is not a word count: {result}"))?;
    }
    let first = task_ids(&list)?[0];
    cluster.show(&["task", "inspect", first])?;
    ensure!(
        counted.bytes == corpus_bytes,
        "the tasks counted the words of {} bytes, and the corpus has {corpus_bytes}",
        counted.bytes
    );
    say(format!("\ndemo: {TASKS} tasks counted {} words in all {corpus_bytes} bytes of the corpus", counted.words));
    Ok(())
}

fn task_ids(list: &Value) -> Result<Vec<&str>> {
    let items = list["items"].as_array().context("`wctl task list` lists nothing")?;
    let ids: Vec<&str> = items.iter().filter_map(|task| task["id"].as_str()).collect();
    ensure!(ids.len() == TASKS, "`wctl task list` lists {} tasks, {TASKS} were asked for", ids.len());
    Ok(ids)
}

/// What all tasks counted together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    bytes: u64,
    words: u64,
}

impl Counted {
    fn add(&mut self, result: &str) -> Result<()> {
        let result: Value = serde_json::from_str(result).context("it is not JSON")?;
        self.bytes += result["bytes"].as_u64().context("it has no `bytes`")?;
        self.words += result["words"].as_u64().context("it has no `words`")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counted = Counted::default();
        counted.add(r#"{"bytes":10,"words":2,"top":[]}"#).unwrap();
        counted.add(r#"{"bytes":5,"words":1}"#).unwrap();
        assert_eq!(counted, Counted { bytes: 15, words: 3 });
        assert!(counted.add("{}").is_err());
        assert!(counted.add("words").is_err());
    }

    #[test]
    fn every_task_must_be_listed() {
        let items: Vec<Value> = (0..TASKS).map(|index| json!({"id": format!("a.{index}")})).collect();
        assert_eq!(task_ids(&json!({"items": items})).unwrap().len(), TASKS);
        assert!(task_ids(&json!({"items": items[1..]})).is_err());
        assert!(task_ids(&json!({})).is_err());
    }
}
