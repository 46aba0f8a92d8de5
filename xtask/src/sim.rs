//! `cargo xtask sim`: the simulator, built for release.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::process::{capture, cargo, program, run};
use crate::workspace;

/// Builds the simulator and hands it the arguments; its exit code says which sort of property is broken.
///
/// # Errors
/// When it does not build or start.
pub(crate) fn sim(arguments: &[String]) -> Result<ExitCode> {
    let root = workspace::root()?;
    run(cargo().current_dir(&root).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "weir-sim",
        "--bin",
        "weir-sim",
    ]))?;
    let mut simulator = program(workspace::target_folder(&root)?.join("release/weir-sim"));
    simulator.args(arguments);
    if let Some(commit) = commit(&root) {
        simulator.env("WEIR_SIM_COMMIT", commit);
    }
    let status = simulator.status().context("cannot start the simulator")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The state of the repository, if it is one.
fn commit(root: &Path) -> Option<String> {
    let mut git = program("git");
    git.current_dir(root).args(["describe", "--always", "--dirty", "--abbrev=12"]);
    capture(&mut git).ok().map(|text| text.trim().to_owned())
}
