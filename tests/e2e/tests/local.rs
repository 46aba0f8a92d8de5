//! `wctl run --local`: the sandbox without a cluster.

use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use weir_e2e::{binaries, guests, wctl::Answer};

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
    let sleep = guests::write(home.path(), "sleep", guests::SLEEP)?;
    let late = local(&home, &[&sleep, "--timeout", "200ms"])?.expect(11)?;
    ensure!(late.stderr.contains("wall_timeout"), "{}", late.stderr);
    let service = local(&home, &[&cat, "--kind", "service"])?.expect(2)?;
    ensure!(service.stderr.contains("wctl dev"), "{}", service.stderr);
    Ok(())
}

#[test]
fn a_module_runs_within_its_limits_and_without_a_cluster() {
    runs().expect("local runs");
}
