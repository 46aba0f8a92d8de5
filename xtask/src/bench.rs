//! `cargo xtask bench NAME`: builds for release and hands over to the benchmark program.

use anyhow::{Context, Result};

use crate::process::{cargo, program, run, say};
use crate::{setup, test, workspace};

/// Programs that a benchmark starts or is.
const PACKAGES: [&str; 4] = ["weir-bench", "weir-control", "weir-executor", "wctl"];

/// The benchmark of the scheduler alone: a program of the simulator, which needs none of the others.
const PLACEMENT: &str = "placement";

/// Runs one benchmark with the rest of the arguments.
///
/// # Errors
/// When building or the benchmark fails.
pub(crate) fn bench(name: &str, arguments: &[String]) -> Result<()> {
    let root = workspace::root()?;
    if name == PLACEMENT {
        run(cargo().current_dir(&root).args(["build", "--release", "--package", "weir-sim", "--bin", PLACEMENT]))?;
        let placement = workspace::target_folder(&root)?.join("release").join(PLACEMENT);
        return run(program(placement).args(arguments)).context("the benchmark placement failed");
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
