//! `wctl run --local`: the sandbox without a cluster.

use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use weir_e2e::{binaries, guests, wctl::Answer};

/// Writes a line, and ends with code 3.
const WRITE_AND_FAIL: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\04\00\00\00")
  (data (i32.const 16) "why\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 3))))"#;

fn local(home: &TempDir, arguments: &[&str]) -> Result<Answer> {
    let mut command = Command::new(binaries::program("wctl")?);
    command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("WCTL_ADDR");
    command.current_dir(home.path()).args(["run", "--local"]).args(arguments);
    Answer::of(&mut command, b"from stdin")
}

fn runs() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cat = guests::write(home.path(), "cat", guests::CAT)?;
    let one = local(&home, &[&cat, "--input", "hello"])?.expect(0)?;
    ensure!(one.stdout == b"hello" && one.stderr.contains("1 task: fuel "), "{one:?}");
    ensure!(local(&home, &[&cat, "--input", "-"])?.expect(0)?.stdout == b"from stdin");
    std::fs::write(home.path().join("lines"), "a\nb\nc\n")?;
    let items = local(&home, &[&cat, "--items", "lines", "--output", "results"])?.expect(0)?;
    ensure!(items.stdout.is_empty() && std::fs::read(home.path().join("results"))? == b"a\nb\nc\n", "{items:?}");
    let show = guests::write(home.path(), "show", guests::SHOW)?;
    let shown = local(&home, &[&show, "--env", "COLOUR=green", "--", "--loud"])?.expect(0)?.text();
    for part in ["COLOUR=green", "WEIR_NAMESPACE=local", "--loud"] {
        ensure!(shown.contains(part), "{shown}");
    }
    ensure!(!shown.contains("HOME="), "the environment of the host shows: {shown}");
    let fail = guests::write(home.path(), "fail", guests::FAIL)?;
    local(&home, &[&fail, "--propagate-exit"])?.expect(3)?;
    let failed = local(&home, &[&fail])?.expect(11)?;
    ensure!(failed.stderr.contains("exit_nonzero"), "{}", failed.stderr);
    let words = guests::write(home.path(), "words", WRITE_AND_FAIL)?;
    ensure!(local(&home, &[&words])?.expect(11)?.stdout == b"why\n", "what a failing task wrote is lost");
    let aside = local(&home, &[&words, "--output", "results"])?.expect(11)?;
    ensure!(aside.stdout.is_empty() && aside.stderr.contains("why"), "{aside:?}");
    let sleep = guests::write(home.path(), "sleep", guests::SLEEP)?;
    let late = local(&home, &[&sleep, "--timeout", "200ms"])?.expect(11)?;
    ensure!(late.stderr.contains("wall_timeout"), "{}", late.stderr);
    local(&home, &[&sleep, "--timeout", "200ms", "--profile", "profile.json"])?.expect(11)?;
    let profile: serde_json::Value = serde_json::from_slice(&std::fs::read(home.path().join("profile.json"))?)?;
    ensure!(profile["threads"][0]["name"] == "sleep", "{profile}");
    let service = local(&home, &[&cat, "--kind", "service"])?.expect(2)?;
    ensure!(service.stderr.contains("wctl dev"), "{}", service.stderr);
    Ok(())
}

#[test]
fn a_module_runs_within_its_limits_and_without_a_cluster() {
    runs().expect("local runs");
}
