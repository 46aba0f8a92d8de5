//! `cargo xtask chaos`: a cluster of real processes under faults, for as long as it is asked for.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::process::{cargo, program, run, say};
use crate::{setup, test, workspace};

/// Builds the programs and hands over to the harness; its exit code says whether a promise is broken.
///
/// They are built all together as for the tests, whose build they share, with the assertions in them. Its guests are in
/// its own text, so that none is built.
///
/// # Errors
/// When they do not build or start.
pub(crate) fn chaos(arguments: &[String]) -> Result<ExitCode> {
    let root = workspace::root()?;
    setup::setup()?;
    say("chaos: building the programs");
    run(cargo().current_dir(&root).args(["build", "--workspace", "--bins"]))?;
    let programs = workspace::target_folder(&root)?.join("debug");
    let mut harness = program(programs.join("weir-chaos"));
    harness.env(test::PROGRAM_VARIABLE, &programs).args(arguments);
    let status = harness.status().context("cannot start the harness")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
