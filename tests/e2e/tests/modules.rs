//! The three kinds of modules, alone and in arrays.

use anyhow::{Context, Result, ensure};
use weir_e2e::{Answer, Cluster, Options, binaries::guest, wctl::field};

fn one_node() -> Result<Cluster> {
    Cluster::start(&Options { executors: 1, ..Options::default() })
}

fn module(target: &str, name: &str) -> Result<String> {
    Ok(guest(target, name)?.to_str().context("a path")?.to_owned())
}

#[test]
fn a_command_of_preview_1_keeps_its_exit_code_and_reads_stdin() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let echo = module("wasm32-wasip1", "echo-wasi")?;
        for code in [0, 1, 42, 255] {
            let text = code.to_string();
            let arguments = ["run", &echo, "--propagate-exit", "--input", "some words", "--", "--exit", &text];
            let answer = cluster.wctl(arguments)?.expect(code)?;
            ensure!(answer.text().contains("stdin 10 bytes"), "{}", answer.text());
        }
        let failed = cluster.wctl(["run", &echo, "-o", "json", "--", "--exit", "42"])?.expect(11)?;
        ensure!(failed.stderr.contains("42"), "{}", failed.stderr);
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn commands_of_both_previews_run_in_arrays_with_items() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        std::fs::write(cluster.dir().join("items.txt"), "alpha\nbeta\ngamma\n")?;
        for target in ["wasm32-wasip1", "wasm32-wasip2"] {
            let echo = module(target, "echo-wasi")?;
            let answer = cluster.wctl(["deploy", &echo, "--items", "items.txt", "-o", "json"])?.expect(0)?;
            let id = field(&answer.json()?, "id")?.as_str().context("an id")?.to_owned();
            for (index, item) in ["alpha", "beta", "gamma"].into_iter().enumerate() {
                let text = cluster.wctl(["task", "result", &format!("{id}.{index}")])?.expect(0)?.text();
                ensure!(text.contains(&format!("stdin {} bytes", item.len())) && text.contains(item), "{text}");
                ensure!(text.contains(&format!("env WEIR_TASK_INDEX={index}")), "{text}");
                ensure!(text.contains("env WEIR_TASK_COUNT=3"), "{text}");
                let foreign = text.lines().filter(|line| line.starts_with("env ") && !line.starts_with("env WEIR_"));
                ensure!(foreign.count() == 0, "the guest sees the host's environment: {text}");
            }
        }
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn a_task_of_the_sdk_gets_its_input_and_returns_its_output() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let hello = module("wasm32-wasip2", "hello")?;
        let answer = cluster.wctl(["run", &hello, "--input", r#"{"name":"Ada"}"#])?.expect(0)?;
        ensure!(field(&answer.json()?, "greeting")? == "Hello, Ada!", "{}", answer.text());
        let failed = cluster.wctl(["run", &hello, "--input", r#"{"name":""}"#])?.expect(11)?;
        ensure!(failed.stderr.contains("the name is empty"), "{}", failed.stderr);
        let invalid = cluster.wctl(["run", &hello, "--input", r#"{"nme":"Ada"}"#])?.expect(11)?;
        ensure!(invalid.stderr.contains("unknown field `nme`"), "{}", invalid.stderr);
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn hostile_guests_end_with_their_reason_and_usage() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let cases = [
            ("hostile-spin", ["--fuel", "1e8"], "fuel_exhausted"),
            ("hostile-grow", ["--memory", "32MiB"], "memory_limit"),
            ("hostile-flood", ["--output-limit", "64KiB"], "output_limit"),
        ];
        for (name, limit, reason) in cases {
            let guest = module("wasm32-wasip2", name)?;
            let arguments = ["deploy", &guest, "--retries", "0", "-o", "json"].into_iter().chain(limit);
            let answer: Answer = cluster.wctl(arguments)?.expect(11)?;
            let id = field(&answer.json()?, "id")?.as_str().context("an id")?.to_owned();
            let task = cluster.wctl(["task", "inspect", &id, "-o", "json"])?.expect(0)?.json()?;
            ensure!(field(&task, "reason")? == reason, "{name}: {task}");
            ensure!(field(&task, "usage.fuel")?.as_u64().is_some_and(|fuel| fuel > 0), "{name}: {task}");
        }
        Ok(())
    };
    run().expect("the test passes");
}
