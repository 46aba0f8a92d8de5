//! Scripts against the scheduler: commands, a line of dashes, and what the scheduler then says.
//!
//! `WEIR_BLESS=1 cargo test -p weir-scheduler` writes the answers anew; commit only differences that you can explain.

mod chronos;
mod cluster;
mod kinds;
mod place;
mod show;
mod store;
mod visits;

use std::{fs, path::PathBuf};

use cluster::Cluster;

/// Runs one script; returns it with the answers that were given.
fn run(text: &str) -> String {
    let mut cluster = Cluster::new();
    let mut out = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        let Some((commands, _)) = block.split_once("----") else {
            // A paragraph that says what the script is about.
            out.push_str(block);
            out.push('\n');
            continue;
        };
        out.push_str(commands);
        out.push_str("----\n");
        for command in commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            cluster.command(command);
        }
        let trace = cluster.take_trace();
        out.push_str(if trace.is_empty() { "(nothing)\n" } else { &trace });
    }
    out
}

#[test]
fn scripts_give_the_committed_answers() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the scripts are missing");
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let given = run(&text);
        if std::env::var_os("WEIR_BLESS").is_some() {
            fs::write(&path, &given).unwrap();
        } else {
            assert_eq!(given, text, "{} answers differently", path.display());
        }
    }
}
