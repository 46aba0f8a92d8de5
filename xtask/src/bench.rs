//! `cargo xtask bench NAME`: builds for release and hands over to the benchmark program.

use anyhow::{Context, Result};

use crate::process::{cargo, program, run, say};
use crate::{setup, test, workspace};

/// Programs that a benchmark starts or is.
const PACKAGES: [&str; 4] = ["weir-bench", "weir-control", "weir-executor", "wctl"];

/// Benchmarks of the decisions alone: programs of the simulator's crate, without guests, sandbox and other programs.
const OF_DECISIONS: [&str; 2] = ["placement", "replay"];

/// Runs one benchmark with the rest of the arguments.
///
/// # Errors
/// When building or the benchmark fails.
pub(crate) fn bench(name: &str, arguments: &[String]) -> Result<()> {
    let root = workspace::root()?;
    if OF_DECISIONS.contains(&name) {
        say("bench: building for release");
        run(cargo().current_dir(&root).args(["build", "--release", "--package", "weir-sim", "--bin", name]))?;
        let program_file = workspace::target_folder(&root)?.join("release").join(name);
        return run(program(program_file).args(arguments)).with_context(|| format!("the benchmark {name} failed"));
    }
    setup::setup()?;
    say("bench: building guests and programs for release");
    test::build_guests(&root)?;
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    run(cargo().current_dir(&root).args(["build", "--release", "--bins"]).args(packages))?;
    let programs = workspace::target_folder(&root)?.join("release");
    run(program(programs.join("weir-bench"))
        .env(test::PROGRAM_VARIABLE, &programs)
        .env(test::GUEST_VARIABLE, workspace::guest_target_folder(&root)?)
        .arg(name)
        .args(arguments))
    .with_context(|| format!("the benchmark {name} failed"))
}
