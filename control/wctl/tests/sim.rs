//! `wctl sim` as a program: files in, a report out.
#![cfg(test)]
#![cfg(feature = "sim")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sim/testdata").join(name)
}

fn wctl(arguments: &[&str]) -> Output {
    let files = |text: &&str| text.strip_prefix('@').map_or_else(|| PathBuf::from(text), testdata);
    Command::new(env!("CARGO_BIN_EXE_wctl")).args(arguments.iter().map(files)).output().unwrap()
}

#[test]
fn the_example_prints_its_report() {
    let files = ["sim", "--nodes", "@what-if/nodes.toml", "--workload", "@what-if/trace.jsonl"];
    let output = wctl(&files);
    assert!(output.status.success(), "{output:?}");
    let expected = std::fs::read_to_string(testdata("what-if/report.txt")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

    let output = wctl(&[&files[..], &["-o", "json", "--placement", "pack", "--compare"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["nodes"], 12);
    assert!(report["oversubscription"]["cpu_gained"].is_number(), "{report}");
}

#[test]
fn a_public_trace_is_converted() {
    let output = wctl(&["sim", "convert", "--format", "alibaba-2018", "@alibaba-2018/batch_task.csv"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 7);
    assert!(String::from_utf8(output.stderr).unwrap().contains("lines were left out"));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (arguments, code, expected) in [
        (
            &["sim", "--nodes", "@what-if/trace.jsonl", "--workload", "@what-if/trace.jsonl"][..],
            3,
            "trace.jsonl line 1",
        ),
        (&["sim", "--nodes", "@what-if/nodes.toml", "--workload", "@what-if/nodes.toml"], 3, "nodes.toml line 1"),
        (&["sim", "--nodes", "@none", "--workload", "@what-if/trace.jsonl"], 4, "none"),
        (&["sim", "convert", "--format", "alibaba-2018", "@what-if/nodes.toml"], 3, "line 1"),
        (&["sim", "--nodes", "@what-if/nodes.toml"], 2, "--workload"),
    ] {
        let output = wctl(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}
